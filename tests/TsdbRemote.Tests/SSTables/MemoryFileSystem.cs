using System.Runtime.InteropServices;
using TsdbRemote.Blocks.Files;

namespace TsdbRemote.Tests.SSTables;

/// <summary>Files as arrays in memory, with or without maps. Everything is durable at once; every system call may be watched.</summary>
internal sealed class MemoryFileSystem(bool canMap = true) : IFileSystem
{
    private readonly Dictionary<string, Content> _files = [];
    private readonly HashSet<string> _directories = [];

    public List<string> Trace { get; } = [];

    public int OpenFiles { get; private set; }

    /// <summary>The call, as the trace names it, that is refused.</summary>
    public string? FailOn { get; set; }

    public byte[] this[string path]
    {
        get => _files[path].Bytes;
        set => _files[path] = new Content { Bytes = value };
    }

    /// <summary>
    /// Makes a file as long as if zeros stood at an offset, without holding them. They cannot be read together with what is around them.
    /// </summary>
    public void PutHole(string path, long at, long length) => (_files[path].HoleAt, _files[path].HoleLength) = (at, length);

    public bool Exists(string path) => _files.ContainsKey(path);

    public IFile OpenRead(string path) => new OpenFile(this, path, Get(path));

    public IFile OpenAppendable(string path) => OpenRead(path);

    public IFile CreateNew(string path)
    {
        Do($"create {path}");
        if (!_files.TryAdd(path, new Content())) throw new DiskException("open", path, 17, "exists");
        return OpenRead(path);
    }

    public void Rename(string from, string to)
    {
        Do($"rename {from} {to}");
        Content content = Get(from);
        if (_files.GetValueOrDefault(to) == content) return; // as rename(2): two names of one file both stay
        _files.Remove(from);
        _files[to] = content;
    }

    public void Link(string existing, string link)
    {
        Do($"link {existing} {link}");
        if (!_files.TryAdd(link, Get(existing))) throw new DiskException("link", link, 17, "exists");
    }

    public void Unlink(string path)
    {
        Do($"unlink {path}");
        Get(path);
        _files.Remove(path);
    }

    public void MakeDir(string path) => _directories.Add(path);

    public void RemoveDir(string path) => _directories.Remove(path);

    public IReadOnlyList<DirectoryEntry> List(string path)
    {
        string prefix = path + "/";
        IEnumerable<DirectoryEntry> entries = _files.Keys.Concat(_directories.Select(name => name + "/"))
            .Where(name => name.StartsWith(prefix, StringComparison.Ordinal) && name.Length > prefix.Length)
            .Select(name => name[prefix.Length..])
            .GroupBy(rest => rest.Split('/')[0])
            .Select(group => group.Contains(group.Key)
                ? new DirectoryEntry(group.Key, IsDirectory: false, _files[prefix + group.Key].Length)
                : new DirectoryEntry(group.Key, IsDirectory: true, 0));
        return [.. entries.OrderBy(entry => entry.Name, StringComparer.Ordinal)];
    }

    public long? FileSize(string path) => _files.TryGetValue(path, out Content? content) ? content.Length : null;

    public void SyncDir(string path) => Do($"syncdir {path}");

    public long FreeSpace(string path) => long.MaxValue;

    public IDisposable Lock(string path, string holder) => throw new NotSupportedException();

    private void Do(string call)
    {
        Trace.Add(call);
        if (call == FailOn) throw new DiskException(call, "it", DiskException.InputOutput, "I/O error");
    }

    private Content Get(string path) =>
        _files.TryGetValue(path, out Content? content) ? content : throw new DiskException("open", path, 2, "no such file");

    private sealed class Content
    {
        public byte[] Bytes { get; set; } = [];

        public long HoleAt { get; set; } = long.MaxValue;

        public long HoleLength { get; set; }

        public long Length => Bytes.Length + HoleLength;
    }

    private sealed class OpenFile : IFile
    {
        private readonly MemoryFileSystem _owner;
        private readonly Content _content;
        private bool _closed;

        public OpenFile(MemoryFileSystem owner, string path, Content content)
        {
            _owner = owner;
            _content = content;
            Path = path;
            owner.OpenFiles++;
        }

        public string Path { get; }

        public long Length => _content.Length;

        public int Read(long offset, Span<byte> destination)
        {
            ObjectDisposedException.ThrowIf(_closed, this);
            int count = (int)Math.Clamp(Length - offset, 0, destination.Length);
            long at = Math.Min(offset, Length);
            if (at >= _content.HoleAt) at -= _content.HoleLength;
            _content.Bytes.AsSpan((int)at, count).CopyTo(destination);
            _owner.Do($"read {offset} {count}");
            return count;
        }

        public void Write(long offset, ReadOnlySpan<byte> source)
        {
            _owner.Do($"write {Path}");
            if (offset + source.Length > Length) SetLength(offset + source.Length);
            source.CopyTo(_content.Bytes.AsSpan((int)offset));
        }

        public void WriteGather(long offset, IReadOnlyList<ReadOnlyMemory<byte>> buffers) => throw new NotSupportedException();

        public void Preallocate(long length) => SetLength(length);

        public void SetLength(long length)
        {
            byte[] bytes = _content.Bytes;
            Array.Resize(ref bytes, (int)length);
            _content.Bytes = bytes;
        }

        public void SyncData() => _owner.Do($"sync {Path}");

        public void SyncAll() => _owner.Do($"sync {Path}");

        public unsafe MappedFile? TryMap()
        {
            if (!_owner.CanMap) return null;
            byte* copy = (byte*)NativeMemory.Alloc((nuint)Length);
            _content.Bytes.CopyTo(new Span<byte>(copy, _content.Bytes.Length));
            return new MappedFile(copy, Length, static (pointer, _) => NativeMemory.Free((void*)pointer));
        }

        public void Dispose()
        {
            if (_closed) return;
            _closed = true;
            _owner.OpenFiles--;
        }

    }

    private bool CanMap { get; } = canMap;
}
