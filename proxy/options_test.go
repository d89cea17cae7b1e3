package proxy

import (
	"strings"
	"testing"

	"github.com/pgvip/pgvip/internal/lab"
)

// TestOptionsAsDirect: what stands in the startup parameter "options" is read, or
// refused, as PostgreSQL does.
func TestOptionsAsDirect(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{})
	options := map[string]string{
		"half a packet": "-c my.var=" + strings.Repeat(`x\ `, 1500), "almost 10,000 bytes": "-c my.var=" + strings.Repeat("x", 9850),
		"many settings": strings.Repeat("-c my.var=x --my.var=y ", 400),
	}
	for _, text := range []string{
		"", " ", "-c work_mem=5MB", "-cwork_mem=5MB", "--work-mem=5MB", "--work_mem=5MB", " \t-c\n\v\f\rwork_mem=5MB  ",
		`-c my.var=a\ b --statement-timeout=7\s`, `--my.var=a\ b\\c`, `-c my.var=\`, `-c my.var=a\`, `-c my.var=a\	b`, `\-c my.var=a`,
		`--my.v-ar=x`, "-c my.var=a=b=c", "-c my.var=", "--my.var=", "-c my.var='a b'", `-c "work_mem=5MB"`, `-c my.var="x"`,
		"-c search_path=a,b", `-c search_path=a,\ "B\ c"`, "-c WORK_MEM=5MB", "-c work_mem=5MB -c work_mem=6MB", "-c work_mem=5MB --work_mem=6MB",
		"-c", "--", "-", "-c work_mem=5MB --", "-- -c work_mem=5MB", "-c work_mem", "--work_mem", "-c =5", "--=5", "-c work_mem=", "-c my.=1", "-c .x=1",
		"-c no_such_thing=1", "-c work_mem=5XB", "-c geqo=maybe", "stray", "-c work_mem=5MB stray", "-c work_mem=5MB -", "-cc work_mem=5MB",
		"-S 5120", "-S5120", "-S x", "-e", "-ec work_mem=5MB", "-eS 5120", "-Z", "-Z -c work_mem=5MB", "-?", "-V", "--help", "--version", "--single", "--boot",
		"-fn", "-f x", "-fs -fi", "-tpl", "-t x", "-O", "-P", "-s", "-x", "-v 3", "-d 1", "-d 9", "-B 16", "-N 5", "-p 5", "-D /tmp", "-h x", "-k x", "-C work_mem",
		"-c role=none", "-c session_authorization=" + lab.Superuser, "-c is_superuser=on", "-c ssl=off", "-c my.var=\u00e4\u4e16",
	} {
		options[text] = text
	}
	for name, text := range options {
		t.Run(name, func(t *testing.T) {
			got, want := obeyed(t, s.primary, text), obeyed(t, pg.Addr, text)
			if got != want {
				t.Errorf("got  %.300s\nwant %.300s", got, want)
			}
		})
	}
}

// obeyed is what options do: an error, or values. A name that PostgreSQL does not
// know stays on a server, empty, once somebody has used it.
func obeyed(t *testing.T, addr, options string) string {
	t.Helper()
	c, err := tryLogin(t, addr, "options", options)
	if err != nil {
		return err.Error()
	}
	defer c.leave()
	return c.value("SELECT concat_ws('|', current_setting('work_mem'), current_setting('search_path'), nullif(current_setting('my.var', true), '')," +
		" current_setting('statement_timeout'), current_setting('enable_nestloop'), current_setting('datestyle'), current_user)")
}
