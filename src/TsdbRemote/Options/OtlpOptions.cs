using TsdbRemote.Storage.Options;

namespace TsdbRemote.Options;

/// <summary>What becomes of OpenTelemetry's names: the four ways of Prometheus' <c>otlp.translation_strategy</c>.</summary>
public enum TranslationStrategy
{
    /// <summary>What is no letter, digit or underscore becomes an underscore; unit and <c>total</c> are appended.</summary>
    UnderscoreEscapingWithSuffixes,

    /// <summary>Characters stay; unit and <c>total</c> are appended.</summary>
    NoUtf8EscapingWithSuffixes,

    /// <summary>What is no letter, digit or underscore becomes an underscore; nothing is appended.</summary>
    UnderscoreEscapingWithoutSuffixes,

    /// <summary>Names stay as they are.</summary>
    NoTranslation,
}

/// <summary>The receiver of OpenTelemetry's metrics. Keys: <c>otlp</c>.</summary>
public sealed record OtlpOptions : IOptionsSection
{
    /// <summary>How names are translated. A change renames series: old and new ones stand side by side.</summary>
    public TranslationStrategy TranslationStrategy { get; init; } = TranslationStrategy.UnderscoreEscapingWithSuffixes;

    /// <inheritdoc/>
    public IEnumerable<string> Problems(string path) => [];
}
