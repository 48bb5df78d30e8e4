using Microsoft.Extensions.Logging;

namespace TsdbRemote.Storage;

/// <summary>Everything the engine logs; ids 1000-1099 open, 1100-1199 log replay, 1200-1219 flush, 1220-1239 merges, 1240-1244 stalls, 1245-1249 dictionary, 1250-1299 blocks, 1300-1399 failures.</summary>
internal static partial class Log
{
    [LoggerMessage(1000, LogLevel.Information, "Created data directory {Root} with id {DirectoryId}")]
    public static partial void DirectoryCreated(ILogger logger, string root, Guid directoryId);

    [LoggerMessage(1001, LogLevel.Information, "Removed {Path}: the rest of a step that a crash interrupted, or already replaced")]
    public static partial void RestRemoved(ILogger logger, string path);

    [LoggerMessage(1002, LogLevel.Error, "Manifest: {What}")]
    public static partial void ManifestFallback(ILogger logger, string what);

    [LoggerMessage(1003, LogLevel.Error, "Damaged: {What}")]
    public static partial void Damage(ILogger logger, string what);

    [LoggerMessage(1004, LogLevel.Information, "Opened {Root}: {Tables} tables, {Series} series, {Segments} log segments to replay; writes are accepted after {Seconds:F3} s")]
    public static partial void Opened(ILogger logger, string root, int tables, int series, int segments, double seconds);

    [LoggerMessage(1005, LogLevel.Information, "Ready for reads after {Seconds:F3} s")]
    public static partial void Ready(ILogger logger, double seconds);

    [LoggerMessage(1006, LogLevel.Information, "Stopped; flushed {Flushed}")]
    public static partial void Stopped(ILogger logger, bool flushed);

    [LoggerMessage(1007, LogLevel.Error, "A thread does not come back from the disk; stopping without it, the log has what was acknowledged")]
    public static partial void StopStuck(ILogger logger);

    [LoggerMessage(1008, LogLevel.Error, "No room for a log segment: writes are refused until there is; reads are served")]
    public static partial void NoRoomForLog(ILogger logger, Exception failure);

    [LoggerMessage(1009, LogLevel.Warning, "{Root} is on a file system of kind {Kind}, whose locks and syncs cannot be relied on: what is acknowledged may be lost, and nothing keeps a second process out")]
    public static partial void UnreliableDisk(ILogger logger, string root, string kind);

    [LoggerMessage(1100, LogLevel.Information, "Replayed segment {Segment}: {Records} records, {Samples} samples of {Series} series")]
    public static partial void SegmentReplayed(ILogger logger, long segment, long records, long samples, int series);

    [LoggerMessage(1101, LogLevel.Information, "Replay: {Percent:F0} % of {Bytes} bytes")]
    public static partial void ReplayProgress(ILogger logger, double percent, long bytes);

    [LoggerMessage(1102, LogLevel.Error, "Record {Sequence} {Why}; kept in {Path}")]
    public static partial void RecordUndecodable(ILogger logger, ulong sequence, string why, string path);

    [LoggerMessage(1110, LogLevel.Warning, "storage.wal.quarantine_record = {Sequence} has no effect: the log holds no such record. Take the option out: it would leave out a record that no start has ended at")]
    public static partial void QuarantineRecordInVain(ILogger logger, ulong sequence);

    [LoggerMessage(1109, LogLevel.Warning, "The file REPLAY cannot be written: if the replay ends this process, the next start does not know")]
    public static partial void ReplayNotCounted(ILogger logger, Exception failure);

    [LoggerMessage(1103, LogLevel.Warning, "Segment {Segment} ends at {Offset}: {Bytes} bytes behind it do not verify; that is the batch being written when the process ended, unless the file was cut or damaged")]
    public static partial void TornTail(ILogger logger, long segment, long offset, long bytes);

    [LoggerMessage(1104, LogLevel.Error, "Segment {Segment} is damaged: {What}")]
    public static partial void SegmentDamaged(ILogger logger, long segment, string what);

    [LoggerMessage(1105, LogLevel.Error, "No room in quarantine for {Bytes} bytes of segment {Segment} that do not verify: its file stays, and is not flushed before there is room")]
    public static partial void QuarantineFull(ILogger logger, long segment, long bytes);

    [LoggerMessage(1200, LogLevel.Information, "Rotated to segment {Segment}: {Reason}, {Bytes} bytes of {Series} series")]
    public static partial void Rotated(ILogger logger, long segment, MemTables.RotationReason reason, long bytes, int series);

    [LoggerMessage(1201, LogLevel.Information, "Flushed segment {Segment} into table {Table}: {Samples} samples of {Series} series, {Bytes} bytes, {Seconds:F3} s")]
    public static partial void Flushed(ILogger logger, long segment, long table, long samples, long series, long bytes, double seconds);

    [LoggerMessage(1206, LogLevel.Information, "Flushed segment {Segment} into {Blocks} blocks: {Samples} samples, {Series} series in the largest, {Bytes} bytes, {Seconds:F3} s")]
    public static partial void FlushedToBlocks(ILogger logger, long segment, int blocks, long samples, long series, long bytes, double seconds);

    [LoggerMessage(1207, LogLevel.Warning, "Segment {Segment} cannot be flushed into blocks; it goes into a table")]
    public static partial void NotFlushedToBlocks(ILogger logger, long segment, Exception failure);

    [LoggerMessage(1202, LogLevel.Error, "Flush of segment {Segment} failed; its log segment stays; next try in {Seconds:F0} s")]
    public static partial void FlushFailed(ILogger logger, long segment, double seconds, Exception failure);

    [LoggerMessage(1203, LogLevel.Warning, "Could not delete {Path}; the next start tries again")]
    public static partial void DeleteFailed(ILogger logger, string path, Exception failure);

    [LoggerMessage(1204, LogLevel.Warning, "No new log segment could be created; writes go on in the old one, if it takes them")]
    public static partial void SegmentNotCreated(ILogger logger, Exception failure);

    [LoggerMessage(1205, LogLevel.Information, "MemTables become {Path} from now on")]
    public static partial void WritePathSwitched(ILogger logger, Options.WritePathChoice path);

    [LoggerMessage(1220, LogLevel.Information, "Merged the window of {Window} ms into level {Level} ({Reason}): {Inputs} tables became {Outputs}, {BytesRead} bytes read, {BytesWritten} written, {Seconds:F3} s")]
    public static partial void Merged(
        ILogger logger, long window, int level, Compaction.CompactionReason reason, int inputs, int outputs, long bytesRead, long bytesWritten, double seconds);

    [LoggerMessage(1221, LogLevel.Error, "A merge in the window of {Window} ms failed; its tables stay; next try in {Seconds:F0} s")]
    public static partial void MergeFailed(ILogger logger, long window, double seconds, Exception failure);

    [LoggerMessage(1240, LogLevel.Warning, "Writes are held back: {Reason}, {Window}")]
    public static partial void StallBegan(ILogger logger, Engine.StallReason reason, string window);

    [LoggerMessage(1241, LogLevel.Information, "Writes are held back no longer: {Reason}, {Window}; it took {Seconds:F3} s, {Delayed} writes waited {Waited:F3} s in all, {Refused} were told to come again")]
    public static partial void StallEnded(
        ILogger logger, Engine.StallReason reason, string window, double seconds, long delayed, double waited, long refused);

    [LoggerMessage(1245, LogLevel.Information, "Collected the dictionary: {Dropped} of {Before} series dropped, file {Number} holds {Entries}, {Bytes} bytes; {Seconds:F3} s")]
    public static partial void DictionaryCollected(ILogger logger, int dropped, int before, long number, long entries, long bytes, double seconds);

    [LoggerMessage(1246, LogLevel.Error, "A collection of the dictionary failed; the dictionary stays as it is; next try in {Seconds:F0} s")]
    public static partial void CollectionFailed(ILogger logger, double seconds, Exception failure);

    [LoggerMessage(1247, LogLevel.Information, "A collection of the dictionary was dropped: {Returned} series that had no data got some meanwhile")]
    public static partial void CollectionOvertaken(ILogger logger, int returned);

    [LoggerMessage(1250, LogLevel.Information, "Converted the window of {Window} ms into block {Ulid}: {Tables} tables, {Samples} samples of {Series} series, {Bytes} bytes, {Seconds:F3} s")]
    public static partial void Converted(ILogger logger, long window, string ulid, int tables, long samples, long series, long bytes, double seconds);

    [LoggerMessage(1251, LogLevel.Information, "Adopted block {Ulid}: {Series} series, {Samples} samples, {Bytes} bytes")]
    public static partial void BlockAdopted(ILogger logger, string ulid, long series, long samples, long bytes);

    [LoggerMessage(1252, LogLevel.Information, "Block {Ulid} is past the retention and deleted: {Reason}")]
    public static partial void BlockExpired(ILogger logger, string ulid, string reason);

    [LoggerMessage(1253, LogLevel.Error, "Work on blocks failed; what it was made of stays; next try in {Seconds:F0} s")]
    public static partial void BlockWorkFailed(ILogger logger, double seconds, Exception failure);

    [LoggerMessage(1254, LogLevel.Information, "Compacted {Blocks} blocks of {MinMs} to {MaxMs} ms into block {Ulid}: {Samples} samples of {Series} series, {BytesRead} bytes became {BytesWritten}, {Seconds:F3} s")]
    public static partial void BlocksCompacted(ILogger logger, int blocks, long minMs, long maxMs, string ulid, long samples, long series, long bytesRead, long bytesWritten, double seconds);

    [LoggerMessage(1255, LogLevel.Information, "Nothing is left of {Blocks} blocks of {MinMs} to {MaxMs} ms but what was deleted: removed")]
    public static partial void BlocksEmpty(ILogger logger, int blocks, long minMs, long maxMs);

    [LoggerMessage(1260, LogLevel.Information, "Deleted {Matchers} from {MinMs} to {MaxMs} ms in everything older than sequence {Sequence}")]
    public static partial void Deleted(ILogger logger, string matchers, long minMs, long maxMs, ulong sequence);

    [LoggerMessage(1261, LogLevel.Information, "Nothing is left of the window of {Window} ms in {Tables} tables but what was deleted: removed")]
    public static partial void WindowDeleted(ILogger logger, long window, int tables);

    [LoggerMessage(1262, LogLevel.Warning, "What was deleted up to sequence {Sequence} is still in {Left} tables or blocks that cannot be written anew now, such as damaged ones and those marked no-compact; it is not read")]
    public static partial void NotCleaned(ILogger logger, ulong sequence, int left);

    [LoggerMessage(1263, LogLevel.Information, "Made snapshot {Name}")]
    public static partial void SnapshotMade(ILogger logger, string name);

    [LoggerMessage(1264, LogLevel.Information, "Check of the data directory began, at {BytesPerSecond} bytes a second")]
    public static partial void VerifyBegan(ILogger logger, long bytesPerSecond);

    [LoggerMessage(1265, LogLevel.Information, "Check of the data directory ended: {Errors} errors, {Warnings} warnings, {Bytes} bytes read")]
    public static partial void VerifyEnded(ILogger logger, long errors, long warnings, long bytes);

    [LoggerMessage(1266, LogLevel.Warning, "Check of the data directory was cut off")]
    public static partial void VerifyFailed(ILogger logger, Exception failure);

    [LoggerMessage(1270, LogLevel.Information, "Block {Ulid} can be opened again and is served")]
    public static partial void BlockServedAgain(ILogger logger, string ulid);

    [LoggerMessage(1272, LogLevel.Error, "Block {Ulid} cannot be opened, for too many files are open; reads wait until it can be. Raise the limit of open files (ulimit -n): {Why}")]
    public static partial void BlockShut(ILogger logger, string ulid, string why);

    [LoggerMessage(1271, LogLevel.Warning, "Retention: {What}")]
    public static partial void RetentionExceeded(ILogger logger, string what);

    [LoggerMessage(1300, LogLevel.Critical, "Storage is read-only until a restart")]
    public static partial void Failed(ILogger logger, Exception failure);

    [LoggerMessage(1301, LogLevel.Critical, "Replay stopped; reads stay unavailable")]
    public static partial void ReplayFailed(ILogger logger, Exception failure);

    [LoggerMessage(1302, LogLevel.Warning, "Nothing is lost: everything that was acknowledged is in tables. Writes stay refused until a restart")]
    public static partial void NothingLost(ILogger logger);
}
