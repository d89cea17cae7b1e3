package dcs

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/pgvip/pgvip/route"
)

// member reads one members/<name> key. A member whose value cannot be read is
// kept by name, without an address, so that operators see it as out of order
// rather than missing.
func (d *decoder) member(name string, value []byte) error {
	if name == "" {
		return errors.New("member: no name")
	}
	m := route.Member{Name: name}
	err := readMember(&m, value)
	d.topo.Members = append(d.topo.Members, m)
	return err
}

// readMember reads the JSON that Patroni writes, field by field: one field of an
// unexpected kind must not cost the others.
func readMember(m *route.Member, value []byte) error {
	text := strings.TrimSpace(string(value))
	if strings.HasPrefix(text, "postgres") {
		return readOldMember(m, text)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(value, &fields); err != nil {
		return fmt.Errorf("member %s: %w", m.Name, err)
	}
	m.State, m.Role = str(fields["state"]), str(fields["role"])
	m.Version, m.Replication = str(fields["version"]), str(fields["replication_state"])
	m.Timeline = uint32(number(fields["timeline"], 32))
	m.Location = number(fields["xlog_location"], 64)
	m.ReceiveLSN = number(fields["receive_lsn"], 64)
	m.ReplayLSN = number(fields["replay_lsn"], 64)
	m.Paused = truthy(fields["pause"])
	m.APIURL = apiURL(str(fields["api_url"]))
	readTags(m, fields["tags"])
	addr, err := address(str(fields["conn_url"]))
	if err != nil {
		return fmt.Errorf("member %s: %w", m.Name, err)
	}
	m.Addr = addr
	return nil
}

// readOldMember reads the form before Patroni 1.0: a connection string whose
// application_name is the URL of the REST interface. It has no state.
func readOldMember(m *route.Member, text string) error {
	addr, err := address(text)
	if err != nil {
		return fmt.Errorf("member %s: %w", m.Name, err)
	}
	m.Addr = addr
	if u, err := url.Parse(text); err == nil {
		m.APIURL = apiURL(u.Query().Get("application_name"))
	}
	return nil
}

// readTags prints each tag as text, whatever its kind. False booleans of
// Patroni's own tags are absent.
func readTags(m *route.Member, raw json.RawMessage) {
	var tags map[string]json.RawMessage
	if json.Unmarshal(raw, &tags) != nil || len(tags) == 0 {
		return
	}
	m.NoLoadBalance = truthy(tags["noloadbalance"])
	m.Tags = make(map[string]string, len(tags))
	for name, value := range tags {
		if s := str(value); s != "" {
			m.Tags[name] = s
			continue
		}
		m.Tags[name] = string(value)
	}
}

// apiURL cuts the path: Patroni's ends in /patroni, and every endpoint is asked for.
func apiURL(s string) string {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// str gives a JSON string, empty for anything else.
func str(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// number gives a whole number of at most bits bits, 0 for anything else.
func number(raw json.RawMessage, bits int) uint64 {
	var n uint64
	if json.Unmarshal(raw, &n) != nil || bits < 64 && n>>bits != 0 {
		return 0
	}
	return n
}
