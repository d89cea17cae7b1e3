package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	referenceFile = "../configs/pgvip.reference.yaml"
	keysDocument  = "../docs/configuration.md"
)

func readText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// reference keys are lines like "inter: 1s" or "#password: secret"; a comment
// for people has a blank after its "#".
var referenceKey = regexp.MustCompile(`^( *)#?("\*"|[a-z_]+):`)

// referenceComments gives the comment above each key of the reference file, by
// the path of the key.
func referenceComments(t *testing.T) map[string]string {
	t.Helper()
	comments := map[string]string{}
	var sections []string // the open keys, one for each two blanks of indent
	comment := ""
	for line := range strings.Lines(readText(t, referenceFile)) {
		trimmed := strings.TrimSpace(line)
		m := referenceKey.FindStringSubmatch(line)
		switch {
		case m != nil:
			depth := len(m[1]) / 2
			sections = append(sections[:depth], strings.Trim(m[2], `"`))
			comments[strings.Join(sections, ".")] = comment
			comment = ""
		case strings.HasPrefix(trimmed, "# "):
			comment += strings.TrimPrefix(trimmed, "# ") + "\n"
		default:
			comment = ""
		}
	}
	return comments
}

func TestReferenceFileDocumentsEveryKeyWithItsDefault(t *testing.T) {
	comments := referenceComments(t)
	for _, d := range describe(topKeys(), "") {
		// The reference file shows the overrides on "*" and on a user "report".
		path := strings.Replace(d.path, "users.*", "users.report", 1)
		comment, ok := comments[path]
		if !ok {
			t.Errorf("%s: %s is missing", referenceFile, path)
			continue
		}
		want := "Default: " + d.def + "\n"
		switch {
		case d.required:
			want = "Required.\n"
		case d.def == "":
			want = "Default: none"
		}
		if !strings.Contains(comment, want) {
			t.Errorf("%s: comment of %s is %q, want it to hold %q", referenceFile, path, comment, want)
		}
	}
}

func TestReferenceFileHoldsTheDefaultsAsValues(t *testing.T) {
	c, err := Load(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.File, want.Scope, want.Etcd.Hosts = c.File, "demo", []Address{{"127.0.0.1", 2379}}
	want.Probe.User, want.AuthFile = "pgvip", filepath.Join(filepath.Dir(referenceFile), "userlist.txt")
	want.Users["report"] = User{PoolMode: Some(PoolSession)}
	if got, want := fmt.Sprintf("%+v", c), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("reference file reads as\n%s\nwant the defaults\n%s", got, want)
	}
}

func TestConfigurationDocumentHasEveryKeyWithItsDefault(t *testing.T) {
	text := readText(t, keysDocument)
	for _, d := range describe(topKeys(), "") {
		def := "`" + d.def + "`"
		switch {
		case d.required:
			def = "required"
		case d.def == "":
			def = "none"
		}
		if row := fmt.Sprintf("| `%s` | %s |", d.path, def); !strings.Contains(text, row) {
			t.Errorf("%s has no row %q", keysDocument, row)
		}
	}
}

func TestConfigurationDocumentNamesEveryForeignKey(t *testing.T) {
	text := readText(t, keysDocument)
	for _, group := range foreignKeys() {
		for _, path := range group.paths {
			if !strings.Contains(text, "`"+path+"`") {
				t.Errorf("%s does not name %s", keysDocument, path)
			}
		}
	}
}

func TestEverySampleFileLoads(t *testing.T) {
	t.Setenv("PGVIP_PROBE_PASSWORD", "sample")
	t.Setenv("PGVIP_ETCD_PASSWORD", "sample")
	t.Setenv("PGVIP_CLUSTER_KEYS", "MDEyMzQ1Njc4OWFiY2RlZg==")
	files, err := filepath.Glob("../configs/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("found %v, %v; want the sample files", files, err)
	}
	for _, file := range files {
		if _, err := Load(file); err != nil {
			t.Error(err)
		}
	}
}

// Snippets need not be whole files, so what is missing is no fault of theirs.
func TestSnippetsInTheDocumentAreValid(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readText(t, keysDocument), -1)
	if len(blocks) < 2 {
		t.Fatalf("found %d snippets, want at least 2", len(blocks))
	}
	for _, block := range blocks {
		_, err := parse(t, block[1])
		var faults Faults
		if err == nil {
			continue
		}
		if !errors.As(err, &faults) {
			t.Fatal(err)
		}
		for _, f := range faults {
			if !strings.Contains(f.Text, "is required") {
				t.Errorf("snippet %q: %v", block[1], f)
			}
		}
	}
}
