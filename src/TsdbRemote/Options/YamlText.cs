using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using YamlDotNet.RepresentationModel;

namespace TsdbRemote.Options;

/// <summary>Text that is no YAML, or more than is read of it. The message may repeat what stands there.</summary>
internal sealed class BrokenYamlException(long line, long column, string message, Exception? cause = null) : Exception(message, cause)
{
    /// <summary>From 1 on.</summary>
    public long Line { get; } = line;

    /// <summary>From 1 on.</summary>
    public long Column { get; } = column;

    /// <summary>It may be YAML, but nests deeper than is read.</summary>
    public bool IsTooDeep => InnerException is null;
}

/// <summary>Loads YAML of any bytes. Stateless.</summary>
/// <remarks>
/// YamlDotNet builds its nodes by recursion, so that a text of brackets alone would end the process by a stack overflow; the depth is counted, event by event, before a node is made of one. For some broken texts it throws
/// exceptions of other kinds than its own; whatever comes out of it is said to be broken text here, by its place.
/// </remarks>
internal static class YamlText
{
    /// <summary>Mappings and lists inside each other. Our files nest three deep.</summary>
    public const int MaxDepth = 16;

    // The stream and the document are levels too.
    private const int OuterLevels = 2;

    /// <summary>Loads a text.</summary>
    /// <returns>Its documents. Nodes may contain themselves, by an alias to what they are part of.</returns>
    /// <exception cref="BrokenYamlException">It cannot be loaded.</exception>
    public static IList<YamlDocument> Load(string text)
    {
        var parser = new ShallowParser(new Parser(new StringReader(text)));
        var yaml = new YamlStream();
        try
        {
            yaml.Load(parser);
        }
        catch (YamlException broken)
        {
            throw new BrokenYamlException(broken.Start.Line, broken.Start.Column, broken.Message, broken);
        }
        catch (Exception broken) when (broken is not (BrokenYamlException or OutOfMemoryException))
        {
            // And therefore the place is that of what was read last.
            Mark last = parser.Current?.End ?? Mark.Empty;
            throw new BrokenYamlException(last.Line, last.Column, "no YAML", broken);
        }

        return yaml.Documents;
    }

    /// <summary>Hands out events as long as they do not nest too deeply.</summary>
    private sealed class ShallowParser(Parser events) : IParser
    {
        private int _depth;

        public ParsingEvent? Current => events.Current;

        public bool MoveNext()
        {
            if (!events.MoveNext()) return false;
            _depth += Current!.NestingIncrease;
            if (_depth > MaxDepth + OuterLevels && Current is MappingStart or SequenceStart)
                throw new BrokenYamlException(Current.Start.Line, Current.Start.Column, $"nested too deeply, {MaxDepth} levels allowed");
            return true;
        }
    }
}
