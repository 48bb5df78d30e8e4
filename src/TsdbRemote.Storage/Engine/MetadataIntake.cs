using TsdbRemote.Storage.Series;
using TsdbRemote.Storage.Wal;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Engine;

/// <summary>Takes note of the metadata of requests, once the log has it. Thread-safe.</summary>
/// <remarks>
/// A sender repeats its metadata every minute, or with every series, so only news are worth a record of their own. A request that tells none is acknowledged
/// once the records are durable that told it first: another request's, perhaps, that is being committed just now. A record that finds no room on the disk
/// was told in vain: what was said up to it is news again.
/// </remarks>
internal sealed class MetadataIntake(MetricMetadata metadata)
{
    private readonly Lock _publishing = new();
    private ulong _lastSequence;
    private Task _lastCommit = Task.CompletedTask;

    /// <summary>Finds what is news in a request, and whether it repeats something; <see cref="WriteScratch"/> has it then.</summary>
    public void FindNews(WriteScratch scratch)
    {
        WriteBatch batch = scratch.Batch;
        for (int i = 0; i < batch.Metadata.Length; i++)
        {
            MetadataEntry entry = batch.Metadata[i];
            MetadataNovelty novelty = metadata.Judge(batch.TextOf(entry.Family), (int)entry.Type, batch.TextOf(entry.Help), batch.TextOf(entry.Unit));
            if (novelty == MetadataNovelty.News) scratch.News.Add(i);
            scratch.RepeatsMetadata |= novelty == MetadataNovelty.Known;
        }
    }

    /// <summary>Takes note of the news of a request.</summary>
    /// <param name="scratch">The request.</param>
    /// <param name="ticket">Its place in the log; null if it needed none, and then it has no news.</param>
    /// <returns>Completes when the request and all metadata that it tells are as durable as configured.</returns>
    public Task Note(WriteScratch scratch, WalTicket? ticket)
    {
        Task committed = ticket?.Committed ?? Task.CompletedTask;
        if (scratch.News.Count == 0 || ticket is not { } place)
        {
            Task before = Volatile.Read(ref _lastCommit);
            return !scratch.RepeatsMetadata || before.IsCompletedSuccessfully ? committed : Task.WhenAll(committed, before);
        }

        Publish(place);
        foreach (int index in scratch.News) Set(scratch.Batch, index, place.Sequence);
        _ = committed.ContinueWith(
            _ => metadata.TrustFrom(place.Sequence + 1), CancellationToken.None,
            TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        return committed;
    }

    /// <summary>Takes note of the metadata in a record of the log.</summary>
    public void Replay(WriteBatch batch, ulong sequence)
    {
        for (int i = 0; i < batch.Metadata.Length; i++) Set(batch, i, sequence);
    }

    // Before it can be seen, so that who sees it finds what to wait for.
    private void Publish(WalTicket place)
    {
        lock (_publishing)
        {
            if (place.Sequence <= _lastSequence) return;
            _lastSequence = place.Sequence;
            Volatile.Write(ref _lastCommit, place.Committed);
        }
    }

    private void Set(WriteBatch batch, int index, ulong sequence)
    {
        MetadataEntry entry = batch.Metadata[index];
        metadata.Set(batch.TextOf(entry.Family), (int)entry.Type, batch.TextOf(entry.Help), batch.TextOf(entry.Unit), sequence);
    }
}
