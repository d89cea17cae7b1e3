package config

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// vipFile is a whole good pair of sections, of which tests replace a part.
const vipFile = `vip:
  interface: eth0
  addresses: [10.0.0.100]
  version: 3
cluster:
  name: lb1
  address: 10.0.0.1:7946
  keys_env: PGVIP_CLUSTER_KEYS
  peers:
    lb2: {address: "10.0.0.2:7946"}
`

func TestVIPArrives(t *testing.T) {
	c := mustParse(t, minimal+vipFile)
	if got := c.VIP.Addresses; !c.VIP.Enabled() || len(got) != 1 || got[0].String() != "10.0.0.100/32" {
		t.Errorf("addresses are %v, want 10.0.0.100/32", got)
	}
	if got := Ends(c.Cluster.Address, c.Cluster.Heartbeat); len(got) != 1 || got[0].String() != "10.0.0.1:7947" {
		t.Errorf("own ends are %v, want 10.0.0.1:7947", got)
	}
	peer := c.Cluster.Peers["lb2"]
	if got := Ends(peer.Address, peer.Heartbeat); len(got) != 1 || got[0].String() != "10.0.0.2:7947" {
		t.Errorf("ends of lb2 are %v, want 10.0.0.2:7947", got)
	}
	if keys, err := c.Cluster.Keys(); err != nil || len(keys) != 1 || string(keys[0]) != "0123456789abcdef" {
		t.Errorf("keys are %q, %v; want the one of the environment", keys, err)
	}
	if c.Arbiter() != ArbiterEtcd || c.VIP.AdvertInt != 100*time.Millisecond {
		t.Errorf("arbiter is %s, advert_int %s; want etcd, 100ms", c.Arbiter(), c.VIP.AdvertInt)
	}
	if none := mustParse(t, minimal); none.VIP.Enabled() {
		t.Error("there is a virtual IP without a vip section")
	}
}

func TestEveryKeyOfTheVIPArrives(t *testing.T) {
	c := mustParse(t, everyKey)
	v := c.VIP
	if want := (Command{"/bin/up", "to the top", ""}); !reflect.DeepEqual(v.NotifyMaster, want) {
		t.Errorf("notify_master = %q, want %q", v.NotifyMaster, want)
	}
	want := TrackScript{Command{"/bin/disk", "/", "90"}, 2 * time.Second, 3 * time.Second, 4, 5, -6, true, true}
	if got := v.TrackScript["disk"]; !reflect.DeepEqual(got, want) {
		t.Errorf("track_script = %+v, want %+v", got, want)
	}
	if got := v.Addresses[1]; got.Addr() != netip.MustParseAddr("10.0.0.101") || got.Bits() != 24 {
		t.Errorf("second address is %s, want 10.0.0.101/24", got)
	}
	if keys, err := c.Cluster.Keys(); err != nil || len(keys) != 2 || len(keys[1]) != 32 {
		t.Errorf("keys are %q, %v; want two, the second of 32 bytes", keys, err)
	}
}

func TestVersionTwoHasItsOwnInterval(t *testing.T) {
	c := mustParse(t, minimal+strings.Replace(vipFile, "version: 3", "version: 2", 1))
	if c.VIP.AdvertInt != time.Second {
		t.Errorf("advert_int = %s, want 1s with version 2", c.VIP.AdvertInt)
	}
}

func TestArbiterFollowsTheSource(t *testing.T) {
	static := strings.Replace(minimal, "scope: demo", "scope: demo\nsource: static\nstatic: {servers: {a: {address: 'a:1'}}}", 1)
	if c := mustParse(t, static+"vip: {interface: eth0, addresses: [10.0.0.100]}\n"); c.Arbiter() != ArbiterNone {
		t.Errorf("arbiter of a static list is %s, want none", c.Arbiter())
	}
	c := mustParse(t, minimal+"vip: {interface: eth0, addresses: [10.0.0.100], arbiter: none}\n")
	if c.Arbiter() != ArbiterNone {
		t.Errorf("arbiter is %s, want none as the file says", c.Arbiter())
	}
}

// TestVIPFaults replaces a part of a good file and wants exactly these faults, each
// without the place in front.
func TestVIPFaults(t *testing.T) {
	const version, address, name = "version: 3", "[10.0.0.100]", "name: lb1"
	const peers = `    lb2: {address: "10.0.0.2:7946"}`
	tests := []struct {
		name, old, now string
		want           string // faults, one a line
	}{
		{"no interface", "interface: eth0\n  ", "", "vip.interface: is required"},
		{"no addresses", "addresses: [10.0.0.100]\n  ", "", "vip.addresses: is required"},
		{"nonsense for an address", address, "[vip]", `vip.addresses: must be an IP address like 10.0.0.1, is "vip"`},
		{"multicast", address, "[224.0.0.18]", `vip.addresses: must be the address of one host, is "224.0.0.18"`},
		{"loopback", address, "['::1']", `vip.addresses: must not be a loopback address, is "::1"`},
		{"a zone", address, "['fe80::1%eth0']", `vip.addresses: must be an IP address like 10.0.0.1, is "fe80::1%eth0"`},
		{"prefix too long", address, "[10.0.0.100/33]", `vip.addresses: must have a prefix length from 1 to 32, or none, is "10.0.0.100/33"`},
		{"twice", address, "[10.0.0.100, 10.0.0.100/24]", "vip.addresses: has 10.0.0.100 twice"},
		{"long interface", "eth0", "an-interface-name", `vip.interface: must be the name of a network interface, at most 15 bytes, is "an-interface-name"`},
		{"owner's priority", version, "priority: 255", "vip.priority: must be at most 254, is 255"},
		{"router 0", version, "virtual_router_id: 0", "vip.virtual_router_id: must be at least 1, is 0"},
		{"version 4", version, "version: 4", "vip.version: must be at most 3, is 4"},
		{"fractions of version 2", version, "version: 2\n  advert_int: 1500ms", "vip.advert_int: must be whole seconds with version 2, is 1.5s"},
		{"too long for version 2", version, "version: 2\n  advert_int: 256s", "vip.advert_int: must be at most 4m15s with version 2, is 4m16s"},
		{"too long for version 3", version, "advert_int: 41s", "vip.advert_int: must be at most 40.95s with version 3, is 41s"},
		{"too fine for version 3", version, "advert_int: 15ms", "vip.advert_int: must be a multiple of 10ms, is 15ms"},
		{"IPv6 with version 2", "addresses: [10.0.0.100]\n  version: 3", "addresses: ['2001:db8::1']\n  version: 2", "vip.version: must be 3 with an IPv6 address, is 2"},
		{"password of version 3", version, "auth_pass: x", "vip.version: must be 2 with auth_pass, which version 3 does not have"},
		{"long password", version, "version: 2\n  auth_pass: '123456789'", "vip.auth_pass: must have at most 8 bytes, has 9"},
		{"peers without a source", version, "unicast_peer: [10.0.0.2]", "vip.unicast_src_ip: is required with unicast_peer"},
		{"source of the other family", version, "unicast_src_ip: '2001:db8::2'", "vip.unicast_src_ip: must be of the family of the first address, 10.0.0.100, is 2001:db8::2"},
		{"source is the address", version, "unicast_src_ip: 10.0.0.100", "vip.unicast_src_ip: is 10.0.0.100, a virtual address: it must be one that this node keeps"},
		{"peer of the other family", version, "unicast_src_ip: 10.0.0.1\n  unicast_peer: ['2001:db8::2']", "vip.unicast_peer: must be of the family of the first address, 10.0.0.100, has 2001:db8::2"},
		{"peer twice", version, "unicast_src_ip: 10.0.0.1\n  unicast_peer: [10.0.0.2, 10.0.0.2]", "vip.unicast_peer: has 10.0.0.2 twice"},
		{"peer is the source", version, "unicast_src_ip: 10.0.0.1\n  unicast_peer: [10.0.0.1]", "vip.unicast_peer: has 10.0.0.1, which is unicast_src_ip"},
		{"delay beyond keepalived's", version, "preempt_delay: 1001s", "vip.preempt_delay: must be at most 16m40s, is 1001s"},
		{"no path of a program", version, "notify: up.sh x", `vip.notify: must begin with the absolute path of a program, is "up.sh x"`},
		{"open quote", version, `notify: "/bin/up 'x"`, "vip.notify: has a quote that is not closed"},
		{"script without a program", version, "track_script: {disk: {weight: 2}}", "vip.track_script.disk.script: is required"},
		{"weight of a script", version, "track_script: {disk: {script: /bin/x, weight: 254}}", "vip.track_script.disk.weight: must be at most 253, is 254"},

		{"arbiter without peers", "  peers:\n" + peers, "  peers: {}", "cluster.peers: is required with vip.arbiter etcd: the other nodes that may own the address"},
		{"own name among peers", "lb2:", "lb1:", "cluster.peers.lb1: is this node's own name: name the others only"},
		{"name with a slash", name, "name: a/b", `cluster.name: must be one name without slashes and spaces, at most 64 bytes, is "a/b"`},
		{"peers without an address", "address: 10.0.0.1:7946\n  ", "", "cluster.address: is required with peers"},
		{"peers without keys", "keys_env: PGVIP_CLUSTER_KEYS\n  ", "", "cluster.keys_file: is required with peers, or keys_env: what nodes tell each other decides who owns the virtual IP"},
		{"no base64", "keys_env: PGVIP_CLUSTER_KEYS", "keys: secret!", "cluster.keys: must be base64, key 1 is not"},
		{"short key", "keys_env: PGVIP_CLUSTER_KEYS", "keys: MDEyMzQ1Njc4OWFiY2RlZg== c2hvcnQ=", "cluster.keys: must have 16, 24 or 32 bytes, key 2 has 5"},
		{"address of two", peers, peers + "\n    lb3: {address: '10.0.0.2:7946', heartbeat: ['10.0.0.3:7947']}", "cluster.peers.lb3.address: is 10.0.0.2:7946, which lb2 has"},
		{"end of two", peers, peers + "\n    lb3: {address: '10.0.0.3:7946', heartbeat: ['10.0.0.2:7947']}", "cluster.peers.lb3.heartbeat: has 10.0.0.2:7947, which lb2 has"},
		{"name for a host", peers, "    lb2: {address: 'lb2.example:7946'}", "cluster.peers.lb2.heartbeat: is required, for address has no IP address that it could be derived from"},
		{"end without a port", name, "name: lb1\n  heartbeat: [10.0.0.1]", `cluster.heartbeat: must be ip:port, is "10.0.0.1"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if !strings.Contains(vipFile, tt.old) {
				t.Fatalf("the file has no %q", tt.old)
			}
			_, err := parse(t, minimal+strings.Replace(vipFile, tt.old, tt.now, 1))
			var faults Faults
			if err != nil && !errors.As(err, &faults) {
				t.Fatal(err)
			}
			var got []string
			for _, f := range faults {
				got = append(got, f.Path+": "+f.Text)
			}
			if text := strings.Join(got, "\n"); text != tt.want {
				t.Errorf("faults:\n%s\nwant\n%s", text, tt.want)
			}
		})
	}
}
