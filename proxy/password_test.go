package proxy

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
)

// initial is SASLInitialResponse.
func initial(mechanism, data string) []byte { return initialOf(mechanism, int32(len(data)), data) }

// initialOf is the same, with any length announced for the data.
func initialOf(mechanism string, length int32, data string) []byte {
	body := binary.BigEndian.AppendUint32(pgscript.Strings(mechanism), uint32(length))
	return pgscript.Message('p', append(body, data...))
}

// scramTalk is what a client says in a SCRAM login. "NONCE" in final stands for
// the server's.
type scramTalk struct {
	name           string
	initial, final []byte
}

const (
	clientFirst = "n,,n=,r=abcdefghijklmnop"
	someProof   = ",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)

// run plays the talk and returns what the server said in the end.
func (s scramTalk) run(t *testing.T, addr string) *pgproto3.ErrorResponse {
	t.Helper()
	c := reach(t, addr)
	c.send(pgscript.Startup("user", lab.AppUser, "database", lab.AppDatabase))
	if _, ok := c.receive().(*pgproto3.AuthenticationSASL); !ok {
		t.Fatal("no SCRAM")
	}
	c.send(s.initial)
	m := c.receive()
	if first, ok := m.(*pgproto3.AuthenticationSASLContinue); ok && s.final != nil {
		nonce, _, _ := strings.Cut(strings.TrimPrefix(string(first.Data), "r="), ",")
		c.send(bytes.ReplaceAll(s.final, []byte("NONCE"), []byte(nonce)))
		m = c.receive()
	}
	e, ok := m.(*pgproto3.ErrorResponse)
	if !ok {
		t.Fatalf("%T, want an error", m)
	}
	copied := *e
	return &copied
}

// final is SASLResponse; the length of its nonce is that of both servers.
func final(text string) []byte {
	nonce := 16 + base64.StdEncoding.EncodedLen(18)
	body := strings.ReplaceAll(text, "NONCE", strings.Repeat("x", nonce))
	head := pgscript.Message('p', []byte(body))[:5]
	return append(head, text...)
}

// TestPasswordMessagesThatMakeNoSense: what is wrong with them ends a login as
// with PostgreSQL (poolers.md 6.8).
func TestPasswordMessagesThatMakeNoSense(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{users: passThrough(t), proxy: func(set *Settings) { set.AuthMethod = auth.SCRAM }})
	good := initial("SCRAM-SHA-256", clientFirst)
	for _, talk := range []scramTalk{
		{"another mechanism", initial("SCRAM-SHA-1", clientFirst), nil},
		{"no mechanism", pgscript.Message('p', nil), nil},
		{"mechanism only", pgscript.Message('p', pgscript.Strings("SCRAM-SHA-256")), nil},
		{"length too long", initialOf("SCRAM-SHA-256", 100, clientFirst), nil},
		{"length too short", initialOf("SCRAM-SHA-256", 5, clientFirst), nil},
		{"length negative (CVE-2026-6664)", initialOf("SCRAM-SHA-256", -2, clientFirst), nil},
		{"no data, and some", initialOf("SCRAM-SHA-256", -1, clientFirst), nil},
		{"not a password message", pgscript.Query("SELECT 1"), nil},
		{"no header", initial("SCRAM-SHA-256", "n=,r=abc"), nil},
		{"binding without PLUS", initial("SCRAM-SHA-256", "p=tls-server-end-point,,n=,r=abc"), nil},
		{"unknown flag", initial("SCRAM-SHA-256", "x,,n=,r=abc"), nil},
		{"authorization identity", initial("SCRAM-SHA-256", "n,a=postgres,n=,r=abc"), nil},
		{"mandatory extension", initial("SCRAM-SHA-256", "n,,m=x,n=,r=abc"), nil},
		{"no nonce", initial("SCRAM-SHA-256", "n,,n="), nil},
		{"no name", initial("SCRAM-SHA-256", "n,,r=abc"), nil},
		{"unprintable nonce", initial("SCRAM-SHA-256", "n,,n=,r=a\x01b"), nil},
		{"zero byte", initial("SCRAM-SHA-256", "n,,n=,r=a\x00b"), nil},
		{"another nonce", good, final("c=biws,r=NONCf" + someProof)},
		{"another binding", good, final("c=eSws,r=NONCE" + someProof)},
		{"no proof", good, final("c=biws,r=NONCE")},
		{"short proof", good, final("c=biws,r=NONCE,p=AAAA")},
		{"proof that is no base64", good, final("c=biws,r=NONCE,p=!!!!")},
		{"wrong proof", good, final("c=biws,r=NONCE" + someProof)},
		{"flag y, wrong proof", initial("SCRAM-SHA-256", "y,,n=,r=abcdefghijklmnop"), final("c=eSws,r=NONCE" + someProof)}, // in TLS a downgrade
		{"PLUS with n", initial("SCRAM-SHA-256-PLUS", "n,,n=,r=abc"), nil},
		{"PLUS with y", initial("SCRAM-SHA-256-PLUS", "y,,n=,r=abc"), nil},
		{"PLUS of another type", initial("SCRAM-SHA-256-PLUS", "p=tls-unique,,n=,r=abc"), nil},
		{"PLUS bound to nothing", initial("SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abcdefghijklmnop"),
			final("c=cD10bHMtc2VydmVyLWVuZC1wb2ludCws,r=NONCE" + someProof)},
		{"long name", initial("SCRAM-SHA-256", "n,,n="+strings.Repeat("n", 900)+",r=abc,m"), nil},
		{"long mechanism", initial(strings.Repeat("SCRAM-SHA-256", 70), clientFirst), nil},
		{"long extension", initial("SCRAM-SHA-256", "n,,n=,r=abcdefghijklmnop,x="+strings.Repeat("x", 900)), final("c=biws,r=NONCE" + someProof)},
		{"something behind the proof", good, final("c=biws,r=NONCE" + someProof + ",x=y")},
	} {
		t.Run(talk.name, func(t *testing.T) {
			want, got := talk.run(t, pg.Addr), talk.run(t, s.primary)
			if got.Code != want.Code || got.Severity != want.Severity {
				t.Errorf("got %s %s, PostgreSQL says %s %s", got.Code, got.Message, want.Code, want.Message)
			}
		})
	}
	if got := whoami(t, passwordOf(s, lab.AppUser, lab.AppPassword)); got != lab.AppUser {
		t.Errorf("afterwards: %s", got)
	}
}

// TestLongestSASLMessage: it is as long as PostgreSQL's. More is a wrong password to
// that, to pgvip a message that makes no sense; both read none of it.
func TestLongestSASLMessage(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{users: passThrough(t), proxy: func(set *Settings) { set.AuthMethod = auth.SCRAM }})
	const head = clientFirst + ",x="
	const around = len("SCRAM-SHA-256") + 1 + 4 // in front of the data of the first message
	answer := func(addr string, first, second int) string {
		c := reach(t, addr)
		c.send(pgscript.Startup("user", lab.AppUser, "database", lab.AppDatabase))
		c.receive()
		c.send(initial("SCRAM-SHA-256", head+strings.Repeat("x", first-around-len(head))))
		m, said := c.receive(), ""
		if next, ok := m.(*pgproto3.AuthenticationSASLContinue); ok {
			nonce, _, _ := strings.Cut(string(next.Data), ",")
			data := "c=biws," + nonce + ",x="
			c.send(pgscript.Message('p', []byte(data+strings.Repeat("x", second-len(data)-len(someProof))+someProof)))
			m, said = c.receive(), "first taken, "
		}
		e, ok := m.(*pgproto3.ErrorResponse)
		if !ok {
			t.Fatalf("%T, want an error", m)
		}
		said += e.Severity + " " + e.Code
		c.gone()
		return said
	}
	for _, test := range []struct {
		first, second   int
		direct, through string
	}{
		{1020, 1020, "first taken, FATAL 28P01", "first taken, FATAL 28P01"},
		{1020, 1021, "first taken, FATAL 28P01", "first taken, FATAL 08P01"},
		{1021, 0, "FATAL 28P01", "FATAL 08P01"},
		{3000, 0, "FATAL 28P01", "FATAL 08P01"},
	} {
		if got := answer(pg.Addr, test.first, test.second); got != test.direct {
			t.Errorf("PostgreSQL, %d and %d bytes: %s, want %s", test.first, test.second, got, test.direct)
		}
		if got := answer(s.primary, test.first, test.second); got != test.through {
			t.Errorf("%d and %d bytes: %s, want %s", test.first, test.second, got, test.through)
		}
	}
}

// TestPasswordMessageIsBounded: an announced length costs nothing, and no more is
// read than a password may have (CVE-2026-6665).
func TestPasswordMessageIsBounded(t *testing.T) {
	for _, method := range []auth.Method{auth.Password, auth.MD5, auth.SCRAM} {
		s := newSite(t, plan{users: `"app" "x"`, proxy: func(set *Settings) { set.AuthMethod = method }})
		for _, head := range []string{"p\x7f\xff\xff\xff", "p\xff\xff\xff\xff", "p\x00\x00\x00\x03", "p\x00\x01\x00\x05"} {
			c := reach(t, s.primary)
			c.send(pgscript.Startup("user", "app", "database", "app"))
			c.receive()
			c.send([]byte(head))
			if e := c.receive().(*pgproto3.ErrorResponse); e.Code != "08P01" || e.Severity != "FATAL" {
				t.Errorf("%s, %q: %s %s", method, head, e.Code, e.Message)
			}
		}
	}
}

// TestLongAndEmptyPasswords: a password longer than any buffer is read whole, and
// an empty one is refused as PostgreSQL does.
func TestLongAndEmptyPasswords(t *testing.T) {
	pg := postgres(t, 0)
	long := strings.Repeat("p", 60000)
	s := newSite(t, plan{users: `"app_plain" "` + long + `"`, table: table(nil), proxy: func(set *Settings) {
		set.AuthMethod, set.FailoverWaitTimeout = auth.Password, 1
	}})
	answer := func(addr, password string) string {
		c := reach(t, addr)
		c.send(pgscript.Startup("user", lab.PlainUser, "database", lab.AppDatabase))
		c.receive()
		c.send(pgscript.Message('p', pgscript.Strings(password)))
		m := c.receive()
		if e, ok := m.(*pgproto3.ErrorResponse); ok {
			return e.Code + " " + e.Message
		}
		return "in"
	}
	for password, want := range map[string]string{long: "in", long[1:]: `28P01 password authentication failed for user "app_plain"`} {
		if got := answer(s.primary, password); got != want {
			t.Errorf("%d bytes: %s, want %s", len(password), got, want)
		}
	}
	if got, want := answer(s.primary, ""), answer(pg.Addr, ""); got != want {
		t.Errorf("empty password: %s, PostgreSQL says %s", got, want)
	}
}

// transcript gives all bytes of a login that fails, with the nonces taken out.
func transcript(t *testing.T, addr, user string) []byte {
	t.Helper()
	c := reach(t, addr)
	c.send(pgscript.Startup("user", user, "database", "app"))
	var all []byte
	read := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(c.conn, b); err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
		return b
	}
	message := func() []byte { return read(int(binary.BigEndian.Uint32(read(5)[1:])) - 4) }
	switch code := binary.BigEndian.Uint32(message()); code {
	case 10: // SASL
		c.send(initial("SCRAM-SHA-256", clientFirst))
		nonce, _, _ := strings.Cut(string(message()[4:]), ",")
		c.send(pgscript.Message('p', []byte("c=biws,"+nonce+someProof)))
		all = bytes.Replace(all, []byte(nonce), bytes.Repeat([]byte("r"), len(nonce)), 1)
	case 5: // MD5
		clear(all[len(all)-4:])
		c.send(pgscript.Message('p', pgscript.Strings("md5"+strings.Repeat("0", 32))))
	case 3:
		c.send(pgscript.Message('p', pgscript.Strings("wrong")))
	default:
		t.Fatalf("authentication request %d", code)
	}
	message()
	rest, err := io.ReadAll(c.conn)
	if err != nil {
		t.Fatal(err)
	}
	return append(all, rest...)
}

// TestUnknownUserGetsTheSameBytes: whoever is not there is told what others are,
// byte for byte but for the random part and the salt, which is always the same.
func TestUnknownUserGetsTheSameBytes(t *testing.T) {
	verifier := strings.TrimPrefix(passThrough(t), `"app" `)
	for _, test := range []struct {
		name   string
		method auth.Method
		secret string
	}{
		{"scram with a verifier", auth.SCRAM, verifier},
		{"scram with a plain password", auth.SCRAM, `"secret"`},
		{"md5 with a verifier", auth.MD5, verifier},
		{"md5 with a hash", auth.MD5, `"md5` + strings.Repeat("0", 32) + `"`},
		{"password", auth.Password, verifier},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, plan{users: `"known_user" ` + test.secret, proxy: func(set *Settings) { set.AuthMethod = test.method }})
			salt := func(b []byte) string {
				_, salt, _ := bytes.Cut(b, []byte(",s="))
				salt, _, _ = bytes.Cut(salt, []byte(","))
				return string(salt)
			}
			known, unknown := transcript(t, s.primary, "known_user"), transcript(t, s.primary, "other_user")
			if again := transcript(t, s.primary, "other_user"); !bytes.Equal(again, unknown) {
				t.Errorf("twice the same login:\n%q\n%q", unknown, again)
			}
			s.proxy.Apply(*s.proxy.settings.Load())
			if again := transcript(t, s.primary, "other_user"); !bytes.Equal(again, unknown) {
				t.Errorf("after a reload:\n%q\n%q", unknown, again)
			}
			if len(salt(unknown)) != len(salt(known)) || salt(known) != "" && salt(known) == salt(unknown) {
				t.Errorf("salts %q and %q", salt(known), salt(unknown))
			}
			like := bytes.ReplaceAll(unknown, []byte("other_user"), []byte("known_user"))
			if s := salt(unknown); s != "" {
				like = bytes.Replace(like, []byte(s), []byte(salt(known)), 1)
			}
			if !bytes.Equal(like, known) {
				t.Errorf("known   %q\nunknown %q", known, unknown)
			}
		})
	}
}

// TestNodesShareMadeUpSalts: with the same secret they answer alike, so that a
// client that asks two of them learns nothing.
func TestNodesShareMadeUpSalts(t *testing.T) {
	var said [][]byte
	for _, secret := range []string{"shared", "shared", ""} {
		s := newSite(t, plan{users: "; nobody", proxy: func(set *Settings) {
			set.AuthMethod, set.MockSecret, set.SCRAMIterations = auth.SCRAM, []byte(secret), 5000
		}})
		said = append(said, transcript(t, s.primary, "nobody"))
	}
	if !bytes.Equal(said[0], said[1]) || bytes.Equal(said[0], said[2]) {
		t.Errorf("got\n%q\n%q, and without the secret\n%q", said[0], said[1], said[2])
	}
	if !bytes.Contains(said[0], []byte(",i=5000")) {
		t.Errorf("iterations: %q, want 5000", said[0])
	}
}
