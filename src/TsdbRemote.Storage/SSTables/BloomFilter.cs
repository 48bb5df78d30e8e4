using System.Buffers.Binary;

namespace TsdbRemote.Storage.SSTables;

/// <summary>A bloom filter over series ids in which each id touches one cache line only.</summary>
/// <remarks>
/// <code>
/// ┌ blocks u32 ┬ probes u32 ┬ 512-bit block × blocks ┐    little-endian; bit b of a block is bit (b &amp; 7) of its byte (b >> 3)
///
/// hash    fmix64(id)
/// block   (high 32 bits of hash × blocks) >> 32
/// probes  h = low 32 bits of hash; each takes the 9 high bits of h, then h ×= 0x9E3779B9
/// </code>
/// At 10 bits a key and 6 probes about 1 of 100 absent ids passes. Source: Putze, Sanders, Singler 2007, "Cache-, Hash- and Space-Efficient
/// Bloom Filters"; fmix64 is the finalizer of MurmurHash3. An empty span is a filter that everything passes. Stateless, thread-safe.
/// </remarks>
public static class BloomFilter
{
    /// <summary>Most bits a key; more would not lower the rate of false positives of a 512-bit block.</summary>
    public const int MaxBitsPerKey = 32;

    private const int BlockBytes = 64;
    private const int BlockBits = BlockBytes * 8;
    private const int ProbeShift = 32 - 9;
    private const int MaxProbes = 22;
    private static readonly int MaxBlocks = (Array.MaxLength - SSTableFormat.BloomHeaderBytes - SSTableFormat.ChecksumBytes) / BlockBytes;

    /// <summary>Builds the filter of distinct ids.</summary>
    /// <param name="ids">The ids, in any order.</param>
    /// <param name="bitsPerKey">0 to <see cref="MaxBitsPerKey"/>; 0 gives a filter that everything passes.</param>
    public static byte[] Build(ReadOnlySpan<ulong> ids, int bitsPerKey)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bitsPerKey);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bitsPerKey, MaxBitsPerKey);
        long blocks = BodyBytes(ids.Length, bitsPerKey) / BlockBytes;
        byte[] filter = new byte[SSTableFormat.BloomHeaderBytes + blocks * BlockBytes];
        int probes = Math.Clamp((int)(bitsPerKey * 0.6931), 1, MaxProbes);
        BinaryPrimitives.WriteUInt32LittleEndian(filter, (uint)blocks);
        BinaryPrimitives.WriteUInt32LittleEndian(filter.AsSpan(sizeof(uint)), (uint)probes);
        if (blocks == 0) return filter;
        Span<byte> body = filter.AsSpan(SSTableFormat.BloomHeaderBytes);
        foreach (ulong id in ids)
        {
            ulong hash = Mix(id);
            Span<byte> block = body.Slice(BlockOf(hash, (uint)blocks), BlockBytes);
            uint h = (uint)hash;
            for (int i = 0; i < probes; i++, h *= 0x9E3779B9)
            {
                uint bit = h >> ProbeShift;
                block[(int)(bit >> 3)] |= (byte)(1 << (int)(bit & 7));
            }
        }

        return filter;
    }

    /// <summary>Bytes of a filter's blocks.</summary>
    /// <param name="ids">Number of distinct ids.</param>
    /// <param name="bitsPerKey">Bits for each.</param>
    /// <remarks>Beyond what one array holds the filter lets more pass, which costs time and no answer.</remarks>
    internal static long BodyBytes(long ids, int bitsPerKey) => Math.Min((ids * bitsPerKey + BlockBits - 1) / BlockBits, MaxBlocks) * BlockBytes;

    /// <summary>True if the bytes have the length that their header names.</summary>
    public static bool IsWellFormed(ReadOnlySpan<byte> filter)
    {
        if (filter.Length < SSTableFormat.BloomHeaderBytes) return false;
        uint blocks = BinaryPrimitives.ReadUInt32LittleEndian(filter);
        uint probes = BinaryPrimitives.ReadUInt32LittleEndian(filter[sizeof(uint)..]);
        return probes is >= 1 and <= MaxProbes && filter.Length == SSTableFormat.BloomHeaderBytes + (long)blocks * BlockBytes;
    }

    /// <summary>False only if the filter was built without this id.</summary>
    /// <param name="filter">A well-formed filter, or an empty span.</param>
    /// <param name="id">A series id.</param>
    public static bool MayContain(ReadOnlySpan<byte> filter, ulong id)
    {
        if (filter.Length <= SSTableFormat.BloomHeaderBytes) return true;
        uint blocks = BinaryPrimitives.ReadUInt32LittleEndian(filter);
        uint probes = BinaryPrimitives.ReadUInt32LittleEndian(filter[sizeof(uint)..]);
        ulong hash = Mix(id);
        ReadOnlySpan<byte> block = filter.Slice(SSTableFormat.BloomHeaderBytes + BlockOf(hash, blocks), BlockBytes);
        uint h = (uint)hash;
        for (uint i = 0; i < probes; i++, h *= 0x9E3779B9)
        {
            uint bit = h >> ProbeShift;
            if ((block[(int)(bit >> 3)] & (1 << (int)(bit & 7))) == 0) return false;
        }

        return true;
    }

    private static int BlockOf(ulong hash, uint blocks) => (int)(((hash >> 32) * blocks) >> 32) * BlockBytes;

    private static ulong Mix(ulong id)
    {
        id = (id ^ (id >> 33)) * 0xFF51AFD7ED558CCD;
        id = (id ^ (id >> 33)) * 0xC4CEB9FE1A85EC53;
        return id ^ (id >> 33);
    }
}
