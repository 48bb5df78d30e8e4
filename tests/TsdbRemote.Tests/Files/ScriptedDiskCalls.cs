using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Tests.Files;

/// <summary>The kernel, with answers that a test puts in front.</summary>
internal sealed unsafe class ScriptedDiskCalls : IDiskCalls
{
    /// <summary>Answers of the next gathered writes: most bytes to take, or a negative errno. Then the kernel's own.</summary>
    public Queue<long> Gathers { get; } = [];

    /// <summary>Answers of the next allocations and syncs: an errno, 0 for success without doing anything.</summary>
    public Queue<int> Others { get; } = [];

    public List<int> VectorsPerCall { get; } = [];

    public int Syncs { get; private set; }

    public long Gather(FileHandle file, Libc.IoVector* vectors, int count, long offset)
    {
        VectorsPerCall.Add(count);
        if (!Gathers.TryDequeue(out long limit)) return DiskCalls.Real.Gather(file, vectors, count, offset);
        if (limit <= 0) return limit;

        // The kernel really takes a part, so that the file shows where the rest landed.
        Libc.IoVector* part = stackalloc Libc.IoVector[count];
        int used = 0;
        for (nuint left = (nuint)limit; used < count && left > 0; used++)
        {
            part[used] = vectors[used];
            part[used].Length = Math.Min(left, vectors[used].Length);
            left -= part[used].Length;
        }

        return DiskCalls.Real.Gather(file, part, used, offset);
    }

    public int Allocate(FileHandle file, long length) =>
        Others.TryDequeue(out int answer) ? answer : DiskCalls.Real.Allocate(file, length);

    public int SyncData(FileHandle file) => Sync(DiskCalls.Real.SyncData, file);

    public int SyncAll(FileHandle file) => Sync(DiskCalls.Real.SyncAll, file);

    private int Sync(Func<FileHandle, int> real, FileHandle file)
    {
        Syncs++;
        return Others.TryDequeue(out int answer) ? answer : real(file);
    }
}
