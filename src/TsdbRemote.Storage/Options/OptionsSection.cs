namespace TsdbRemote.Storage.Options;

/// <summary>A record of options that checks itself. Its nested sections are properties of a type that is a section too.</summary>
/// <remarks>
/// A property's key is its name in snake_case unless <see cref="OptionKeyAttribute"/> says otherwise. Defaults are the initialisers, nowhere else.
/// </remarks>
public interface IOptionsSection
{
    /// <summary>What is wrong with the values of this section and those inside it, one sentence each: path, what was given, what is allowed.</summary>
    /// <param name="path">Path of this section, such as <c>storage.wal</c>.</param>
    IEnumerable<string> Problems(string path);
}

/// <summary>The key of an option where the property's name does not spell it.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class OptionKeyAttribute(string key) : Attribute
{
    /// <summary>The key, in snake_case, without its section.</summary>
    public string Key { get; } = key;
}

/// <summary>The word that stands for null in an option, such as <c>auto</c> or <c>unlimited</c>.</summary>
[AttributeUsage(AttributeTargets.Property)]
public sealed class NullWordAttribute(string word) : Attribute
{
    /// <summary>The word.</summary>
    public string Word { get; } = word;
}

/// <summary>The sentences of <see cref="IOptionsSection.Problems"/>.</summary>
internal static class OptionProblem
{
    /// <summary>Says that a value is outside its range, or nothing if it is inside.</summary>
    public static IEnumerable<string> Range<T>(string path, string key, T value, T least, T most)
        where T : IComparable<T>
    {
        if (value.CompareTo(least) < 0 || value.CompareTo(most) > 0)
            yield return FormattableString.Invariant($"{path}.{key}: {value} given, {least} to {most} allowed");
    }
}
