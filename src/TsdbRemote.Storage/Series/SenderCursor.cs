using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Wire;

namespace TsdbRemote.Storage.Series;

/// <summary>Walks the series of one request along <see cref="SenderOrder"/> while it is decoded.</summary>
/// <remarks>
/// The labels of a series are then read once, by the comparison, instead of once by the decoder and once by it. The label bytes of the series to come are
/// fetched some steps ahead, one series at each step, so that the fetches neither wait for each other nor crowd out the decoder's own.
/// A request whose order is another than the last one's costs a look-up by hash for each series until that has happened too often; the rest of the
/// request is then left to whoever resolves it.
/// </remarks>
internal unsafe struct SenderCursor : IKnownSeries
{
    private const int CacheLine = 64;

    /// <summary>Series between the one compared and the one whose labels are fetched.</summary>
    private const int Ahead = 12;

    /// <summary>Misses that a request may have beyond one in eight.</summary>
    private const int FreeMisses = 8;

    private readonly SeriesDictionary _dictionary;
    private readonly LabelStorage _storage;

    // Ordinals + 1, so that 0 is none.
    private uint _expected;
    private uint _fetched;
    private int _patience;

    public SenderCursor(SeriesDictionary dictionary, LabelStorage storage)
    {
        _dictionary = dictionary;
        _storage = storage;
        _patience = 8 * FreeMisses;
    }

    /// <inheritdoc/>
    public readonly bool IsWatching => _patience > 0;

    /// <inheritdoc/>
    public readonly int MatchExpected(ReadOnlySpan<byte> rest)
    {
        if (_expected == 0) return 0;
        ref readonly SeriesRecord record = ref _storage[_expected - 1];
        int length = record.Length;
        return length <= rest.Length && record.Run.SequenceEqual(rest[..length]) ? length : 0;
    }

    /// <inheritdoc/>
    public uint TakeExpected()
    {
        uint taken = _expected;
        _expected = Volatile.Read(ref _storage.FollowerOf(taken - 1));
        _patience++;
        FetchNext();
        return taken;
    }

    /// <inheritdoc/>
    public uint GoOnBehind(ReadOnlySpan<byte> run)
    {
        // Behind a new series the one that was expected in its place mostly comes next.
        _patience -= 8;
        if (_patience <= 0 || !_dictionary.TryFind(run, Labels.Hash(run), out uint ordinal)) return 0;
        _expected = Volatile.Read(ref _storage.FollowerOf(ordinal));
        _fetched = _expected;
        for (int i = 0; i < Ahead; i++) FetchNext();
        return ordinal + 1;
    }

    private void FetchNext()
    {
        if (_fetched == 0) return;
        ref readonly SeriesRecord record = ref _storage[_fetched - 1];
        for (int at = 0; at < record.Length; at += CacheLine) Prefetch.Near(record.Labels + at);
        _fetched = Volatile.Read(ref _storage.FollowerOf(_fetched - 1));
    }
}
