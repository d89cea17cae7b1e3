package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
)

// HBA is a parsed auth_hba_file: which method each client has to use. It is
// immutable.
type HBA struct {
	rules []Rule
}

// Rule is one line of an HBA.
type Rule struct {
	Line   int
	Method Method
	Map    *IdentMap // of option map=; nil without

	kind      connectionKind
	databases nameSet
	users     nameSet
	anywhere  bool         // address "all"
	network   netip.Prefix // unless anywhere or local
}

// connectionKind is the first word of a line.
type connectionKind uint8

const (
	kindLocal connectionKind = iota
	kindHost
	kindHostSSL
	kindHostNoSSL
)

var connectionKinds = map[string]connectionKind{
	"local": kindLocal, "host": kindHost, "hostssl": kindHostSSL, "hostnossl": kindHostNoSSL,
}

// hbaMethods are pg_hba.conf's names of the methods that pgvip can do.
var hbaMethods = map[string]Method{
	"trust": Trust, "reject": Reject, "password": Password, "md5": MD5, "scram-sha-256": SCRAM,
	"cert": Cert, "peer": Peer,
}

// maxIncludes bounds how deep an "@file" may name another.
const maxIncludes = 10

// hbaParser holds what one file's lines are read with.
type hbaParser struct {
	maps     *IdentMaps
	readFile func(path string) ([]byte, error)
	rules    []Rule
}

// ParseHBA reads a file in the format of pg_hba.conf, with what PgBouncer 1.25
// takes of it: local, host, hostssl and hostnossl; databases all, sameuser,
// replication and names; users all and names; "@file" for more of either;
// addresses as networks, with a mask, or all; the methods of hbaMethods; and
// map= for cert and peer, out of maps. path is the file's own, which "@file" is
// relative to.
//
// PgBouncer skips lines that it cannot read, with a warning: a reject that is
// skipped lets in. Here every fault is reported, each with its line, and nothing
// is returned.
func ParseHBA(path string, text []byte, maps *IdentMaps, readFile func(path string) ([]byte, error)) (*HBA, error) {
	p := &hbaParser{maps: maps, readFile: readFile}
	err := eachLine(text, func(number int, words []word) error {
		r, err := p.rule(path, words)
		r.Line = number
		p.rules = append(p.rules, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &HBA{rules: p.rules}, nil
}

// Len returns the number of rules.
func (h *HBA) Len() int { return len(h.rules) }

func (p *hbaParser) rule(path string, words []word) (r Rule, err error) {
	var ok bool
	if r.kind, ok = connectionKinds[words[0].text]; !ok || words[0].quoted {
		return r, unknownKind(words[0].text)
	}
	rest := words[1:]
	if r.databases, rest, err = p.names(path, rest, true); err != nil {
		return r, fmt.Errorf("database: %w", err)
	}
	if r.users, rest, err = p.names(path, rest, false); err != nil {
		return r, fmt.Errorf("user: %w", err)
	}
	if r.kind != kindLocal {
		if rest, err = r.address(rest); err != nil {
			return r, fmt.Errorf("address: %w", err)
		}
	}
	return r, r.method(rest, p.maps)
}

func unknownKind(text string) error {
	switch {
	case text == "hostgssenc" || text == "hostnogssenc":
		return fmt.Errorf("%s: pgvip does no GSSAPI encryption", text)
	case strings.HasPrefix(text, "include"):
		return fmt.Errorf("%s: other files cannot be included", text)
	}
	return fmt.Errorf("%q: must begin with local, host, hostssl or hostnossl", text)
}

// names reads one list of databases or users off the front.
func (p *hbaParser) names(path string, words []word, databases bool) (set nameSet, rest []word, err error) {
	set.names = make(map[string]bool)
	for {
		if len(words) == 0 || words[0].comma {
			return set, nil, errors.New("is missing")
		}
		if err := p.name(&set, path, words[0], databases, 0); err != nil {
			return set, nil, err
		}
		words = words[1:]
		if len(words) == 0 || !words[0].comma {
			return set, words, nil
		}
		words = words[1:]
	}
}

func (p *hbaParser) name(set *nameSet, path string, w word, databases bool, depth int) error {
	switch {
	case w.text == "":
		return errors.New("is empty")
	case w.quoted:
		set.names[w.text] = true
	case w.text == "all":
		set.all = true
	case databases && w.text == "sameuser":
		set.sameUser = true
	case databases && w.text == "replication":
		set.replication = true
	case databases && (w.text == "samerole" || w.text == "samegroup"), !databases && w.text[0] == '+':
		return fmt.Errorf("%s: pgvip does not know who is a member of a role", w.text)
	case w.text[0] == '/':
		return fmt.Errorf("%s: regular expressions are not supported here", w.text)
	case w.text[0] == '@':
		file := w.text[1:]
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(path), file)
		}
		return p.include(set, file, databases, depth+1)
	default:
		set.names[w.text] = true
	}
	return nil
}

// include reads the names in a file, with blanks, commas or line ends between
// them.
func (p *hbaParser) include(set *nameSet, path string, databases bool, depth int) error {
	if depth > maxIncludes {
		return fmt.Errorf("%s: files name each other", path)
	}
	text, err := p.readFile(path)
	if err != nil {
		return err
	}
	err = eachLine(text, func(_ int, words []word) error {
		for _, w := range words {
			if w.comma {
				continue
			}
			if err := p.name(set, path, w, databases, depth); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %s", path, strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

// address reads "all", a network, or an address and its mask off the front.
func (r *Rule) address(words []word) (rest []word, err error) {
	if len(words) == 0 || words[0].comma {
		return nil, errors.New("is missing")
	}
	text := words[0].text
	if words[0].is("all") {
		r.anywhere = true
		return words[1:], nil
	}
	if network, err := netip.ParsePrefix(text); err == nil {
		r.network = network
		return words[1:], r.noStrayBits(text)
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return nil, fmt.Errorf("%q: must be all, a network like 10.0.0.0/8 or ::1/128, or an address and a mask; "+
			"host names, samehost and samenet are not supported", text)
	}
	if len(words) < 2 || words[1].comma {
		return nil, fmt.Errorf("%s: has no mask: write %s/%d", text, text, addr.BitLen())
	}
	bits, ok := maskBits(words[1].text, addr)
	if !ok {
		return nil, fmt.Errorf("mask %q: must be one like 255.255.255.0, of the address's family", words[1].text)
	}
	r.network = netip.PrefixFrom(addr, bits)
	return words[2:], r.noStrayBits(text + " " + words[1].text)
}

// noStrayBits: PostgreSQL ignores bits beyond the mask, with PgBouncer nothing
// ever matches such a line. So it has to be said.
func (r *Rule) noStrayBits(text string) error {
	if r.network != r.network.Masked() {
		return fmt.Errorf("%s: has bits beyond its mask: write %s", text, r.network.Masked())
	}
	return nil
}

// maskBits counts the bits of a mask in the form of an address.
func maskBits(text string, addr netip.Addr) (int, bool) {
	mask, err := netip.ParseAddr(text)
	if err != nil || mask.BitLen() != addr.BitLen() {
		return 0, false
	}
	bits, ended := 0, false
	for _, b := range mask.AsSlice() {
		for bit := byte(0x80); bit != 0; bit >>= 1 {
			switch {
			case b&bit == 0:
				ended = true
			case ended:
				return 0, false // a hole, which no network has
			default:
				bits++
			}
		}
	}
	return bits, true
}

// method reads the rest of a line: method and options.
func (r *Rule) method(words []word, maps *IdentMaps) error {
	if len(words) == 0 {
		return errors.New("method: is missing")
	}
	name := words[0].text
	var ok bool
	if r.Method, ok = hbaMethods[name]; !ok || words[0].quoted || words[0].comma {
		return unknownMethod(name)
	}
	switch {
	case r.Method == Peer && r.kind != kindLocal:
		return errors.New("peer: only a Unix socket tells who is there: must be on a local line")
	case r.Method == Cert && (r.kind == kindLocal || r.kind == kindHostNoSSL):
		return errors.New("cert: needs TLS: must be on a hostssl or host line")
	}
	for _, w := range words[1:] {
		if err := r.option(w.text, maps); err != nil {
			return err
		}
	}
	return nil
}

func unknownMethod(name string) error {
	switch name {
	case "plain":
		return errors.New(`method "plain": is called password in this file`)
	case "ldap", "pam", "radius", "bsd", "gss", "sspi", "ident", "oauth":
		return fmt.Errorf("method %q: pgvip does not support it", name)
	}
	return fmt.Errorf("method %q: must be trust, reject, password, md5, scram-sha-256, cert or peer", name)
}

func (r *Rule) option(text string, maps *IdentMaps) error {
	name, value, ok := strings.Cut(text, "=")
	switch {
	case !ok:
		return fmt.Errorf("option %q: must be name=value", text)
	case name != "map":
		return fmt.Errorf("option %q: the only one supported is map=", name)
	case r.Method != Cert && r.Method != Peer:
		return errors.New("option map: only cert and peer have one")
	}
	if r.Map, ok = maps.Lookup(value); !ok {
		return fmt.Errorf("option map: auth_ident_file has no map %q", value)
	}
	return nil
}
