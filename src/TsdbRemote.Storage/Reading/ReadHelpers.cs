using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;

namespace TsdbRemote.Storage.Reading;

/// <summary>Threads that all reads share, so that one read can have several of its tables read at a time.</summary>
/// <remarks>
/// Use:     some threads of the engine run <see cref="Run"/>; a read calls <see cref="ForEach"/>. <see cref="Stop"/> ends the threads, not the calls.
/// Promise: the caller works too and waits for nothing that has not begun, so that a read goes on by itself while all helpers hang on a slow disk.
/// Not here: threads; without any of them the caller does everything.
/// </remarks>
internal sealed class ReadHelpers : IDisposable
{
    private readonly BlockingCollection<Job> _jobs = [];

    /// <summary>Helpers for reads.</summary>
    /// <param name="threads">How many threads are going to run <see cref="Run"/>.</param>
    public ReadHelpers(int threads) => Threads = threads;

    /// <summary>Threads that help.</summary>
    public int Threads { get; }

    /// <summary>A helper's life.</summary>
    public void Run()
    {
        foreach (Job job in _jobs.GetConsumingEnumerable()) job.Help();
    }

    /// <summary>Does something for each number below <paramref name="count"/>, in any order and some at a time; returns once all is done.</summary>
    /// <param name="count">How many.</param>
    /// <param name="work">Gets the worker, from 0 to <see cref="Threads"/>, of which each does one thing at a time, and the number.</param>
    /// <exception cref="Exception">The first failure; nothing is begun after it.</exception>
    public void ForEach(int count, Action<int, int> work)
    {
        var job = new Job(count, work);
        int helpers = Math.Min(Threads, count - 1);
        try
        {
            for (int i = 0; i < helpers; i++) _jobs.Add(job);
        }
        catch (InvalidOperationException)
        {
            // Stopping: the helpers are gone, and the caller does it alone.
        }

        job.Complete();
    }

    /// <summary>Ends <see cref="Run"/> once its current work is done.</summary>
    public void Stop() => _jobs.CompleteAdding();

    /// <inheritdoc/>
    public void Dispose() => _jobs.Dispose();

    /// <summary>One call: numbers are taken one by one by whoever is free.</summary>
    private sealed class Job(int count, Action<int, int> work)
    {
        // Guards the fields below, and is where the caller waits for helpers; the work is done outside it.
        private readonly object _lock = new();
        private int _next;
        private int _workers;
        private int _helping;
        private Exception? _failure;

        /// <summary>Works as a helper, if there is anything left.</summary>
        public void Help()
        {
            int worker;
            lock (_lock)
            {
                if (_next >= count) return;
                worker = ++_workers;
                _helping++;
            }

            Work(worker);
            lock (_lock)
            {
                if (--_helping == 0) Monitor.PulseAll(_lock);
            }
        }

        /// <summary>Works as the caller, then waits for the helpers that have begun.</summary>
        public void Complete()
        {
            Work(worker: 0);
            lock (_lock)
            {
                while (_helping > 0) Monitor.Wait(_lock);
            }

            // A helper that is idle still knows its last job, which must not keep all that the read had gathered. Nobody begins a number any more.
            work = static (_, _) => { };

            if (_failure is not null) ExceptionDispatchInfo.Throw(_failure);
        }

        private void Work(int worker)
        {
            try
            {
                while (TryTake(out int number)) work(worker, number);
            }
            catch (Exception failure)
            {
                lock (_lock)
                {
                    _failure ??= failure;
                    _next = count;
                }
            }
        }

        private bool TryTake(out int number)
        {
            lock (_lock)
            {
                number = _next;
                if (_next < count) _next++;
                return number < count;
            }
        }
    }
}
