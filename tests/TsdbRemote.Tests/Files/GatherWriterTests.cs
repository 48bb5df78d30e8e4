using TsdbRemote.Blocks.Files;
using TsdbRemote.TestSupport;

namespace TsdbRemote.Tests.Files;

/// <summary>T18: a short <c>pwritev</c> is resumed at the right byte.</summary>
public sealed class GatherWriterTests : IDisposable
{
    private const int Before = 3;

    private readonly TempDirectory _directory = new();
    private readonly ScriptedDiskCalls _calls = new();
    private readonly LocalFileSystem _files;

    public GatherWriterTests() => _files = new LocalFileSystem(mmap: true, _calls);

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void A_write_cut_at_any_byte_of_three_buffers_goes_on_there()
    {
        byte[][] buffers = [[1, 2, 3, 4, 5], [6], [7, 8, 9, 10, 11, 12, 13]];
        for (int first = 1; first <= 13; first++)
        {
            for (int second = 1; first + second <= 13; second++) WriteCut(buffers, first, second);
            WriteCut(buffers, first);
        }
    }

    [Fact]
    public void A_write_of_one_byte_a_call_and_interrupted_between_arrives_whole()
    {
        byte[][] buffers = [[1, 2, 3], [], [4], [5, 6]];
        WriteCut(buffers, -Errno.Interrupted, 1, 1, -Errno.Interrupted, -Errno.Interrupted, 1, 1, 1, 1);
    }

    [Fact]
    public void A_single_span_cut_short_arrives_whole()
    {
        using IFile file = _files.CreateNew(_directory["span"]);
        _calls.Gathers.Enqueue(2);
        _calls.Gathers.Enqueue(-Errno.Interrupted);
        file.Write(1, [1, 2, 3, 4, 5]);
        Assert.Equal([0, 1, 2, 3, 4, 5], _files.ReadAll(_directory["span"]));
    }

    [Fact]
    public void More_buffers_than_the_kernel_takes_are_spread_over_calls()
    {
        List<ReadOnlyMemory<byte>> buffers = [];
        List<byte> expected = [];
        for (int i = 0; i < 1500; i++)
        {
            byte[] buffer = new byte[i % 4]; // every fourth is empty
            Array.Fill(buffer, (byte)i);
            buffers.Add(buffer);
            expected.AddRange(buffer);
        }

        using IFile file = _files.CreateNew(_directory["many"]);
        file.WriteGather(0, buffers);
        Assert.Equal(expected, _files.ReadAll(_directory["many"]));
        Assert.Equal([512, 512, 101], _calls.VectorsPerCall);
    }

    [Fact]
    public void Nothing_but_empty_buffers_asks_nothing_of_the_kernel()
    {
        using IFile file = _files.CreateNew(_directory["empty"]);
        file.WriteGather(10, [default, default]);
        file.WriteGather(10, []);
        file.Write(10, []);
        Assert.Empty(_calls.VectorsPerCall);
        Assert.Equal(0, file.Length);
    }

    [Theory]
    [InlineData(-Errno.NoSpace, Errno.NoSpace)]
    [InlineData(0, Errno.InputOutput)]
    public void A_failure_after_a_short_write_is_told(long answer, int errno)
    {
        using IFile file = _files.CreateNew(_directory["full"]);
        _calls.Gathers.Enqueue(4);
        _calls.Gathers.Enqueue(answer);
        DiskException error = Assert.Throws<DiskException>(() => file.WriteGather(0, [new byte[3], new byte[3]]));
        Assert.Equal((errno, _directory["full"], "pwritev"), (error.Errno, error.Path, error.Operation));
        Assert.Equal(4, file.Length);
    }

    private void WriteCut(byte[][] buffers, params long[] answers)
    {
        string path = _directory[string.Join('_', answers)];
        foreach (long answer in answers) _calls.Gathers.Enqueue(answer);
        using IFile file = _files.CreateNew(path);
        file.WriteGather(Before, [.. buffers.Select(static buffer => (ReadOnlyMemory<byte>)buffer)]);
        Assert.Empty(_calls.Gathers);
        Assert.Equal([.. new byte[Before], .. buffers.SelectMany(static buffer => buffer)], _files.ReadAll(path));
    }
}
