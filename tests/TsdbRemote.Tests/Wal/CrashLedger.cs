using TsdbRemote.Storage.Wal;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Wal;

/// <summary>
/// Knows what was sent and what was acknowledged, and checks both against crash images before every operation on the disk.
/// </summary>
internal sealed class CrashLedger : IDisposable
{
    private readonly CrashFileSystem _disk;
    private readonly IReadOnlyList<CrashPolicy> _policies;
    private readonly int _seeds;
    private readonly List<WalTicket> _tickets = [];
    private readonly List<int> _lengths = [];

    public CrashLedger(CrashFileSystem disk, IReadOnlyList<CrashPolicy> policies, int seeds)
    {
        _disk = disk;
        _policies = policies;
        _seeds = seeds;
        disk.BeforeOperation = (_, _) => CheckNow();
    }

    public int Images { get; private set; }

    /// <summary>Acknowledged records need survive only where nothing written is lost.</summary>
    public bool IsInterval { get; init; }

    public void Add(WriteAheadLog log, int length)
    {
        _tickets.Add(log.Add(_tickets.Count, length));
        _lengths.Add(Math.Max(length, sizeof(int)));
    }

    public void CheckNow()
    {
        foreach (CrashPolicy policy in _policies)
        {
            for (int seed = 0; seed < _seeds; seed++) Check(policy, (Images * 7919) + seed);
        }
    }

    public void Dispose() => _disk.BeforeOperation = null;

    private void Check(CrashPolicy policy, int seed)
    {
        Images++;
        string where = $"{policy}, seed {seed}, operation {_disk.OperationCount}";
        CrashFileSystem image = _disk.CrashClone(policy, seed);
        RecordList records = [];
        foreach (SegmentReport report in image.ReplayAll(records))
        {
            string findings = string.Join("; ", report.Findings);
            Assert.True(report.Outcome != SegmentOutcome.Corrupt, $"{where}: {report.Path} {findings}");
        }

        Assert.True(records.Ids().SequenceEqual(records.Ids().Distinct().Order()), $"{where}: order");
        foreach (LoggedRecord record in records)
        {
            Assert.True(record.Sequence == _tickets[record.Id].Sequence, $"{where}: sequence of {record.Id}");
            byte[] sent = LogFixture.BodyBytes(record.Id, _lengths[record.Id]);
            Assert.True(record.Body.AsSpan().SequenceEqual(sent), $"{where}: body of {record.Id}");
        }

        if (IsInterval && policy.Kind != CrashKind.All)
        {
            Assert.True(records.Ids().SequenceEqual(Enumerable.Range(0, records.Count)), $"{where}: a hole");
            return;
        }

        HashSet<int> read = [.. records.Ids()];
        for (int id = 0; id < _tickets.Count; id++)
        {
            Assert.True(read.Contains(id) || !_tickets[id].Committed.IsCompletedSuccessfully, $"{where}: acknowledged record {id} is gone");
        }
    }
}
