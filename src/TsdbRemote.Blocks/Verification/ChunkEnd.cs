namespace TsdbRemote.Blocks.Verification;

/// <summary>What stands behind the last sample of a chunk: zeros to the end of the byte (rule 19).</summary>
internal static class ChunkEnd
{
    /// <summary>Checks the bits that are left. One zero byte too many, which Prometheus before 3.0 sometimes wrote, is a warning.</summary>
    public static void Check(ref BitCursor bits, in ChunkPlace place, Findings findings)
    {
        long left = bits.Remaining;
        bool isZero = true;
        while (bits.Remaining > 0) isZero &= bits.Read((int)Math.Min(64, bits.Remaining)) == 0;
        if (left < 8 && isZero) return;
        if (left < 16 && isZero) findings.Warning(19, place.File, place.Offset, $"the chunk of {place.Series} has a zero byte too many");
        else if (isZero) findings.Error(19, place.File, place.Offset, $"{left} bits are left behind the last sample of {place.Series}");
        else findings.Error(19, place.File, place.Offset, $"the {left} bits behind the last sample of {place.Series} are not all zero");
    }
}
