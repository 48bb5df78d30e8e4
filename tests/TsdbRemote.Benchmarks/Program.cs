using TsdbRemote.Benchmarks;
using TsdbRemote.Benchmarks.Peers;

return args switch
{
    ["peers", .. string[] rest] => await PeersVerb.RunAsync(rest),
    _ => BenchmarkRun.Run(args),
};
