using System.Text.Json;
using TsdbRemote.Storage.Engine;
using TsdbRemote.Storage.Verification;

namespace TsdbRemote.Endpoints;

/// <summary>The report of a verification as data: the same from the verb and from the admin call. Pure.</summary>
internal static class VerifyJson
{
    /// <summary>Arranges a report.</summary>
    public static object Of(VerifyReport report) => new
    {
        report.Directory,
        Verdict = report.IsSound ? "sound" : "findings",
        report.IsOnline,
        report.Generation,
        report.Errors,
        report.Warnings,
        report.Notes,
        Findings = report.Findings.Select(static finding => new
        {
            Severity = JsonNamingPolicy.SnakeCaseLower.ConvertName(finding.Severity.ToString()),
            finding.File,
            finding.Offset,
            finding.What,
            finding.Meaning,
        }),
        report.Counts,
        report.Quarantine,
        report.Snapshots,
        report.NotChecked,
    };

    /// <summary>Arranges how a check of a server's own directory stands.</summary>
    public static object Of(VerifyStatus status) => new
    {
        State = status.IsRunning ? "running" : status.BeganMs is null ? "none" : status.Report is null ? "cut_off" : "done",
        status.BeganMs,
        status.EndedMs,
        status.Progress.BytesDone,
        status.Progress.BytesTotal,
        File = status.IsRunning ? status.Progress.File : null,
        status.Failure,
        Report = status.Report is { } report ? Of(report) : null,
    };
}
