package auth

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseUserList(t *testing.T) {
	text := "\ufeff; users\n\n" +
		`"alice" "pencil"` + "\r\n" +
		`  "bob"	"md5` + strings.Repeat("0", 32) + `" ; trailing words are ignored` + "\n" +
		`"carol" "` + goodVerifier + "\"\n" +
		`"da""ve" "say ""hi"""` + "\n" +
		`"erin" ""` + "\n" +
		`"alice" "pencil"` + "\n" +
		`"frank" "no newline"`
	list, err := ParseUserList([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Secret{
		"alice": mustSecret(t, "pencil"),
		"bob":   mustSecret(t, "md5"+strings.Repeat("0", 32)),
		"carol": mustSecret(t, goodVerifier),
		`da"ve`: mustSecret(t, `say "hi"`),
		"erin":  {},
		"frank": mustSecret(t, "no newline"),
	}
	if list.Len() != len(want) {
		t.Errorf("Len() = %d, want %d", list.Len(), len(want))
	}
	for user, secret := range want {
		if got, ok := list.Lookup(user); !ok || !got.equal(secret) {
			t.Errorf("Lookup(%q): found %v, kind %v, want the secret of kind %v", user, ok, got.Kind(), secret.Kind())
		}
	}
	if _, ok := list.Lookup("nobody"); ok {
		t.Error(`Lookup("nobody") found somebody`)
	}
}

// All faults at once, each with its line, none with a secret.
func TestParseUserListReportsEveryFault(t *testing.T) {
	lines := []string{
		`"good" "hunter2"`,
		`# no comment in this format`,
		`alice "hunter2"`,
		`"alice`,
		`"alice"`,
		`"alice" hunter2`,
		`"alice" "hunter2`,
		`"alice""hunter2"`,
		`"" "hunter2"`,
		`"a` + "\x00" + `" "hunter2"`,
		`"carol" "SCRAM-SHA-256$hunter2"`,
		`"good" "hunter3"`,
		`"alice" "hun` + "\x00" + `ter2"`,
	}
	list, err := ParseUserList([]byte(strings.Join(lines, "\n")))
	if list != nil || err == nil {
		t.Fatalf("ParseUserList = %v, %v, want faults and no list", list, err)
	}
	faults := strings.Split(err.Error(), "\n")
	if len(faults) != len(lines)-1 {
		t.Fatalf("%d faults, want %d:\n%v", len(faults), len(lines)-1, err)
	}
	for i, fault := range faults {
		if !strings.HasPrefix(fault, fmt.Sprintf("line %d: ", i+2)) {
			t.Errorf("fault %d is %q, want line %d", i, fault, i+2)
		}
		if strings.Contains(fault, "hun") {
			t.Errorf("fault shows a secret: %q", fault)
		}
	}
}

func FuzzParseUserList(f *testing.F) {
	f.Add([]byte("\"alice\" \"pencil\"\n; x\n\"a\"\"b\" \"c\"\"\" rest\r\n"))
	f.Add([]byte("\"alice\"\"pencil\""))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := ParseUserList(text)
		if err != nil {
			return
		}
		var b strings.Builder
		quote := strings.NewReplacer(`"`, `""`)
		for user, entry := range list.users {
			secret := entry.secret.text
			if entry.secret.kind == SCRAMSecret {
				secret = entry.secret.verifier.Encode()
			}
			fmt.Fprintf(&b, "\"%s\" \"%s\"\n", quote.Replace(user), quote.Replace(secret))
		}
		again, err := ParseUserList([]byte(b.String()))
		if err != nil || again.Len() != list.Len() {
			t.Fatalf("written again as %q: %v, %v", b.String(), again, err)
		}
		for user, entry := range list.users {
			if got, ok := again.Lookup(user); !ok || !got.equal(entry.secret) {
				t.Fatalf("user %q is lost or changed when written again", user)
			}
		}
	})
}
