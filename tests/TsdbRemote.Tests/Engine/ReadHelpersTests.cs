using TsdbRemote.Storage.Reading;

namespace TsdbRemote.Tests.Engine;

public sealed class ReadHelpersTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    public void Each_number_is_done_once_by_a_worker_that_does_one_at_a_time(int threads)
    {
        using var helpers = new ReadHelpers(threads);
        Thread[] running = Start(helpers);
        for (int round = 0; round < 200; round++)
        {
            int[] done = new int[round % 17];
            int[] busy = new int[threads + 1];
            helpers.ForEach(done.Length, (worker, number) =>
            {
                Assert.Equal(1, Interlocked.Increment(ref busy[worker]));
                Interlocked.Increment(ref done[number]);
                Interlocked.Decrement(ref busy[worker]);
            });
            Assert.All(done, static count => Assert.Equal(1, count));
        }

        helpers.Stop();
        Assert.All(running, static thread => Assert.True(thread.Join(TimeSpan.FromSeconds(30))));
        int after = 0;
        helpers.ForEach(5, (_, _) => after++);
        Assert.Equal(5, after); // the caller alone
    }

    [Fact]
    public void A_read_goes_on_by_itself_while_the_helpers_hang()
    {
        using var helpers = new ReadHelpers(1);
        Thread[] running = Start(helpers);
        using var gate = new ManualResetEventSlim();
        using var hangs = new ManualResetEventSlim();
        int caller = Environment.CurrentManagedThreadId;
        var hanging = new Thread(() => helpers.ForEach(2, (worker, _) =>
        {
            if (worker > 0) hangs.Set();
            else hangs.Wait(TimeSpan.FromSeconds(30));
            gate.Wait(TimeSpan.FromSeconds(30));
        }));
        hanging.Start();
        Assert.True(hangs.Wait(TimeSpan.FromSeconds(30)));
        int done = 0;
        helpers.ForEach(4, (_, _) =>
        {
            Assert.Equal(caller, Environment.CurrentManagedThreadId);
            done++;
        });
        Assert.Equal(4, done);
        gate.Set();
        hanging.Join();
        helpers.Stop();
        Assert.All(running, static thread => thread.Join());
    }

    [Fact]
    public void The_first_failure_is_the_callers_and_nothing_is_begun_after_it()
    {
        using var helpers = new ReadHelpers(0);
        int begun = 0;
        IOException failure = Assert.Throws<IOException>(() => helpers.ForEach(10, (_, number) =>
        {
            begun++;
            if (number == 3) throw new IOException("third");
        }));
        Assert.Equal(("third", 4), (failure.Message, begun));
    }

    private static Thread[] Start(ReadHelpers helpers)
    {
        Thread[] threads = [.. Enumerable.Range(0, helpers.Threads).Select(_ => new Thread(helpers.Run) { IsBackground = true })];
        foreach (Thread thread in threads) thread.Start();
        return threads;
    }
}
