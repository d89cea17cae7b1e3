package e2e

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// edges are the edge cases of the protocol by their numbers, and the tests that
// cover them: the folder of a package, and names of its test functions. Those of
// proxy run twice in make test, without TLS and with it; those of the corpus hold
// pgvip to PostgreSQL's bytes in each pool mode.
var edges = map[int]map[string]string{
	// Startup and TLS.
	// Bytes behind a request for encryption: SSL, GSS, without TLS and with it, each beside
	// PostgreSQL; behind a server's answer to ours.
	1: {"proxy": "TestEncryptionRequestsAsDirect TestEncryptionRequests TestEncryptionRequestsAndTLS", "dial": "TestAnswersToSSLRequest"},
	// GSS then SSL, SSL then GSS, one twice, without TLS and with it, and inside it: beside
	// PostgreSQL 15 (over its Unix socket, as over TCP Debian's can do GSSAPI) and 18.
	2: {"proxy": "TestEncryptionRequestsAsDirect TestEncryptionRequests TestEncryptionRequestsAndTLS"},
	// With ALPN, without, with another protocol; requests inside, where PostgreSQL 18 answers
	// N and pgvip refuses; no TLS at all.
	3: {"proxy": "TestDirectTLS TestDirectTLSWhereThereIsNone TestEncryptionRequestsAsDirect"},
	// Versions 3.0 to 3.9999 and extensions: the bytes PostgreSQL 18 gave, written down; other
	// majors; once, in front of a password, with a lookup, the console and replication too,
	// beside PostgreSQL 18.
	4: {"proxy": "TestProtocolVersions TestOtherMajorVersions TestNegotiationWithPassword TestNegotiationComesOnce TestNegotiationOfReplication", "wire": "TestNegotiate"},
	// Lengths of our keys by version; servers with keys of 4, 256 and no bytes; our keys at
	// work, those of 32 bytes on PostgreSQL 18.
	5: {"proxy": "TestProtocolVersions TestServersWithLongKeysOrNone TestCancelWithWrongKey TestCancelOnPostgreSQL18", "dial": "TestLoginWithoutBackendKey"},
	// Odd packets beside PostgreSQL; byte by byte, requests for encryption too; what PostgreSQL
	// closes for without a word; the console's database.
	6: {"proxy": "TestStartupPacketsAsDirect TestStartupBytewise TestEncryptionRequestsBytewise TestHostileStartup TestOperatorsAreHandedOver",
		"wire": "TestStartupLengthBounds TestParseStartupRefuses TestParseStartupDatabaseDefaultsToUser"},
	// Escapes, unknown switches, huge ones, all beside PostgreSQL; then through RESET.
	7: {"proxy": "TestOptionsAsDirect TestParametersAsDirect TestServersRefusalVerbatim", "wire": "TestParseOptions TestParseOptionsRefusesSettingWithoutValue"},
	// Attributes bad, long or missing, messages of the greatest length and beyond, and flags
	// with and without PLUS, beside PostgreSQL, which takes repeated ones (auth); lengths
	// announced; long and empty passwords; unknown users: the same steps and bytes. The same
	// time was measured, which no test does: it would depend on the machine.
	8: {"proxy": "TestPasswordMessagesThatMakeNoSense TestLongestSASLMessage TestPasswordMessageIsBounded TestLongAndEmptyPasswords TestUnknownUserTakesTheSameSteps TestUnknownUserGetsTheSameBytes",
		"auth": "TestServerRefusesClientFirst TestServerRefusesClientFinal TestServerRefusesBindingFlags TestUnknownUserLooksLikeOthers TestWarm"},
	// Close, RST, an end after SSLRequest; both around a handshake; behind a load balancer;
	// pg_isready and HAProxy's pgsql-check.
	9: {"proxy": "TestLoginFailuresThatAreNone TestPortChecksInTLS TestProxyPortCheck TestPgIsReady TestHAProxyCheck"},
	// Servers of a pool at a stop, by age and idleness, and those of auth_query, in TLS;
	// connections of dial.
	10: {"proxy": "TestServersEndProperly TestServersEndProperlyForEachReason", "dial": "TestTLS"},
	// search_path in both places; a password that has run out, or will, by the default query.
	11: {"proxy": "TestAuthQueryIsNeutral TestAuthQueryRefusals", "internal/e2e": "TestDefaultAuthQuery"},
	// Cancel requests.
	// An idle client, in a transaction too; one that waits for a server or for a primary; in
	// statement mode; an operator whose PAUSE waits.
	12: {"console": "TestPauseWaits TestCancelNeedsTheKey TestCancelWithoutWaitingChangesNothing", "proxy": "TestCancelNothing TestCancelWaiting TestCancelInStatementMode TestOperatorsAreHandedOver", "internal/e2e": "TestCancelWhileQueued TestCancelOfAnIdleClientDoesNothing"},
	// A request is under way when its query ends (by itself, by the request; delivery not
	// yet certain): the server waits; then many of them at random.
	13: {"proxy": "TestCancelMeetsTheEnd TestServerWaitsForItsCancel TestSecondCancel TestCancelStorm", "pool": "TestResetWaitsForCancel TestCancelOfUnknownFate"},
	// During a check, parameters, cleaning; more requests than servers; a postmaster that
	// has stopped, one that takes no connection, a server that says nothing.
	14: {"proxy": "TestCancelWhileChecking TestCancelWhileSetting TestCancelWhileCleaning TestCancelWhilePreparing TestCancelStampede TestCancelBurst TestCancelWithoutPostmaster TestCancelRefused TestCancelOfServerThatIsDown", "pool": "TestCancelBehindRefusedParameters"},
	// Session, request and server in plain and in TLS, each with each; servers in direct TLS.
	15: {"proxy": "TestCancelTransport TestCancelInTLSAndPlain TestCancelOnPostgreSQL18", "dial": "TestTLS"},
	// Extended protocol and pipelines.
	// TestBatchesAsDirect: steps of 17 to 23 and 25 beside PostgreSQL in session and transaction mode, another client on the one
	// server between them. Flush and what is then answered, alone, before an error, with suspended portals (corpus
	// extended-flush* too); answers made up on a Flush; a server stays through a batch.
	17: {"proxy": "TestBatchesAsDirect TestTransactionModePipelines TestAnswersWithoutTheServer", "internal/e2e": "TestCorpusThroughPrimaryPort TestCorpusInTLS"},
	// Errors in the middle of batches in front of Parse and Close that are made up; a Parse that fails is forgotten, one that
	// was put out comes back: beside PostgreSQL at random, then by hand (statement), and the queue (wire).
	18: {"proxy": "TestBatchesAsDirect TestSharedStatementsAnswerAsPostgreSQL TestEvictedStatementComesBack", "wire": "TestSyntheticRepliesAfterAnErrorAreSkipped",
		"statement": "TestFailedBatchChangesNothing TestAnswersArePostgreSQLs TestKnownStatementAfterAPipelinedError"},
	// 10,000 batches unread; batches, errors and blocks of many clients on one server; more that comes between the answers
	// (corpus pipeline-*).
	19: {"proxy": "TestBatchesAsDirect TestPipeline TestTransactionModePipelines", "internal/e2e": "TestCorpusThroughPrimaryPort"},
	// Parse, Close, Parse in one batch and DEALLOCATE ALL in front of a Parse (corpus pipeline-*, both again with shared
	// servers); a Parse answered here as the first.
	20: {"proxy": "TestBatchesAsDirect TestDeallocate TestAnswersWithoutTheServer", "statement": "TestDeallocateAllSparesWhatComesBehind", "internal/e2e": "TestCorpusThroughPrimaryPort"},
	// 42P05, 26000 of Bind and Describe, the session goes on; the unnamed statement over transactions, and of no other client.
	21: {"proxy": "TestBatchesAsDirect TestDuplicateAndUnknownNames TestUnnamedStatementIsTheClientsOwn"},
	// Describe on another server; of a portal after a type has changed; the order of t, T, n with answers made up, beside
	// PostgreSQL at random.
	22: {"proxy": "TestBatchesAsDirect TestStatementIsParsedWhereItIsMissing TestChangedResultType TestSharedStatementsAnswerAsPostgreSQL"},
	// Row limits, suspended and resumed, closed, lost at a Sync and kept in a block (corpus extended-row-limit*, -portal-*).
	23: {"proxy": "TestBatchesAsDirect", "internal/e2e": "TestCorpusThroughPrimaryPort TestCorpusInTLS"},
	// Long names, names with quotes and UTF-8, no text, 65,535 parameters, on a server that knows them and one that does not; 16 MB
	// in a Bind, 64 MB streamed with memory measured; make large: the largest that PostgreSQL takes (MaxAllocSize - 1 with its
	// length), and one byte more, which it refuses.
	24: {"proxy": "TestLargeStatements TestOddStatements", "wire": "TestFramerStreamsWhatIsLargerThanHoldMax", "statement": "TestBindIsRewrittenInItsHeadOnly",
		"internal/e2e": "TestLargeBind TestCorpusThroughPrimaryPort"},
	// A Query inside a batch, before and after an error (corpus extended-query-*); function calls as drivers make them.
	25: {"proxy": "TestBatchesAsDirect TestLargeObjects", "internal/e2e": "TestCorpusThroughPrimaryPort"},
	// Several statements with BEGIN, COMMIT and errors among them, words that only look like it, in both modes; statement mode.
	26: {"proxy": "TestTransactionBlocksAsDirect TestStatementMode", "internal/e2e": "TestCorpusThroughPrimaryPort TestRandomConversations"},
	// A server that does not read, a client that does not, one that sends for ever: memory measured; the loop by itself.
	27: {"proxy": "TestServerThatDoesNotRead TestSlowReader", "loop": "TestRelayIsBounded TestTLSBackPressure"},
	// FIN behind one, two, half a message, a batch, without a Sync, in a COPY, idle, in both modes (corpus ending-by-half-close*
	// too); FIN behind more than is taken at once.
	28: {"proxy": "TestHalfClose TestLastRequestsOfAFastWriter", "loop": "TestTLSHalfClose", "internal/e2e": "TestCorpusThroughPrimaryPort TestCorpusInTLS"},
	// COPY and replication.
	// Each end of a COPY by each protocol, in a block and not, with one server, in both modes; Syncs in front of the data and
	// inside; 20 and 50 MB. PostgreSQL answers a Sync that was sent before an error of the COPY was known, or has ignored it: a
	// statement of ours behind it tells, so the server is kept in each case.
	29: {"proxy": "TestCopyAsDirect TestCopy TestSyncsInsideCopy", "wire": "TestRepliesSettleWhenEverythingWasAnswered TestSyncDuringCopySentLater", "internal/e2e": "TestCorpusThroughPrimaryPort TestCopyFiftyMegabytes"},
	// CopyData, CopyDone and Flush between transactions, small and large.
	30: {"proxy": "TestBetweenTransactions", "wire": "TestLateCopyEndAfterTheErrorIsForgotten"},
	// RST and FIN in a result without end, of COPY too, and in a row of 50 MB, with one server in the pool: it is used again.
	31: {"proxy": "TestVanishing TestLeavingInATransaction TestLeavesInsideCopy TestLeftoversOfTheVanished"},
	// Commands, streams and their ends, and PostgreSQL's own tools, on both ports.
	32: {"proxy": "TestReplicationCommands TestReplicationStreams TestReplicationEnds TestBaseBackup TestReceiveWAL TestReceiveLogical TestSubscription"},
	// Transactions and the life of a server.
	// Terminate and RST in an open and a failed block, in a query, in a row, with unread replies: isolation level, settings and
	// time zone of the next client, and the same server, in both modes; what was sent before Terminate is carried out; what a
	// session leaves (tables, names, settings, locks), for Terminate in session mode, for RST and FIN in both, in each state.
	33: {"proxy": "TestLeftoversOfTheVanished TestLeavingInATransaction TestVanishing TestLeavingClients TestResetBetweenSessions"},
	// AND CHAIN, SAVEPOINT, failed COMMIT, two phases: status and who has the server, in both modes.
	34: {"proxy": "TestTransactionBlocksAsDirect", "internal/e2e": "TestCorpusThroughPrimaryPort TestCorpusInTLS TestRandomConversations"},
	// BEGIN in Query and Parse, behind others, in pieces: 25001, and the server is in no block.
	35: {"proxy": "TestStatementMode"},
	// Told in a block, after ROLLBACK, SET LOCAL, RESET ALL, DISCARD ALL, of a client with startup parameters and one without:
	// beside PostgreSQL in session and pinned transaction mode; with another client between, in transaction mode, quotes,
	// backslashes, long and empty values and encodings; a reported value of 88 KB (PostgreSQL 18).
	37: {"proxy": "TestParametersAsDirect TestOddValuesFollowTheClient TestParametersFollowTheClient TestVanishingBehindParameters TestLongParameter", "internal/e2e": "TestCorpusThroughPrimaryPort"},
	// A client that listens keeps its server and hears; after it nobody listens. LISTEN inside a DO, which is not seen: what is
	// notified while the server is idle, or another client's, is nobody's, and the server goes.
	38: {"proxy": "TestListenThatNobodySaw TestSessionStateIsPinned TestResetBetweenSessions"},
	// Notice and ParameterStatus on an idle server: nobody's, noted, used on (pool; PostgreSQL itself sends them with the next
	// answer only); a reload that changes a reported value (PostgreSQL); an error or FATAL there ends the server.
	39: {"pool": "TestUnaskedWhileIdle TestErrorWhileIdle TestWordsBehindReadyForQuery", "proxy": "TestReloadedParameter"},
	// 57P01 of an idle server before it is lent, and 57P01, 57P05, 25P03 of one that is, verbatim; a crash.
	40: {"proxy": "TestServerKilledWhileIdle TestBackendKilled TestCrash", "pool": "TestFatalWhileIdle"},
	// A reset that fails or hangs, a check and a connect_query that hang, in both modes: bounded, cancelled; RELOAD, PAUSE,
	// RECONNECT, a stop and a change of the primary while a reset or a check is under way; servers that end in a reset.
	42: {"proxy": "TestResetThatHangs TestStopEndsAResetThatHangs TestResetThatFails TestCheckThatHangs TestConnectQueryThatHangs TestResetInFlight TestCheckInFlight TestPauseWaitsForAReset TestServerEndsWhileResetting", "pool": "TestPause TestPauseDuringLogin"},
	// server_lifetime, server_idle_timeout (in a transaction, in both modes) and a smaller pool under a client; query_timeout
	// without a query: idle, in a block, in a batch, and less than a pipeline takes.
	43: {"proxy": "TestServerLimits TestQueryTimeoutOfNoQuery", "pool": "TestSmallerPool"},
	// Whatever comes in.
	// Lengths (0, 3, one too many, 2^31-1, negative) by type and their cost; unknown types;
	// what is wrong inside; errors without SQLSTATE, to which a login's gets one.
	45: {"proxy": "TestErrorsWithoutSQLSTATE TestImpossibleLengths TestAnnouncedLengthsCostNothing TestMalformedMessagesAsDirect TestHostileClient TestHostileServer TestHostileStartup", "wire": "TestFramerRefusesImpossibleLengths TestParseErrorTakesWhatIsThere", "pool": "TestRefusal",
		"dial": "TestQueryTakesBareError"},
	// Cut at every byte in session and transaction mode, plain; byte by byte, in TLS too (short ones); coalesced.
	46: {"internal/e2e": "TestCorpusSplitAtEveryByte TestCorpusByteByByte TestCorpusThroughPrimaryPort TestCorpusInTLS"},
	// A result of 20 MB and one of 100 MB that nobody reads, others beside it, memory, and then all of it; client_write_timeout:
	// who takes nothing is ended, counted, its server lent on in both modes; who is slow is not. make large: 1 GB.
	47: {"proxy": "TestSlowReader TestClientWriteTimeout TestClientWriteTimeoutOfASlowReader", "internal/e2e": "TestSlowReaderStallsNobody"},
	// No descriptor left: who comes is told so, who is there goes on, one line in the log each time; next to no CPU time, whether
	// anybody comes or not; no node is blamed for servers that cannot be connected to.
	48: {"proxy": "TestNoDescriptorLeft TestNothingSpinsWithoutDescriptors", "pool": "TestOwnTroubleIsNotTheNodes"},
	// A wall clock that is set: timers, and that nothing in the source strips a time of its monotonic reading (the folder of the
	// module). An idle loop sleeps and holds no buffer; that 10,000 idle clients take no CPU time and little memory is measured by
	// pgvip-bench -gates idle. Keys are kept; 1,000 logins a second are not measured here.
	49: {".": "TestNoDeadlineByTheWallClock", "loop": "TestTimersIgnoreTheWallClock TestIdleLoopSleeps TestIdleConnectionHoldsNoBuffer TestNothingSpins", "auth": "TestKeyCacheRemembers", "proxy": "TestServerAtFirstQuery"},
}

// elsewhere are the cases that other parts of pgvip answer for: cancel requests
// at another node, a BEGIN that is put off, retries, the console's PAUSE, and
// failover.
var elsewhere = []int{16, 36, 41, 44, 50}

const lastEdge = 50

// TestEdgesAreTested: each edge case has tests, and they are there.
func TestEdgesAreTested(t *testing.T) {
	there := make(map[string][]string)
	for n := 1; n <= lastEdge; n++ {
		if len(edges[n]) == 0 && !slices.Contains(elsewhere, n) {
			t.Errorf("case %d has no test", n)
		}
		for folder, names := range edges[n] {
			if there[folder] == nil {
				there[folder] = testsIn(t, folder)
			}
			for name := range strings.FieldsSeq(names) {
				if !slices.Contains(there[folder], name) {
					t.Errorf("case %d: %s has no %s", n, folder, name)
				}
			}
		}
	}
	for n := range edges {
		if n < 1 || n > lastEdge || slices.Contains(elsewhere, n) {
			t.Errorf("case %d does not belong here", n)
		}
	}
}

// testsIn are the names of the test functions in a folder of the repository.
func testsIn(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", folder, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d test files, %v", folder, len(files), err)
	}
	var names []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}
