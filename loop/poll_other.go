//go:build !linux

package loop

import (
	"errors"
	"syscall"
	"time"
)

// Loops are for Linux. Elsewhere the package compiles, so that what imports it
// can be built and unit tests run, and New returns errors.ErrUnsupported.

const (
	eventRead = 1 << iota
	eventWrite
	eventFinish
	eventHangUp
	eventError
)

type event struct {
	Events  uint32
	Fd, Pad int32
}

type poller struct{}

func openPoller() (*poller, error) { return nil, errors.ErrUnsupported }

func (poller) close()                                {}
func (poller) add(int, uint32, uint32, uint32) error { return errors.ErrUnsupported }
func (poller) change(int, uint32, uint32, uint32)    {}
func (poller) remove(int)                            {}
func (poller) wake()                                 {}
func (poller) woken()                                {}
func (poller) now([]event) int                       { return 0 }
func (poller) brief([]event, time.Duration) int      { return 0 }
func (poller) park([]event, time.Time) int           { return 0 }
func rawRead(int, []byte) (int, syscall.Errno)       { return 0, syscall.EINVAL }
func unacknowledged(int) int                         { return 0 }
func rawWrite(int, []byte) (int, syscall.Errno)      { return 0, syscall.EINVAL }
func tcpInfo(int) (Info, bool)                       { return Info{}, false }
func arrived(int) int                                { return 0 }
func shutWrite(int)                                  {}
func closeSocket(int)                                {}
func socketError(int) syscall.Errno                  { return syscall.EINVAL }
