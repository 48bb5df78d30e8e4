using System.Buffers;
using System.Diagnostics;

namespace TsdbRemote.Blocks.Files;

/// <summary>Writes many buffers one behind the other in few <c>pwritev</c> calls, and goes on where a call stopped.</summary>
/// <remarks>
/// The framework's <c>RandomAccess.Write</c> over a list resumed short writes at the wrong place in several releases without an
/// error, and refused more than 1,024 buffers (dotnet/runtime#108383, #109646); hence this loop, with a test that forces a
/// short write at every byte. Stateless, thread-safe.
/// </remarks>
internal static unsafe class GatherWriter
{
    /// <summary>Buffers a call; the kernel takes up to IOV_MAX = 1,024.</summary>
    public const int MaxBuffers = 512;

    /// <summary>Writes all buffers from <paramref name="offset"/> on.</summary>
    /// <exception cref="DiskException">A call failed; the bytes from <paramref name="offset"/> on are then unknown.</exception>
    public static void Write(IDiskCalls calls, FileHandle file, string path, long offset, IReadOnlyList<ReadOnlyMemory<byte>> buffers)
    {
        int slots = Math.Min(buffers.Count, MaxBuffers);
        Libc.IoVector* vectors = stackalloc Libc.IoVector[slots];
        MemoryHandle[] pins = ArrayPool<MemoryHandle>.Shared.Rent(slots);
        int next = 0;
        while (next < buffers.Count)
        {
            int count = 0;
            try
            {
                long bytes = 0;
                for (; next < buffers.Count && count < slots; next++)
                {
                    ReadOnlyMemory<byte> buffer = buffers[next];
                    if (buffer.IsEmpty) continue;
                    pins[count] = buffer.Pin();
                    vectors[count].Pointer = (byte*)pins[count].Pointer;
                    vectors[count].Length = (nuint)buffer.Length;
                    bytes += buffer.Length;
                    count++;
                }

                Drain(calls, file, path, vectors, count, offset);
                offset += bytes;
            }
            finally
            {
                for (int i = 0; i < count; i++) pins[i].Dispose();
            }
        }

        ArrayPool<MemoryHandle>.Shared.Return(pins, clearArray: true);
    }

    /// <summary>Calls <c>pwritev</c> until all <paramref name="count"/> non-empty vectors are written. Uses the vectors up.</summary>
    public static void Drain(IDiskCalls calls, FileHandle file, string path, Libc.IoVector* vectors, int count, long offset)
    {
        while (count > 0)
        {
            long written = calls.Gather(file, vectors, count, offset);
            if (written == -Errno.Interrupted) continue;
            if (written < 0) throw new DiskException("pwritev", path, (int)-written, Errno.Describe((int)-written));

            // Not in the manual, but the alternative to failing here would be an endless loop.
            if (written == 0) throw new DiskException("pwritev", path, Errno.InputOutput, "the system wrote nothing and gave no reason");

            offset += written;
            ulong rest = (ulong)written;
            while (count > 0 && rest >= vectors->Length)
            {
                rest -= vectors->Length;
                vectors++;
                count--;
            }

            Debug.Assert(count > 0 || rest == 0, "more bytes written than given");
            if (count == 0) return;
            vectors->Pointer += rest;
            vectors->Length -= (nuint)rest;
        }
    }
}
