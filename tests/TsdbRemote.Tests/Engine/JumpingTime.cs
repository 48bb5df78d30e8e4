namespace TsdbRemote.Tests.Engine;

/// <summary>A clock whose time of day can be set apart from the time that passes.</summary>
internal sealed class JumpingTime(DateTimeOffset start) : TimeProvider
{
    private TimeSpan _passed;
    private TimeSpan _jumped;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public long NowMs => GetUtcNow().ToUnixTimeMilliseconds();

    public override long GetTimestamp() => _passed.Ticks;

    public override DateTimeOffset GetUtcNow() => start + _passed + _jumped;

    /// <summary>Time passes.</summary>
    public void Advance(TimeSpan by) => _passed += by;

    /// <summary>Somebody sets the clock.</summary>
    public void Jump(TimeSpan by) => _jumped += by;
}
