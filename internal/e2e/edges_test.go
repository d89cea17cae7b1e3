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
	// Bytes behind a request for encryption: SSL, GSS, without TLS (the first test) and with
	// it; behind a server's answer to ours.
	1: {"proxy": "TestEncryptionRequests TestEncryptionRequestsAndTLS", "dial": "TestAnswersToSSLRequest"},
	// GSS then SSL, SSL then GSS, one twice, without TLS and with it, and inside it.
	2: {"proxy": "TestEncryptionRequests TestEncryptionRequestsAndTLS"},
	// With ALPN, without, with another protocol; requests inside; no TLS at all.
	3: {"proxy": "TestDirectTLS TestDirectTLSWhereThereIsNone"},
	// Versions 3.0 to 3.9999 and extensions: the bytes PostgreSQL 18 gave, written down; other
	// majors; once, in front of a password, with a lookup and the console too, beside PostgreSQL 18.
	4: {"proxy": "TestProtocolVersions TestOtherMajorVersions TestNegotiationWithPassword TestNegotiationComesOnce", "wire": "TestNegotiate"},
	// Lengths of our keys by version; servers with keys of 4, 256 and no bytes; our keys at work.
	5: {"proxy": "TestProtocolVersions TestServersWithLongKeysOrNone TestCancelWithWrongKey", "dial": "TestLoginWithoutBackendKey"},
	// Odd packets beside PostgreSQL; byte by byte; what PostgreSQL closes for without a word;
	// the console's database.
	6: {"proxy": "TestStartupPacketsAsDirect TestStartupBytewise TestHostileStartup TestOperatorsAreHandedOver",
		"wire": "TestStartupLengthBounds TestParseStartupRefuses TestParseStartupDatabaseDefaultsToUser"},
	// Escapes, unknown switches, huge ones, all beside PostgreSQL; then through RESET.
	7: {"proxy": "TestOptionsAsDirect TestParametersAsDirect TestServersRefusalVerbatim", "wire": "TestParseOptions TestParseOptionsRefusesSettingWithoutValue"},
	// Attributes bad, long or missing, and flags with and without PLUS, beside PostgreSQL, which
	// takes repeated ones (auth); lengths announced; long and empty passwords; unknown users: the
	// same steps and bytes. That they take the same time is not measured.
	8: {"proxy": "TestPasswordMessagesThatMakeNoSense TestPasswordMessageIsBounded TestLongAndEmptyPasswords TestUnknownUserTakesTheSameSteps TestUnknownUserGetsTheSameBytes",
		"auth": "TestServerRefusesClientFirst TestServerRefusesClientFinal TestServerRefusesBindingFlags TestUnknownUserLooksLikeOthers TestWarm"},
	// Close, RST, an end after SSLRequest; both around a handshake; behind a load balancer.
	9: {"proxy": "TestLoginFailuresThatAreNone TestPortChecksInTLS TestProxyPortCheck"},
	// Servers of a pool at a stop, in TLS; connections of dial.
	10: {"proxy": "TestServersEndProperly", "dial": "TestTLS"},
	// search_path in both places; a password that has run out.
	11: {"proxy": "TestAuthQueryIsNeutral TestAuthQueryRefusals"},
	// Cancel requests.
	// An idle client, in a transaction too; one that waits for a server or for a primary;
	// an operator whose PAUSE waits.
	12: {"console": "TestPauseWaits TestCancelNeedsTheKey TestCancelWithoutWaitingChangesNothing", "proxy": "TestCancelNothing TestCancelWaiting TestOperatorsAreHandedOver", "internal/e2e": "TestCancelWhileQueued TestCancelOfAnIdleClientDoesNothing"},
	// A request is under way when its query ends (by itself, by the request; delivery not
	// yet certain): the server waits; then many of them at random.
	13: {"proxy": "TestCancelMeetsTheEnd TestServerWaitsForItsCancel TestSecondCancel TestCancelStorm", "pool": "TestResetWaitsForCancel TestCancelOfUnknownFate"},
	// During a check, parameters, cleaning; more requests than servers; a postmaster that
	// has stopped, a server that says nothing.
	14: {"proxy": "TestCancelWhileChecking TestCancelWhileSetting TestCancelWhileCleaning TestCancelWhilePreparing TestCancelStampede TestCancelBurst TestCancelWithoutPostmaster TestCancelOfServerThatIsDown", "pool": "TestCancelBehindRefusedParameters"},
	// Session, request and server in plain and in TLS, each with each.
	15: {"proxy": "TestCancelTransport TestCancelInTLSAndPlain", "dial": "TestTLS"},
	// Extended protocol and pipelines.
	17: {"proxy": "TestTransactionModePipelines TestAnswersWithoutTheServer", "internal/e2e": "TestCorpusThroughPrimaryPort"},
	18: {"proxy": "TestSharedStatementsAnswerAsPostgreSQL", "wire": "TestSyntheticRepliesAfterAnErrorAreSkipped",
		"statement": "TestFailedBatchChangesNothing TestAnswersArePostgreSQLs TestKnownStatementAfterAPipelinedError"},
	19: {"proxy": "TestPipeline TestTransactionModePipelines", "internal/e2e": "TestCorpusThroughPrimaryPort"},
	20: {"proxy": "TestDeallocate TestAnswersWithoutTheServer", "statement": "TestDeallocateAllSparesWhatComesBehind", "internal/e2e": "TestCorpusThroughPrimaryPort"},
	21: {"proxy": "TestDuplicateAndUnknownNames TestUnnamedStatementIsTheClientsOwn"},
	22: {"proxy": "TestStatementIsParsedWhereItIsMissing TestChangedResultType TestSharedStatementsAnswerAsPostgreSQL"},
	23: {"internal/e2e": "TestCorpusThroughPrimaryPort TestCorpusInTLS"},
	24: {"proxy": "TestLargeStatements", "wire": "TestFramerStreamsWhatIsLargerThanHoldMax", "statement": "TestBindIsRewrittenInItsHeadOnly",
		"internal/e2e": "TestCorpusThroughPrimaryPort"},
	25: {"proxy": "TestLargeObjects", "internal/e2e": "TestCorpusThroughPrimaryPort"},
	26: {"proxy": "TestTransactionBlocksAsDirect TestStatementMode", "internal/e2e": "TestCorpusThroughPrimaryPort TestRandomConversations"},
	27: {"proxy": "TestServerThatDoesNotRead TestSlowReader", "loop": "TestRelayIsBounded TestTLSBackPressure"},
	28: {"proxy": "TestHalfClose TestLastRequestsOfAFastWriter", "loop": "TestTLSHalfClose"},
	// COPY and replication.
	29: {"proxy": "TestCopyAsDirect TestCopy", "wire": "TestRepliesSettleWhenEverythingWasAnswered TestSyncDuringCopySentLater", "internal/e2e": "TestCorpusThroughPrimaryPort TestCopyFiftyMegabytes"},
	30: {"proxy": "TestBetweenTransactions", "wire": "TestLateCopyEndAfterTheErrorIsForgotten"},
	31: {"proxy": "TestVanishing"},
	32: {"proxy": "TestReplicationCommands TestReplicationStreams TestReplicationEnds TestBaseBackup TestReceiveWAL TestReceiveLogical TestSubscription"},
	// Transactions and the life of a server.
	33: {"proxy": "TestVanishing TestLeavingClients TestResetBetweenSessions"},
	34: {"proxy": "TestTransactionBlocksAsDirect", "internal/e2e": "TestCorpusThroughPrimaryPort TestCorpusInTLS TestRandomConversations"},
	35: {"proxy": "TestStatementMode"},
	37: {"proxy": "TestParametersAsDirect TestParametersFollowTheClient TestLongParameter", "internal/e2e": "TestCorpusThroughPrimaryPort"},
	38: {"proxy": "TestSessionStateIsPinned TestResetBetweenSessions"},
	39: {"pool": "TestErrorWhileIdle TestWordsBehindReadyForQuery"},
	40: {"proxy": "TestServerKilledWhileIdle TestBackendKilled TestCrash", "pool": "TestFatalWhileIdle"},
	42: {"proxy": "TestServerEndsWhileResetting", "pool": "TestPause TestPauseDuringLogin"},
	43: {"proxy": "TestServerLimits TestQueryTimeoutOfNoQuery", "pool": "TestSmallerPool"},
	// Whatever comes in.
	// Lengths (0, 3, one too many, 2^31-1, negative) by type and their cost; unknown types;
	// what is wrong inside; errors without SQLSTATE.
	45: {"proxy": "TestErrorsWithoutSQLSTATE TestImpossibleLengths TestAnnouncedLengthsCostNothing TestMalformedMessagesAsDirect TestHostileClient TestHostileServer TestHostileStartup", "wire": "TestFramerRefusesImpossibleLengths TestParseErrorTakesWhatIsThere",
		"dial": "TestQueryTakesBareError"},
	46: {"internal/e2e": "TestCorpusSplitAtEveryByte TestCorpusByteByByte"},
	47: {"proxy": "TestSlowReader", "internal/e2e": "TestSlowReaderStallsNobody"},
	48: {"proxy": "TestNoDescriptorLeft"},
	49: {"loop": "TestIdleLoopSleeps TestIdleConnectionHoldsNoBuffer TestNothingSpins", "auth": "TestKeyCacheRemembers", "proxy": "TestServerAtFirstQuery"},
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
