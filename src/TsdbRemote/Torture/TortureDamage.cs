using System.Text.Json.Nodes;

namespace TsdbRemote.Torture;

/// <summary>Damages one file of a copy of a data directory, starts a server on it, and looks what becomes of that.</summary>
/// <remarks>
/// Three ends are right: nothing is missing; something is, and the damage is named (in <c>damages</c>, as a torn end of the log, or in a refused read); or the server refuses to start by an
/// exit code of its own and names the file. Anything that is read was sent.
/// </remarks>
internal sealed class TortureDamage(TortureLedger ledger, RequestFate least, string[] options, Random random)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>The kinds of files that are there: a name for people, and the files.</summary>
    public static Dictionary<string, string[]> KindsOf(string directory) => Directory.EnumerateFiles(directory, "*", SearchOption.AllDirectories)
        .Where(static file => new FileInfo(file).Length > 0)
        .GroupBy(file => KindOf(Path.GetRelativePath(directory, file))).Where(static kind => kind.Key.Length > 0)
        .ToDictionary(static kind => kind.Key, static kind => kind.Order(StringComparer.Ordinal).ToArray());

    /// <summary>Does it once.</summary>
    /// <param name="original">A data directory in which no server works.</param>
    /// <param name="kind">Which kind of file, of <see cref="KindsOf"/>.</param>
    /// <param name="copy">Where the copy is made; removed if all was well.</param>
    /// <returns>What was damaged and what became of it, for people.</returns>
    /// <exception cref="TortureException">It did not end in one of the right ways.</exception>
    public async Task<string> RunAsync(string original, string kind, string copy)
    {
        Copy(original, copy);
        string[] files = KindsOf(copy)[kind];
        string file = files[random.Next(files.Length)];
        string name = Path.GetRelativePath(copy, file);
        string what = $"{name}: {Spoil(file)}";
        using var server = new TortureServer(copy, options);
        server.Start();
        string end = await EndAsync(server, name, what);
        server.Kill();
        Directory.Delete(copy, recursive: true);
        return $"{what}: {end}";
    }

    /// <summary>What a server that does not start all by itself says: one of its own exit codes, and which file it is.</summary>
    private async Task<string> EndAsync(TortureServer server, string name, string what)
    {
        bool isReady = await server.WaitForAsync("/-/ready", Patience);
        if (!isReady && server.HasEnded)
        {
            server.WaitForEnd();
            if (server.ExitCode is not (1 or 3)) throw new TortureException($"{what}: the server crashed with exit code {server.ExitCode}:\n{server.Output}");
            if (!IsNamed(server.Output, name)) throw new TortureException($"{what}: the server refuses to start and does not name the file:\n{server.Output}");
            return "refused, by name";
        }

        JsonNode status = await server.StatusAsync();
        if (!isReady) return IsNamed(status["damages"]!.ToJsonString(), name) ? "reads kept out, by name" : throw new TortureException($"{what}: never ready, and nobody says why:\n{server.Output}");
        long missing = 0;
        long found = 0;
        string? refusal = null;
        for (int writer = 0; writer < TortureLedger.Writers; writer++)
        {
            Recovered recovered = await new TortureReader(ledger).ReadAllAsync(server.Client, writer, least);
            missing += recovered.MissingSamples;
            found += recovered.Samples;
            refusal ??= recovered.Refusal;
        }

        if (server.HasEnded) throw new TortureException($"{what}: the server crashed while it was read:\n{server.Output}");
        return Judge(await server.StatusAsync(), name, what, found, missing, refusal, server.Output);
    }

    private static string Judge(JsonNode status, string name, string what, long found, long missing, string? refusal, string output)
    {
        string damages = status["damages"]!.ToJsonString();
        bool isTorn = status["replay"]?["tornTails"]?.GetValue<long>() > 0;
        bool isNamed = IsNamed(damages, name) || (isTorn && name.EndsWith(".log", StringComparison.Ordinal));
        if (missing > 0 && !isNamed) throw new TortureException($"{what}: {missing} acknowledged samples are missing, refused: {refusal}, and nobody names the file; damages: {damages}\n{output}");
        return (missing, refusal, isNamed) switch
        {
            (0, _, true) => "nothing lost, named",
            (0, _, false) => "nothing lost",
            (_, null, _) => $"{missing} samples lost, named; {found} served",
            _ => $"reads refused, named; {found} served",
        };
    }

    /// <summary>The name of the file, or of the block that it is a part of.</summary>
    private static bool IsNamed(string text, string name) => text.Contains(
        name.StartsWith("blocks/", StringComparison.Ordinal) ? name.Split('/')[1] : Path.GetFileName(name), StringComparison.Ordinal);

    private static string KindOf(string name)
    {
        string[] parts = name.Split('/');
        return parts switch
        {
            ["LOCK" or "REPLAY"] or ["quarantine", ..] or ["snapshots", ..] => "",
            ["blocks", _, "chunks", _] => "chunks of a block",
            ["blocks", _, string part] => $"{part} of a block",
            ["wal", _] => "log",
            ["series", _] => "dictionary",
            ["tables", ..] => "table",
            _ => name,
        };
    }

    /// <summary>One bit, a few bytes, or a sector of zeros.</summary>
    private string Spoil(string path)
    {
        byte[] bytes = File.ReadAllBytes(path);
        int at = random.Next(bytes.Length);
        int length = Math.Min(bytes.Length - at, random.Next(3) switch { 0 => 1, 1 => random.Next(2, 16), _ => 512 });
        Span<byte> spoilt = bytes.AsSpan(at, length);
        string what;
        if (length == 1)
        {
            int bit = random.Next(8);
            spoilt[0] ^= (byte)(1 << bit);
            what = $"bit {bit} of byte {at} flipped";
        }
        else if (length < 512)
        {
            random.NextBytes(spoilt);
            what = $"{length} bytes from byte {at} random";
        }
        else
        {
            spoilt.Clear();
            what = $"512 bytes from byte {at} zero";
        }

        File.WriteAllBytes(path, bytes);
        return what;
    }

    private static void Copy(string from, string to)
    {
        foreach (string file in Directory.EnumerateFiles(from, "*", SearchOption.AllDirectories))
        {
            string target = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target);
        }
    }
}
