package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/config"
)

// beside writes files next to a configuration.
func beside(t *testing.T, config string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(filepath.Dir(config), name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const withHBA = good + "auth_type: hba\nauth_hba_file: hba\nauth_ident_file: ident\n"

func TestCheckReadsTheHBAFileAndItsMaps(t *testing.T) {
	path := writeConfig(t, withHBA)
	dir := filepath.Dir(path)
	for _, tt := range []struct {
		name, hba, ident string
		want             []string // in stderr; none for a good configuration
	}{
		{"good", "local all all peer map=os\nhost all @users all reject", "os root app", nil},
		{"broken rules", "local all all ldap\nhost all all all\n", "", []string{
			dir + `/hba: line 1: method "ldap": pgvip does not support it`, dir + "/hba: line 2: method: is missing"}},
		{"broken map", "local all all peer", "os root", []string{dir + "/ident: line 1: has 2 words"}},
		{"map that is not there", "local all all peer map=os", "cn root app", []string{
			dir + `/hba: line 1: option map: auth_ident_file has no map "os"`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			beside(t, path, map[string]string{"hba": tt.hba, "ident": tt.ident, "users": "app"})
			code, _, stderr := runLine("check", "-c", path)
			if (code == codeFine) != (tt.want == nil) || strings.Count(stderr, "\n") != len(tt.want) {
				t.Errorf("check = %d with %q", code, stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("check printed %q, want it to hold %q", stderr, want)
				}
			}
		})
	}
	if err := os.Remove(filepath.Join(dir, "hba")); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runLine("check", "-c", path); code != codeUsage || !strings.Contains(stderr, "auth_hba_file: open ") {
		t.Errorf("check without the file = %d with %q, want %d and auth_hba_file named", code, stderr, codeUsage)
	}
}

// All faults of all files come at once.
func TestReloadReadsTheHBAFile(t *testing.T) {
	path := writeConfig(t, withHBA)
	beside(t, path, map[string]string{"hba": "local all all trust", "ident": "", "users.txt": `"app" ""`})
	in, err := readInputs(path)
	if err != nil || in.hba.Len() != 1 || proxySettings(in).HBA != in.hba {
		t.Fatalf("readInputs = %+v, %v, want one rule", in, err)
	}
	beside(t, path, map[string]string{"hba": "local all all", "users.txt": "app"})
	if _, err := readInputs(path); len(each(err)) != 2 {
		t.Errorf("readInputs: %v, want a fault of each file", err)
	}
}

func TestAuthMethods(t *testing.T) {
	for configured, want := range map[config.AuthType]auth.Method{
		config.AuthTrust: auth.Trust, config.AuthPlain: auth.Password, config.AuthMD5: auth.MD5, config.AuthSCRAM: auth.SCRAM,
		config.AuthAny: auth.Any, config.AuthCert: auth.Cert, config.AuthPeer: auth.Peer, config.AuthHBA: 0,
	} {
		if got := authMethod(configured); got != want {
			t.Errorf("%s means %v, want %v", configured, got, want)
		}
	}
}

func TestServersOfADatabaseWithAUser(t *testing.T) {
	path := writeConfig(t, good+`
databases:
  listed: {user: app}
  told: {user: app, password: word}
  verifier: {user: carol}
`)
	beside(t, path, map[string]string{"users.txt": `"app" "secret"` + "\n" +
		`"carol" "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="` + "\n"})
	in, err := readInputs(path)
	if err != nil {
		t.Fatal(err)
	}
	user, rules := proxySettings(in).ServerUser, poolSettings(in).RulesFor
	for _, tt := range []struct{ database, user, password string }{
		{"listed", "app", "secret"}, {"told", "app", "word"}, {"verifier", "carol", ""}, {"other", "", ""},
	} {
		if got := user(tt.database); got != tt.user {
			t.Errorf("%s: user %q, want %q", tt.database, got, tt.user)
		}
		if got := rules(tt.database, tt.user).Credential; got.Password != tt.password || got.Verifier != (tt.user == "carol") {
			t.Errorf("%s: the credential is not that of %q", tt.database, tt.user)
		}
	}
	if rules("listed", "app_other").Credential.Opens() {
		t.Error("another user's pool got the secret of the database's user")
	}
}

func TestWhoIsLookedUpWhere(t *testing.T) {
	path := writeConfig(t, good+`
auth_user: looker
auth_user_password: word
auth_query: SELECT 1
databases:
  own: {auth_user: app, auth_query: SELECT 2, auth_dbname: users}
  stranger: {auth_user: stranger}
`)
	in, err := readInputs(path)
	if err != nil {
		t.Fatal(err)
	}
	lookUp := proxySettings(in).AuthQuery
	for _, tt := range []struct{ database, user, password, sql, in string }{
		{"shop", "looker", "word", "SELECT 1", "shop"},
		{"own", "app", "secret", "SELECT 2", "users"},
		{"stranger", "stranger", "", "SELECT 1", "stranger"},
		{"pgbouncer", "", "", "", ""},
	} {
		got := lookUp(tt.database)
		if got.User != tt.user || got.Credential.Password != tt.password || got.SQL != tt.sql || got.Database != tt.in {
			t.Errorf("%s: as %q, %q in %q, want %+v", tt.database, got.User, got.SQL, got.Database, tt)
		}
	}
	in.config.AuthDBName = "users"
	if got := lookUp("pgbouncer").Database; got != "users" {
		t.Errorf("operators are looked up in %q, want auth_dbname", got)
	}
	in.config.AuthUser = ""
	if got := lookUp("shop"); got.User != "" {
		t.Errorf("without auth_user: as %q", got.User)
	}
}
