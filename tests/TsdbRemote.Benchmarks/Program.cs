using TsdbRemote.Benchmarks;
using TsdbRemote.Benchmarks.ChunkEncodings;
using TsdbRemote.Benchmarks.Peers;

return args switch
{
    ["chunk-encodings", .. string[] rest] => ChunkEncodingsVerb.Run(rest),
    ["peers", .. string[] rest] => await PeersVerb.RunAsync(rest),
    _ => BenchmarkRun.Run(args),
};
