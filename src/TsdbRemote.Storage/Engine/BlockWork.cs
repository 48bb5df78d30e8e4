using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Diagnostics;
using Microsoft.Extensions.Logging;
using TsdbRemote.Blocks;
using TsdbRemote.Blocks.Chunks;
using TsdbRemote.Blocks.Files;
using TsdbRemote.Blocks.Format;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.BlockStorage;
using TsdbRemote.Storage.Compaction;
using TsdbRemote.Storage.Levels;
using TsdbRemote.Storage.MemTables;

namespace TsdbRemote.Storage.Engine;

/// <summary>Everything that happens to blocks, one thing at a time on one thread: adoption, retention, conversion, removal.</summary>
/// <remarks>
/// Use: one thread runs <see cref="Run"/>; anybody calls <see cref="CompactAsync"/> to have all that can be done now done. <see cref="Step"/> is one round of it, for
/// tests that run without threads.
/// Failure: what fails before the manifest is touched costs its own files, and is tried again after 1 s, 2 s ... 5 min; three in a row make the storage read-only, as
/// they do for a flush. A full disk is tried again for as long as it takes. A window that cannot be read is passed over and named.
/// </remarks>
internal sealed class BlockWork : IDisposable
{
}
