namespace TsdbRemote.Verbs;

/// <summary>Prints how the program is called.</summary>
internal static class HelpVerb
{
    /// <summary>Prints the usage.</summary>
    public static int Run()
    {
        Console.WriteLine("""
            TsdbRemote [serve] [--urls=http://localhost:9201] [--config=FILE.yaml] [--web-config=FILE.yml] [--storage:data_dir=data] [--KEY=VALUE ...]
            TsdbRemote healthcheck [--urls=...]     exit code 0 if the server there is alive
            TsdbRemote verify DIR [--json]          reads a whole data directory, in which no server works, and says what is wrong; changes nothing
                                                    exit code 0: sound; 1: findings; 2: it cannot be verified (no data directory, in use, wrong call)
            TsdbRemote torture --data DIR --minutes N [--durability fsync|interval|none] [--seed N]
                                                    tries this program on your disk: kills servers while they are written to, damages copies of their files
                                                    exit code 0: nothing was lost; 1: a promise was broken, and which; 2: wrong call
            TsdbRemote version

            KEY is a key of config/tsdb-remote.yaml, its parts joined by colons; TSDB_REMOTE__STORAGE__DATA_DIR and the like in the environment do the same.
            """);
        return 0;
    }
}
