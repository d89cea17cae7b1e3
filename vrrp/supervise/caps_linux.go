package supervise

import "golang.org/x/sys/unix"

// ambient gives the capabilities that a keeper needs and this process may give
// away; nil when it has not got both, which the keeper will complain of.
func ambient() []uintptr {
	need := []uintptr{unix.CAP_NET_ADMIN, unix.CAP_NET_RAW}
	var data [2]unix.CapUserData
	if unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]) != nil {
		return nil
	}
	for _, c := range need {
		if data[c/32].Permitted&(1<<(c%32)) == 0 {
			return nil
		}
	}
	return need
}
