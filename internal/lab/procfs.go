package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// stat is what the lab reads of /proc/PID/stat, proc(5).
type stat struct {
	parent int
	state  byte // R, S, D, T (stopped), Z (dead, not yet waited for), ...
}

func readStat(pid int) (stat, bool) {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return stat{}, false
	}
	// The name, in parentheses, may hold anything, parentheses too.
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if len(fields) < 2 || len(fields[0]) != 1 {
		return stat{}, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return stat{parent: parent, state: fields[0][0]}, err == nil
}

// living reports whether a process runs, stopped or not. A dead one that its
// parent has not yet waited for does not: it holds neither files nor ports.
func living(pid int) bool {
	s, ok := readStat(pid)
	return pid > 0 && ok && s.state != 'Z' && s.state != 'X'
}

// worksIn reports whether a process has its working directory at or below dir.
func worksIn(pid int, dir string) bool {
	cwd, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	return err == nil && (cwd == dir || strings.HasPrefix(cwd, dir+"/"))
}

// tree returns a process and its living descendants, parents first.
func tree(pid int) []int {
	children := map[int][]int{}
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	for _, dir := range dirs {
		child, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		if s, ok := readStat(child); ok && s.state != 'Z' {
			children[s.parent] = append(children[s.parent], child)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all
}

// signalTree sends sig to a process and its descendants, again until it finds
// none that was forked in between.
func signalTree(pid int, sig syscall.Signal) error {
	reached := map[int]bool{}
	for again := true; again; {
		again = false
		for _, p := range tree(pid) {
			if reached[p] {
				continue
			}
			reached[p], again = true, true
			if err := syscall.Kill(p, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
	}
	return nil
}

// allStopped names a process of the tree that SIGSTOP has not yet reached.
func allStopped(pid int) error {
	for _, p := range tree(pid) {
		if s, ok := readStat(p); ok && s.state != 'T' && s.state != 't' && s.state != 'Z' {
			return fmt.Errorf("process %d is in state %c", p, s.state)
		}
	}
	return nil
}
