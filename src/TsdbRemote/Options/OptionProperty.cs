using System.Collections.Concurrent;
using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Text.Json;
using TsdbRemote.Storage.Options;

namespace TsdbRemote.Options;

/// <summary>One option or section of a record: its key, how its text is read, and what to say if it cannot be.</summary>
internal sealed class OptionProperty
{
    private static readonly ConcurrentDictionary<Type, IReadOnlyList<OptionProperty>> Known = new();

    private readonly PropertyInfo _property;
    private readonly string? _nullWord;

    private OptionProperty(PropertyInfo property)
    {
        _property = property;
        _nullWord = property.GetCustomAttribute<NullWordAttribute>()?.Word;
        Key = property.GetCustomAttribute<OptionKeyAttribute>()?.Key ?? SnakeCase(property.Name);
        Type = Nullable.GetUnderlyingType(property.PropertyType) ?? property.PropertyType;
        IsSection = typeof(IOptionsSection).IsAssignableFrom(Type);
    }

    /// <summary>The key, without its section.</summary>
    public string Key { get; }

    /// <summary>The value's type; for one that may be null, the type of the others.</summary>
    public Type Type { get; }

    /// <summary>True for a record of further options.</summary>
    public bool IsSection { get; }

    /// <summary>What a text may be, for people.</summary>
    public string Allowed => AllowedOf(Type) + (_nullWord is null ? "" : $" or {_nullWord}");

    /// <summary>The options of a record, in the order in which it declares them.</summary>
    public static IReadOnlyList<OptionProperty> Of(Type record) => Known.GetOrAdd(record, static type =>
        [.. type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(static property => property.CanWrite).Select(static property => new OptionProperty(property))]);

    /// <summary>The value in a record.</summary>
    public object? Get(object record) => _property.GetValue(record);

    /// <summary>Sets the value in a record that nobody else has seen yet.</summary>
    public void Set(object record, object? value) => _property.SetValue(record, value);

    /// <summary>Reads a text; false if it is not what <see cref="Allowed"/> says.</summary>
    public bool TryConvert(string text, out object? value)
    {
        value = null;
        if (_nullWord is not null && text.Trim().Equals(_nullWord, StringComparison.OrdinalIgnoreCase)) return true;
        if (Type.IsEnum) return TryConvertEnum(text, out value);
        try
        {
            value = TypeDescriptor.GetConverter(Type).ConvertFromInvariantString(text);
            return value is not null;
        }
        catch (Exception failure) when (failure is FormatException or ArgumentException or NotSupportedException)
        {
            return false;
        }
    }

    /// <summary>A value as a configuration file would give it.</summary>
    public string Print(object? value) => value switch
    {
        null => _nullWord ?? "",
        Enum name => SnakeCase(name.ToString()),
        bool truth => truth ? "true" : "false",
        IFormattable formattable => formattable.ToString(null, System.Globalization.CultureInfo.InvariantCulture),
        _ => value.ToString() ?? "",
    };

    private static string SnakeCase(string name) => JsonNamingPolicy.SnakeCaseLower.ConvertName(name);

    private static string AllowedOf(Type type)
    {
        if (type.IsEnum) return string.Join(", ", Enum.GetNames(type).Select(SnakeCase));
        if (type == typeof(bool)) return "true or false";
        if (type == typeof(ByteSize)) return "a size such as 64MB";
        if (type == typeof(Duration)) return "a duration such as 1h30m";
        if (type == typeof(double)) return "a number";
        return type == typeof(string) ? "a text" : "a whole number";
    }

    private bool TryConvertEnum(string text, [NotNullWhen(true)] out object? value)
    {
        value = null;
        foreach (string name in Enum.GetNames(Type))
        {
            // Underscores are ours; Prometheus' files have the same words without.
            if (name.Equals(text.Trim().Replace("_", "", StringComparison.Ordinal), StringComparison.OrdinalIgnoreCase)) value = Enum.Parse(Type, name);
        }

        return value is not null;
    }
}
