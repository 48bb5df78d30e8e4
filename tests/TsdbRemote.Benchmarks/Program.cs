using BenchmarkDotNet.Running;
using TsdbRemote.Benchmarks.Peers;

return args switch
{
    ["peers", .. string[] rest] => await PeersVerb.RunAsync(rest),
    _ => BenchmarkSwitcher.FromAssembly(typeof(PeersVerb).Assembly).Run(args) is null ? 1 : 0,
};
