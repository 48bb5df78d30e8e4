using System.Globalization;
using System.Net.Http.Headers;
using Google.Protobuf;
using TsdbRemote.Blocks.Encoding;
using TsdbRemote.Blocks.Model;
using TsdbRemote.Storage.Wire;
using V2 = TsdbRemote.Protos.WriteV2;

namespace TsdbRemote.Torture;

/// <summary>A sender: one request after the other until it is stopped, odd ones of them in 2.0, some of them twice.</summary>
internal sealed class TortureWriter(TortureLedger ledger, int number)
{
    public const string Metric = "torture";
    private const int TwiceEvery = 16;
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(20);

    /// <summary>Sends until told to stop; a server that is not there is asked again.</summary>
    public async Task RunAsync(HttpClient client, CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            int request = ledger.Begin(number);
            bool isStored = await SendAsync(client, request, stop);
            if (isStored && request % TwiceEvery == 0) isStored = await SendAsync(client, request, stop) || isStored;
            if (isStored) ledger.Acknowledge(number, request);
            else await Task.Delay(Pause, CancellationToken.None);
        }
    }

    private async Task<bool> SendAsync(HttpClient client, int request, CancellationToken stop)
    {
        bool isV2 = request % 2 == 1;
        using PooledBuffer raw = isV2 ? EncodeV2(request) : EncodeV1(request);
        using PooledBuffer body = SnappyBlock.Compress(raw.Span);
        using var content = new ByteArrayContent(body.Span.ToArray());
        content.Headers.ContentType = MediaTypeHeaderValue.Parse(isV2 ? "application/x-protobuf;proto=io.prometheus.write.v2.Request" : "application/x-protobuf");
        content.Headers.ContentEncoding.Add("snappy");
        try
        {
            using HttpResponseMessage answer = await client.PostAsync(new Uri("/api/v1/write", UriKind.Relative), content, stop);
            if ((int)answer.StatusCode is >= 400 and < 500) throw new TortureException($"a good request was answered {(int)answer.StatusCode}: {await answer.Content.ReadAsStringAsync(stop)}");
            return answer.IsSuccessStatusCode;
        }
        catch (Exception gone) when (gone is HttpRequestException or OperationCanceledException or IOException or ObjectDisposedException)
        {
            return false;
        }
    }

    private PooledBuffer EncodeV1(int request)
    {
        PooledBuffer raw = PooledBuffer.Rent(1 << 15);
        for (int series = 0; series < TortureLedger.SeriesEach; series++)
        {
            byte[] labels = Labels.Encode(
                ("__name__", Metric), ("gen", Text(TortureLedger.GenerationOf(request))), ("series", Text(series)), ("writer", Text(number)));
            RemoteWriteV1.EncodeSeries(raw, labels, [Sample.Of(ledger.TimeOf(request), TortureLedger.ValueOf(number, series, request))]);
        }

        return raw;
    }

    private PooledBuffer EncodeV2(int request)
    {
        var message = new V2.Request();
        message.Symbols.Add(["", "__name__", Metric, "gen", Text(TortureLedger.GenerationOf(request)), "series", "writer", Text(number)]);
        for (int series = 0; series < TortureLedger.SeriesEach; series++)
        {
            var one = new V2.TimeSeries();
            one.LabelsRefs.Add([1, 2, 3, 4, 5, (uint)message.Symbols.Count, 6, 7]);
            message.Symbols.Add(Text(series));
            one.Samples.Add(new V2.Sample { Timestamp = ledger.TimeOf(request), Value = TortureLedger.ValueOf(number, series, request) });
            message.Timeseries.Add(one);
        }

        PooledBuffer raw = PooledBuffer.Rent(1 << 15);
        raw.Append(message.ToByteArray());
        return raw;
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
