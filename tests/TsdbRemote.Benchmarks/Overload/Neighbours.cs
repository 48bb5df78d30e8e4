using System.Net;
using TsdbRemote.Benchmarks.BlockFigures;
using TsdbRemote.Benchmarks.Peers;
using TsdbRemote.Blocks.Model;

namespace TsdbRemote.Benchmarks.Overload;

/// <summary>What makes life hard for a server: a disk that others use, and readers that do not read.</summary>
internal static class Neighbours
{
    private const int DiskBytes = 4 << 20;
    private const int Piece = 16 << 10;
    private static readonly TimeSpan PerPiece = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan AfterRefusal = TimeSpan.FromSeconds(1);

    /// <summary>Does work while the disk is kept busy with writes and syncs of others.</summary>
    /// <param name="directory">On the disk.</param>
    /// <param name="writers">How many others.</param>
    /// <param name="work">The work.</param>
    public static async Task<int> BesideDiskUseAsync(string directory, int writers, Func<Task<int>> work)
    {
        using var stop = new CancellationTokenSource();
        Task[] disk = [.. Enumerable.Range(0, writers).Select(writer => Task.Factory.StartNew(
            () => WearDisk(Directory.CreateDirectory(Path.Combine(directory, $"neighbour-{writer}")).FullName, stop.Token), TaskCreationOptions.LongRunning))];
        int done = await work();
        await stop.CancelAsync();
        await Task.WhenAll(disk);
        return done;
    }

    /// <summary>Does work beside slow readers of everything.</summary>
    /// <param name="target">The server.</param>
    /// <param name="readers">How many.</param>
    /// <param name="work">The work.</param>
    /// <returns>What it returns; answers that readers began to read, and refusals.</returns>
    /// <exception cref="InvalidOperationException">An answer that no overload excuses.</exception>
    public static async Task<(int Done, (long Begun, long Refused) Reads)> BesideReadersAsync(Target target, int readers, Func<Task<int>> work)
    {
        using var stop = new CancellationTokenSource();
        Task<(long Begun, long Refused)>[] reading = [.. Enumerable.Range(0, readers).Select(_ => ReadSlowlyAsync(target, stop.Token))];
        int done = await work();
        await stop.CancelAsync();
        (long Begun, long Refused)[] reads = await Task.WhenAll(reading);
        return (done, (reads.Sum(static read => read.Begun), reads.Sum(static read => read.Refused)));
    }

    /// <summary>Keeps the disk busy with writes and syncs, so that the server's have to wait for them.</summary>
    /// <param name="directory">On the disk.</param>
    /// <param name="stop">Ends it.</param>
    private static void WearDisk(string directory, CancellationToken stop)
    {
        string path = Path.Combine(directory, "neighbour");
        byte[] bytes = new byte[DiskBytes];
        new Random(1).NextBytes(bytes);
        using (FileStream file = File.Create(path))
        {
            while (!stop.IsCancellationRequested)
            {
                file.Position = 0;
                file.Write(bytes);
                file.Flush(flushToDisk: true);
            }
        }

        File.Delete(path);
    }

    /// <summary>Reads everything, 32 KiB a second, again and again.</summary>
    /// <param name="target">The server.</param>
    /// <param name="stop">Ends it.</param>
    /// <returns>Answers that were begun, and refusals.</returns>
    /// <exception cref="InvalidOperationException">An answer that no overload excuses.</exception>
    private static async Task<(long Begun, long Refused)> ReadSlowlyAsync(Target target, CancellationToken stop)
    {
        byte[] body = ReadBodies.Of(new TimeRange(0, 1L << 42), streamed: true, ReadBodies.Equal("job", ScrapeLoad.Job));
        byte[] piece = new byte[Piece];
        using var client = new HttpClient { BaseAddress = target.Client.BaseAddress, Timeout = Timeout.InfiniteTimeSpan };
        (long begun, long refused) = (0, 0);
        while (!stop.IsCancellationRequested)
        {
            try
            {
                using HttpRequestMessage message = ReadBodies.MessageOf(body);
                using HttpResponseMessage answer = await client.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, stop);
                if (answer.StatusCode == HttpStatusCode.ServiceUnavailable)
                {
                    refused++;
                    await Task.Delay(AfterRefusal, stop);
                    continue;
                }

                if (!answer.IsSuccessStatusCode) throw new InvalidOperationException($"a read was answered {(int)answer.StatusCode}");
                begun++;
                await using Stream stream = await answer.Content.ReadAsStreamAsync(stop);
                while (await stream.ReadAsync(piece, stop) > 0) await Task.Delay(PerPiece, stop);
            }
            catch (OperationCanceledException)
            {
                break;
            }
            catch (Exception cut) when (cut is HttpRequestException or IOException)
            {
                // Whom the server no longer waits for, it cuts off.
            }
        }

        return (begun, refused);
    }
}
