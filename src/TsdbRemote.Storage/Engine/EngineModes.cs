using TsdbRemote.Storage.Options;

namespace TsdbRemote.Storage.Engine;

/// <summary>Which halves of the store are in use, tables or blocks: what the keys of <c>integration</c> and <c>lsm.enabled</c> come to together.</summary>
/// <remarks>
/// Block-only mode: a flush makes blocks, or where it cannot a table as ever, so that its segment can go; and the windows of every table become blocks at once.
/// Nothing on disk knows of the mode, so it can be switched to and fro while everything goes on. Thread-safe.
/// </remarks>
internal sealed class EngineModes
{
    private readonly IntegrationOptions _options;
    private volatile bool _isBlockOnly;
    private volatile bool _wasBlockOnly;

    public EngineModes(StorageOptions options)
    {
        _options = options.Integration;
        _isBlockOnly = _wasBlockOnly = !options.Lsm.Enabled || _options.WritePath == WritePathChoice.Blocks;
    }

    /// <summary>What MemTables become now.</summary>
    public WritePathChoice WritePath => _isBlockOnly ? WritePathChoice.Blocks : WritePathChoice.Lsm;

    /// <summary>True if MemTables become blocks, and so does every table at once.</summary>
    public bool IsBlockOnly => _isBlockOnly;

    /// <summary>True if tables become blocks, those of closed windows or all.</summary>
    public bool Converts => _isBlockOnly || ConvertsClosed;

    /// <summary>True if tables of closed windows become blocks outside block-only mode.</summary>
    public bool ConvertsClosed => _options is { HybridMode: true, SstableToBlockConversion: true };

    /// <summary>Where reads look, with what <c>hybrid_mode</c> leaves of it.</summary>
    public ReadPathChoice ReadPath => _options.HybridMode ? _options.ReadPath : ReadPathChoice.Lsm;

    /// <summary>
    /// True if reads look into tables. In block-only mode always: a table is there on its way into a block only, and what was acknowledged must not
    /// disappear for the time that takes. And from then on until the process ends, whatever is switched back: some may be on its way still.
    /// </summary>
    public bool ReadsTables => ReadPath != ReadPathChoice.Blocks || _wasBlockOnly;

    /// <summary>
    /// True if reads look into blocks. In block-only mode always, for the same reason: there is nowhere else that a flush could put it. And from then on, since what
    /// went into blocks does not come out again.
    /// </summary>
    public bool ReadsBlocks => ReadPath != ReadPathChoice.Lsm || _wasBlockOnly;

    /// <summary>Changes what MemTables become; false if <c>hybrid_mode</c> rules it out.</summary>
    public bool TrySwitch(WritePathChoice path)
    {
        if (path == WritePathChoice.Blocks && !_options.HybridMode) return false;
        _isBlockOnly = path == WritePathChoice.Blocks;
        if (_isBlockOnly) _wasBlockOnly = true;
        return true;
    }
}
