namespace TsdbRemote.Benchmarks.Peers;

/// <summary>Requests of a load, scrape by scrape. Two senders may ask for different batches at one time, never for the same.</summary>
public interface ILoad
{
    /// <summary>Requests that a scrape takes.</summary>
    int BatchesPerScrape { get; }

    /// <summary>Whether bodies are those of remote write 2.0.</summary>
    bool IsVersion2 { get; }

    /// <summary>The snappy body of one request of one scrape.</summary>
    byte[] Body(int scrape, int batch);
}
