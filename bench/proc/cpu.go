package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPU is the CPU time that the program has used so far, user and system, in
// nanoseconds and with its ended threads: the process CPU clock. The time that
// the kernel spends on loopback traffic counts for whoever sends.
func (p *Process) CPU() (time.Duration, error) {
	// clock_getcpuclockid(3): the complement of the process id, shifted by
	// three, and CPUCLOCK_SCHED. schedstat has the same clock but forgets
	// threads that have ended; utime and stime tick in 10 ms.
	const schedClock = 2
	clock := int32(^p.PID()<<3 | schedClock)
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("CPU time of %s: %w", p.name, err)
	}
	return time.Duration(t.Nano()), nil
}

// Machine is the CPU time of the whole machine since its start, over all CPUs.
type Machine struct {
	Busy  time.Duration // neither idle nor waiting nor stolen
	Steal time.Duration // taken by the hypervisor
	Total time.Duration
}

// ReadMachine reads /proc/stat. Its unit is 10 ms.
func ReadMachine() (Machine, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return Machine{}, fmt.Errorf("CPU time of the machine: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return parseMachine(line)
}

// parseMachine reads "cpu user nice system idle iowait irq softirq steal
// guest guest_nice"; guest time is part of user time.
func parseMachine(line string) (Machine, error) {
	const (
		tick   = time.Second / 100 // USER_HZ
		idle   = 3
		iowait = 4
		steal  = 7
	)
	fields := strings.Fields(line)
	if len(fields) <= steal+1 || fields[0] != "cpu" {
		return Machine{}, fmt.Errorf("CPU time of the machine: line %q", line)
	}
	var m Machine
	for i, field := range fields[1 : steal+2] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return Machine{}, fmt.Errorf("CPU time of the machine: %w", err)
		}
		d := time.Duration(n) * tick
		m.Total += d
		switch i {
		case idle, iowait:
		case steal:
			m.Steal += d
		default:
			m.Busy += d
		}
	}
	return m, nil
}

// Sub is the time between two readings.
func (m Machine) Sub(earlier Machine) Machine {
	return Machine{
		Busy:  m.Busy - earlier.Busy,
		Steal: m.Steal - earlier.Steal,
		Total: m.Total - earlier.Total,
	}
}

// StealShare is the stolen part of the time, from 0 to 1.
func (m Machine) StealShare() float64 {
	if m.Total <= 0 {
		return 0
	}
	return float64(m.Steal) / float64(m.Total)
}
