package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// buildWithoutCgo builds pgvip as it is released: with the race detector a process
// cannot give up what all of its threads have.
func buildWithoutCgo(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "pgvip")
	build := exec.Command("go", "build", "-o", binary, "github.com/pgvip/pgvip/cmd/pgvip")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

// threads gives the capability sets of all threads of a process: one line for each
// combination that some thread has.
func threads(t *testing.T, pid int) (sets map[string]bool) {
	t.Helper()
	sets = map[string]bool{}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) < 2 {
		t.Fatalf("threads of %d: %v, %v", pid, files, err)
	}
	for _, f := range files {
		data, _ := os.ReadFile(f) // a thread may have ended
		var caps []string
		for line := range strings.Lines(string(data)) {
			if name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t"); name == "CapEff" || name == "CapPrm" || name == "CapAmb" {
				caps = append(caps, name+"="+strings.TrimLeft(value, "0"))
			}
		}
		if caps != nil {
			sets[strings.Join(caps, " ")] = true
		}
	}
	return sets
}

// As the unit file starts it: a user of its own, and two capabilities.
func TestPrivilegesAreTheKeepersAlone(t *testing.T) {
	l := newLAN(t)
	l.address(ownOfTest + "/24")
	binary := buildWithoutCgo(t)
	const nobody, both = 65534, "3000" // CAP_NET_ADMIN and CAP_NET_RAW
	dir := t.TempDir()
	scripts := filepath.Join(dir, "open")
	l.must(os.Mkdir(scripts, 0o777))
	l.must(os.Chmod(scripts, 0o777)) // whatever the umask is
	said := filepath.Join(scripts, "said")
	spy := program(t, "{ grep ^Cap /proc/self/status; env; } >>"+said)[0]
	l.must(os.Chmod(spy, 0o755))
	file := filepath.Join(dir, "pgvip.yaml")
	text := fmt.Sprintf(vipSettings, spy, 100, "none", 1, 1, 2, 2) + listSource
	text = strings.Replace(text, "  startup_delay", "  track_script: {spy: {script: "+spy+", interval: 100ms, weight: 7}}\n  startup_delay", 1)
	l.must(os.WriteFile(file, []byte(text), 0o644))
	l.must(os.WriteFile(filepath.Join(dir, "users.txt"), []byte("\"a\" \"b\"\n"), 0o644))
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		l.must(os.Chmod(d, 0o755))
	}

	cmd := exec.Command(binary, "run", "-c", file)
	cmd.Env = append(os.Environ(), "PGVIP_PROBE_PASSWORD=s3cret")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, Credential: &syscall.Credential{Uid: nobody, Gid: nobody},
		AmbientCaps: []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW},
	}
	l.must(cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	v := &vipNode{child: &child{t: t, cmd: cmd}, lan: l, ns: l.here}
	v.until("the address, which takes the keeper's privileges", v.has)
	v.until("a script", func() bool { _, err := os.Stat(said); return err == nil })

	if got := threads(t, cmd.Process.Pid); len(got) != 1 || !got["CapPrm="+both+" CapEff= CapAmb="] {
		t.Errorf("the main process's threads have %v, want none in effect", got)
	}
	if got := threads(t, v.keeper()); len(got) != 1 || !got["CapPrm="+both+" CapEff="+both+" CapAmb="] {
		t.Errorf("the keeper's threads have %v, want the two", got)
	}
	out, err := os.ReadFile(said)
	l.must(err)
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		if strings.HasPrefix(name, "Cap") && name != "CapBnd" && strings.Trim(value, "0") != "" {
			t.Errorf("a program has %s %s", name, value)
		}
	}
	if strings.Contains(string(out), "s3cret") {
		t.Error("a program has the environment's secrets")
	}
	l.must(cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if v.has() {
		t.Error("after the end the address is there")
	}
}
