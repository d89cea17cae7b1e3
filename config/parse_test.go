package config

import "testing"

const minimal = `scope: demo
etcd:
  hosts: [127.0.0.1:2379]
auth_file: userlist.txt
probe:
  user: pgvip
`

func parse(t testing.TB, text string) (*Config, error) {
	t.Helper()
	return Parse("pgvip.yaml", []byte(text),
		func(string) (string, bool) { return "", false },
		func(string) ([]byte, error) { return nil, nil })
}

func TestMinimalFileIsValid(t *testing.T) {
	if _, err := parse(t, minimal); err != nil {
		t.Fatal(err)
	}
}
