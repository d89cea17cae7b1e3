package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	p := Probe{User: "pgvip", Password: NewSecret("hunter2")}
	asJSON, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string]string{"JSON": string(asJSON), "YAML": string(asYAML)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		forms[verb] = fmt.Sprintf(verb, p)
		forms["pointer "+verb] = fmt.Sprintf(verb, &p)
		forms["alone "+verb] = fmt.Sprintf(verb, p.Password)
	}
	for form, text := range forms {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "68756e74657232") {
			t.Errorf("%s shows the secret: %s", form, text)
		}
		if !strings.Contains(text, redacted) {
			t.Errorf("%s = %s, want it to show %q", form, text, redacted)
		}
	}
	if got := p.Password.Reveal(); got != "hunter2" {
		t.Errorf("Reveal() = %q, want the secret itself", got)
	}
}

func TestUnsetSecretPrintsNothing(t *testing.T) {
	var s Secret
	if s.IsSet() || s.Reveal() != "" || fmt.Sprint(s) != "" {
		t.Errorf("zero Secret: IsSet %t, Reveal %q, prints %q; want it unset and empty", s.IsSet(), s.Reveal(), s)
	}
}

func TestSecretSources(t *testing.T) {
	const place = "/etc/pgvip/pgvip.yaml:7:"
	tests := []struct {
		name, lines, want, fault string
	}{
		{"in the file", "  password: 007", "007", ""},
		{"in another file", "  password_file: /etc/pgvip/probe.password", "from file", ""},
		{"in a file beside", "  password_file: probe.password", "from file", ""},
		{"in the environment", "  password_env: PGVIP_PROBE_PASSWORD", "from env", ""},
		{"not given", "  dbname: app", "", ""},
		{"empty", "  password: ''", "", place + "13: probe.password: gives an empty secret"},
		{"empty file", "  password_file: empty", "", place + "18: probe.password_file: gives an empty secret"},
		{"no such file", "  password_file: nofile", "",
			place + "18: probe.password_file: names nofile, which cannot be read: file does not exist"},
		{"no such variable", "  password_env: NO_SUCH", "",
			place + "17: probe.password_env: names the environment variable NO_SUCH, which is not set"},
		{"list", "  password: [a]", "", place + "13: probe.password: must be a single value, is a list"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := parse(t, minimal+tt.lines+"\n")
			if tt.fault != "" {
				if err == nil || err.Error() != tt.fault {
					t.Errorf("fault = %v, want %s", err, tt.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Probe.Password.Reveal(); got != tt.want {
				t.Errorf("password = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSecretGivenTwiceIsAFaultThatShowsNone(t *testing.T) {
	_, err := parse(t, minimal+"  password: hunter2\n  password_env: PGVIP_PROBE_PASSWORD\n")
	if err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "from env") {
		t.Fatalf("faults = %v, want some that show no secret", err)
	}
	if want := "probe.password_env: gives a secret that probe.password gives too, use one of them"; !strings.Contains(err.Error(), want) {
		t.Errorf("faults = %v, want one that says %q", err, want)
	}
}
