using System.Globalization;
using TsdbRemote.Fuzz;
using TsdbRemote.Tests.Mutations;

// dotnet run -c Release --project tests/TsdbRemote.Fuzz -- TARGET [--inputs N] [--seed S] [--keep]
// dotnet run -c Release --project tests/TsdbRemote.Fuzz -- list
if (args is [] or ["list", ..])
{
    foreach (FuzzTarget target in FuzzTargets.All) Console.WriteLine($"{target.Name,-16} {target.Corpus().Count} inputs to begin with");
    return 0;
}

var run = new FuzzOptions(args[0], Number("--inputs", 10_000_000), Number("--seed", 1), args.Contains("--keep"));
FuzzTargets.Find(run.Target);
return Instrumented.IsThis ? new GuidedRun(run).Run() : Instrumented.Start(args);

long Number(string name, long otherwise) => Array.IndexOf(args, name) is >= 0 and int at ? long.Parse(args[at + 1], CultureInfo.InvariantCulture) : otherwise;
