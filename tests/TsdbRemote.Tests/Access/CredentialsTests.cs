using System.Net;
using System.Text;
using Prometheus;
using TsdbRemote.Access;
using TsdbRemote.Telemetry;
using static TsdbRemote.Tests.Access.WebFiles;

namespace TsdbRemote.Tests.Access;

/// <summary>Who is let in with what, and what it costs.</summary>
public sealed class CredentialsTests : IDisposable
{
    private readonly CollectorRegistry _registry = Prometheus.Metrics.NewCustomRegistry();
    private readonly PasswordChecks _passwords;
    private readonly Credentials _credentials = new(
        [new PasswordUser("alice", Hash("correct horse"), Right.All), new PasswordUser("pass", Hash(""), Right.Read)],
        [new BearerToken(Convert.FromHexString(Digest("token-of-ci-123456")["sha256:".Length..]), Right.Write)]);

    public CredentialsTests() => _passwords = new PasswordChecks(new AccessMetrics(_registry));

    public void Dispose() => _passwords.Dispose();

    public static TheoryData<string?, string, string> Headers() => new()
    {
        { Basic("alice", "correct horse").Item2, "Admitted", "All" },
        { Basic("alice", "correct horse").Item2.Replace("Basic", "bAsIc", StringComparison.Ordinal), "Admitted", "All" },
        { Basic("pass", "").Item2, "Admitted", "Read" },
        { Basic("alice", "correct horse ").Item2, "Wrong", "None" },
        { Basic("alice", "").Item2, "Wrong", "None" },
        { Basic("Alice", "correct horse").Item2, "Wrong", "None" },
        { Basic("nobody", "correct horse").Item2, "Wrong", "None" },
        { Basic("", "").Item2, "Wrong", "None" },
        { "Basic " + Convert.ToBase64String(Encoding.UTF8.GetBytes("alice")), "Wrong", "None" },
        { "Basic " + Convert.ToBase64String([(byte)'a', (byte)':', 0xff]), "Wrong", "None" },
        { "Basic !!!", "Wrong", "None" },
        { "Basic", "Wrong", "None" },
        { "Basic " + new string('A', 5000), "Wrong", "None" },
        { Basic("alice", new string('x', 3000)).Item2, "Wrong", "None" },
        { "Bearer token-of-ci-123456", "Admitted", "Write" },
        { "bearer  token-of-ci-123456 ", "Admitted", "Write" },
        { "Bearer token-of-ci-12345", "Wrong", "None" },
        { "Bearer token-of-ci-1234567", "Wrong", "None" },
        { "Bearer ", "Wrong", "None" },
        { "Digest username=alice", "Wrong", "None" },
        { Basic("alice", "correct horse").Item2 + "," + Basic("alice", "correct horse").Item2, "Wrong", "None" },
        { "", "Missing", "None" },
        { null, "Missing", "None" },
    };

    [Theory]
    [MemberData(nameof(Headers))]
    public async Task A_header_is_judged(string? header, string outcome, string rights) =>
        Assert.Equal((outcome, rights), await JudgeAsync(header));

    [Fact]
    public async Task A_hash_of_others_making_is_understood()
    {
        // From the source of prometheus/exporter-toolkit: it is of this word.
        var credentials = new Credentials([new PasswordUser("u", "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi", Right.Read)], []);
        Assert.Equal(AccessOutcome.Admitted, (await credentials.CheckAsync(Basic("u", "fakepassword").Item2, _passwords, "one", default)).Outcome);
        Assert.Equal(AccessOutcome.Wrong, (await credentials.CheckAsync(Basic("u", "fakepasswort").Item2, _passwords, "one", default)).Outcome);
    }

    [Fact]
    public async Task One_bcrypt_is_run_for_each_new_guess_whoever_is_named_and_none_for_what_is_known()
    {
        foreach (int round in new[] { 1, 2, 3 })
        {
            Assert.Equal("Admitted", (await JudgeAsync(Basic("alice", "correct horse").Item2)).Outcome);
            Assert.Equal(1, await RunsAsync());
        }

        Assert.Equal("Wrong", (await JudgeAsync(Basic("alice", "guess").Item2)).Outcome);
        Assert.Equal(2, await RunsAsync());
        Assert.Equal("Wrong", (await JudgeAsync(Basic("nobody", "guess").Item2)).Outcome);
        Assert.Equal(3, await RunsAsync());
        Assert.Equal("Wrong", (await JudgeAsync(Basic("nobody", "guess").Item2)).Outcome);
        Assert.Equal("Wrong", (await JudgeAsync(Basic("alice", "guess").Item2)).Outcome);
        Assert.Equal(3, await RunsAsync());
    }

    [Fact]
    public async Task A_flood_of_guesses_pushes_out_no_right_password()
    {
        using var small = new PasswordChecks(new AccessMetrics(_registry), slots: 4);
        Assert.Equal(AccessOutcome.Admitted, (await _credentials.CheckAsync(Basic("alice", "correct horse").Item2, small, "one", default)).Outcome);
        for (int i = 0; i < 60; i++) Assert.Equal(AccessOutcome.Wrong, (await _credentials.CheckAsync(Basic("alice", $"guess {i}").Item2, small, "one", default)).Outcome);
        double runs = await RunsAsync();
        Assert.Equal(AccessOutcome.Admitted, (await _credentials.CheckAsync(Basic("alice", "correct horse").Item2, small, "one", default)).Outcome);
        Assert.Equal(runs, await RunsAsync());
    }

    [Fact]
    public async Task What_was_right_is_not_right_for_another_user_or_another_hash()
    {
        Assert.Equal("Admitted", (await JudgeAsync(Basic("alice", "correct horse").Item2)).Outcome);
        Assert.Equal("Wrong", (await JudgeAsync(Basic("pass", "correct horse").Item2)).Outcome);
        var changed = new Credentials([new PasswordUser("alice", Hash("new one"), Right.All)], []);
        Assert.Equal(AccessOutcome.Wrong, (await changed.CheckAsync(Basic("alice", "correct horse").Item2, _passwords, "one", default)).Outcome);
        Assert.Equal(AccessOutcome.Admitted, (await changed.CheckAsync(Basic("alice", "new one").Item2, _passwords, "one", default)).Outcome);
    }

    [Fact]
    public async Task Where_too_many_wait_the_rest_is_told_to_come_again_and_those_who_are_known_are_not_held_up()
    {
        // A cost that takes long enough for all to have asked before the first is done.
        var slow = new Credentials([new PasswordUser("bob", BCrypt.Net.BCrypt.HashPassword("right", 8), Right.All)], []);
        Assert.Equal(AccessOutcome.Admitted, (await slow.CheckAsync(Basic("bob", "right").Item2, _passwords, "one", default)).Outcome);
        var barrier = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        async Task<AccessOutcome> GuessAsync(int i)
        {
            await barrier.Task;
            return (await slow.CheckAsync(Basic("bob", $"guess {i}").Item2, _passwords, $"{i}", default)).Outcome;
        }

        Task<AccessOutcome>[] guesses = [.. Enumerable.Range(0, 200).Select(GuessAsync)];
        barrier.SetResult();
        AccessOutcome first = await await Task.WhenAny(guesses);
        Assert.Contains(first, new[] { AccessOutcome.Busy, AccessOutcome.Wrong });
        Assert.Equal(AccessOutcome.Admitted, (await slow.CheckAsync(Basic("bob", "right").Item2, _passwords, "one", default)).Outcome);
        AccessOutcome[] outcomes = await Task.WhenAll(guesses);
        Assert.True(outcomes.Count(static outcome => outcome == AccessOutcome.Busy) >= 100, string.Join(' ', outcomes));
        Assert.DoesNotContain(AccessOutcome.Admitted, outcomes);

        // Nobody's place in the queue is lost.
        Assert.Equal(AccessOutcome.Wrong, (await slow.CheckAsync(Basic("bob", "later").Item2, _passwords, "one", default)).Outcome);
    }

    [Fact]
    public async Task One_address_cannot_keep_others_from_their_first_login_and_its_own_connections_share_one_check()
    {
        var slow = new Credentials([new PasswordUser("bob", BCrypt.Net.BCrypt.HashPassword("right", 8), Right.All)], []);
        async Task<AccessOutcome> AskAsync(string password, string from) => (await slow.CheckAsync(Basic("bob", password).Item2, _passwords, from, default)).Outcome;

        Task<AccessOutcome>[] guesses = [.. Enumerable.Range(0, 100).Select(i => Task.Run(() => AskAsync($"guess {i}", "stranger")))];
        Task<AccessOutcome>[] logins = [.. Enumerable.Range(0, 100).Select(i => Task.Run(() => AskAsync("right", "sender")))];
        Assert.All(await Task.WhenAll(logins), static outcome => Assert.Equal(AccessOutcome.Admitted, outcome));
        Assert.DoesNotContain(AccessOutcome.Admitted, await Task.WhenAll(guesses));

        // Those of the stranger that were not told to come again, and one for all of the sender.
        int judged = (await Task.WhenAll(guesses)).Count(static outcome => outcome == AccessOutcome.Wrong);
        Assert.Equal(judged + 1, await RunsAsync());
    }

    [Theory]
    [InlineData("192.0.2.7", "::ffff:192.0.2.7")]
    [InlineData("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff")]
    public void Addresses_that_one_sender_may_choose_among_are_one_place(string one, string other) =>
        Assert.Equal(PasswordChecks.PlaceOf(IPAddress.Parse(one)), PasswordChecks.PlaceOf(IPAddress.Parse(other)));

    [Theory]
    [InlineData("192.0.2.7", "192.0.2.8")]
    [InlineData("2001:db8:1:2::1", "2001:db8:1:3::1")]
    public void Addresses_of_two_senders_are_two_places(string one, string other) =>
        Assert.NotEqual(PasswordChecks.PlaceOf(IPAddress.Parse(one)), PasswordChecks.PlaceOf(IPAddress.Parse(other)));

    [Fact]
    public async Task However_many_users_there_are_each_is_remembered()
    {
        string[] names = [.. Enumerable.Range(0, 40).Select(static i => $"user {i}")];
        var many = new Credentials([.. names.Select(static name => new PasswordUser(name, Hash(name), Right.All))], []);
        using var small = new PasswordChecks(new AccessMetrics(_registry), slots: 4);
        for (int round = 0; round < 3; round++)
        {
            foreach (string name in names) Assert.Equal(AccessOutcome.Admitted, (await many.CheckAsync(Basic(name, name).Item2, small, "one", default)).Outcome);
            Assert.Equal(names.Length, await RunsAsync());
        }
    }

    private async Task<(string Outcome, string Rights)> JudgeAsync(string? header)
    {
        (AccessOutcome outcome, Right rights) = await _credentials.CheckAsync(header, _passwords, "one", default);
        return (outcome.ToString(), rights.ToString());
    }

    private async Task<double> RunsAsync()
    {
        using var text = new MemoryStream();
        await _registry.CollectAndExportAsTextAsync(text);
        string line = Encoding.UTF8.GetString(text.ToArray()).Split('\n').Single(static line => line.StartsWith("tsdb_remote_access_passwords_checked_total ", StringComparison.Ordinal));
        return double.Parse(line.Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture);
    }
}
