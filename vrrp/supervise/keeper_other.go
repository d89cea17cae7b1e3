//go:build !linux

package supervise

import (
	"errors"
	"time"

	"github.com/pgvip/pgvip/vrrp/beat"
)

// keeper is nothing elsewhere: the virtual IP is for Linux.
type keeper struct{ packets chan *beat.FromKeeper }

func (s *Supervisor) spawn() (*keeper, error) {
	return nil, errors.New("the virtual IP needs Linux")
}

func (k *keeper) pid() int            { return 0 }
func (k *keeper) ended() string       { return "" }
func (k *keeper) send(*beat.ToKeeper) {}
func (k *keeper) kill()               {}
func (k *keeper) dismiss()            {}

// uptime stands still: no keeper gets old.
func uptime() time.Duration { return 0 }
