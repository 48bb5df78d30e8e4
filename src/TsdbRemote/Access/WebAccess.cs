using TsdbRemote.Blocks.Files;
using TsdbRemote.Options;

namespace TsdbRemote.Access;

/// <summary>The web config that holds, and how it is replaced. Readers see one or the other, whole.</summary>
internal sealed class WebAccess
{
    private readonly string _path;
    private readonly IFileSystem _files;
    private readonly Lock _lock = new(); // guards _tried and the order of replacements; nothing is taken inside
    private volatile WebConfig _current;
    private WebConfigFiles _tried;
    private WebConfigFiles? _changing;

    private WebAccess(string path, IFileSystem files, WebConfig current, WebConfigFiles tried)
    {
        _path = path;
        _files = files;
        _current = current;
        _tried = tried;
    }

    /// <summary>What holds now.</summary>
    public WebConfig Current => _current;

    /// <summary>The file.</summary>
    public string Path => _path;

    /// <summary>Loads the file for the first time.</summary>
    /// <exception cref="OptionsException">It does not hold, or guards nothing: one that a full disk emptied must not open the server at its next start.</exception>
    public static WebAccess Load(string path, IFileSystem files)
    {
        string full = System.IO.Path.GetFullPath(path);
        var tried = new WebConfigFiles(files);
        WebConfig config = WebConfigReader.Read(full, tried);
        return config.AsksForNothing
            ? throw new OptionsException([$"{full}: nothing is asked for in it; leave http.web_config out to have no access control"])
            : new WebAccess(full, files, config, tried);
    }

    /// <summary>True once the files have said twice in a row the same other thing than at the last attempt: one that is being written must not be taken for what it says so far.</summary>
    public bool HaveSettled()
    {
        lock (_lock)
        {
            if (_tried.IsUnchanged())
            {
                _changing = null;
                return false;
            }

            WebConfigFiles now = _tried.Again();
            bool settled = _changing?.SaysTheSame(now) == true;
            _changing = now;
            return settled;
        }
    }

    /// <summary>Loads the file again if it, or one that it names, says something else than at the last attempt.</summary>
    /// <returns>True if there is a new one; what was before is gone for new connections and requests.</returns>
    /// <exception cref="OptionsException">The new one does not hold; the old one goes on, and this is not said again before something changes.</exception>
    public bool Refresh()
    {
        lock (_lock)
        {
            if (_tried.IsUnchanged()) return false;
            _tried = new WebConfigFiles(_files);
            WebConfig next = WebConfigReader.Read(_path, _tried);
            if (next.Tls is null != _current.Tls is null || next.Http2 != _current.Http2)
                throw new OptionsException([$"{_path}: TLS or HTTP/2 switched on or off, which needs a restart"]);
            if (Loses(next) is { } lost) throw new OptionsException([$"{_path}: {lost} that were there are gone, which needs a restart"]);
            _current = next;
            return true;
        }
    }

    /// <summary>What guarded and would no longer: a file that is being written, or was emptied by a full disk, must not open the server. Null if nothing.</summary>
    private string? Loses(WebConfig next)
    {
        if (_current.Credentials is not null && next.Credentials is null) return "users and tokens";
        if (_current.Credentials is { HasRights: true } && next.Credentials is { HasRights: false }) return "rights";
        if (_current.Tls is { NamesClients: true } && next.Tls is { NamesClients: false }) return "names of clients that are let in";
        return _current.Tls is { VerifiesClients: true } && next.Tls is not { VerifiesClients: true } ? "rules for the certificates of clients" : null;
    }
}
