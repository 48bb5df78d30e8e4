using System.Globalization;
using System.Text;
using TsdbRemote.Endpoints;
using TsdbRemote.Storage.Verification;

namespace TsdbRemote.Verbs;

/// <summary>The report of a verification for people: the verdict, what was found, what was counted. Pure.</summary>
internal static class VerifyText
{
    /// <summary>Writes the report.</summary>
    public static string Of(VerifyReport report)
    {
        var text = new StringBuilder();
        Line(text, $"{report.Directory}: {Verdict(report)}");
        foreach (VerifySeverity severity in (VerifySeverity[])[VerifySeverity.Error, VerifySeverity.Warning, VerifySeverity.Note]) Findings(text, report, severity);
        Counts(text, report);
        foreach (KeptFile kept in report.Quarantine) Line(text, $"quarantine   {kept.Name}, {LsmText.Bytes(kept.Bytes)}: put aside by an earlier server");
        foreach (string snapshot in report.Snapshots) Line(text, $"snapshot     {snapshot}: a data directory of its own, not looked into; verify it by its path");
        foreach (string left in report.NotChecked) Line(text, $"not checked  {left}");
        return text.ToString().TrimEnd('\n');
    }

    private static string Verdict(VerifyReport report)
    {
        if (report is { IsSound: true, Generation: null }) return "sound: it holds nothing yet";
        string notes = report.Notes == 0 ? "" : $", {Many(report.Notes, "note")}";
        return report.IsSound ? $"sound{notes}" : $"{Many(report.Errors, "error")}, {Many(report.Warnings, "warning")}{notes}";
    }

    private static void Findings(StringBuilder text, VerifyReport report, VerifySeverity severity)
    {
        foreach (VerifyFinding finding in report.Findings.Where(finding => finding.Severity == severity))
        {
            string place = finding.Offset is { } at ? string.Create(CultureInfo.InvariantCulture, $" at {at}") : "";
            Line(text, $"{severity.ToString().ToLowerInvariant(),-12} {(finding.File.Length == 0 ? "." : finding.File)}{place}: {finding.What}");
            Line(text, $"             {finding.Meaning}");
        }

        long all = severity switch { VerifySeverity.Error => report.Errors, VerifySeverity.Warning => report.Warnings, _ => report.Notes };
        long more = all - report.Findings.Count(finding => finding.Severity == severity);
        if (more > 0) Line(text, $"             and {Many(more, "more")} of the kind");
    }

    private static void Counts(StringBuilder text, VerifyReport report)
    {
        if (report.Generation is not { } generation) return;
        VerifyCounts counts = report.Counts;
        Line(text, $"manifest     generation {generation}");
        Line(text, $"dictionary   {counts.DictionarySeries:N0} series");
        Line(text, $"log          {Many(counts.Segments, "segment")}, {Many(counts.Records, "record")}, {Many(counts.RecordSamples, "sample")}");
        Line(text, $"tables       {counts.Tables:N0}, {Many(counts.TableChunks, "chunk")}, {Many(counts.TableSamples, "sample")}");
        Line(text, $"blocks       {counts.Blocks:N0}, {Many(counts.BlockSamples, "sample")}");
        Line(text, $"read         {LsmText.Bytes(counts.BytesRead)}");
    }

    private static string Many(long count, string what) => string.Create(CultureInfo.InvariantCulture, $"{count:N0} {what}{(count == 1 || what == "more" ? "" : "s")}");

    private static void Line(StringBuilder text, FormattableString line) => text.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
}
