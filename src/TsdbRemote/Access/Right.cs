namespace TsdbRemote.Access;

/// <summary>What somebody may do. Each stands for itself: who may administer may not therefore write.</summary>
[Flags]
internal enum Right
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>Ask: samples, labels, status pages, metrics.</summary>
    Read = 1,

    /// <summary>Send samples.</summary>
    Write = 2,

    /// <summary>Change the server's state: flush, compact, delete.</summary>
    Admin = 4,

    /// <summary>Everything.</summary>
    All = Read | Write | Admin,
}
