using TsdbRemote.Benchmarks;
using TsdbRemote.Benchmarks.BlockFigures;
using TsdbRemote.Benchmarks.ChunkEncodings;
using TsdbRemote.Benchmarks.Overload;
using TsdbRemote.Benchmarks.Peers;

return args switch
{
    ["chunk-encodings", .. string[] rest] => ChunkEncodingsVerb.Run(rest),
    ["peers", .. string[] rest] => await PeersVerb.RunAsync(rest),
    ["amplification", .. string[] rest] => await AmplificationVerb.RunAsync(rest),
    ["beside", .. string[] rest] => await BesideVerb.RunAsync(rest),
    ["churn", .. string[] rest] => await ChurnVerb.RunAsync(rest),
    ["decode-instructions", .. string[] rest] => await DecodeInstructionsVerb.RunAsync(rest),
    ["overload", .. string[] rest] => await OverloadVerb.RunAsync(rest),
    ["blocks", .. string[] rest] => await BlocksVerb.RunAsync(rest),
    _ => BenchmarkRun.Run(args),
};
