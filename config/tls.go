package config

import (
	"crypto/tls"
	"fmt"
	"slices"
	"strings"
)

// TLS is that of one side; PgBouncer's keys begin with client_tls_ and
// server_tls_. The files are not opened here.
type TLS struct {
	Mode      SSLMode
	KeyFile   string
	CertFile  string
	CAFile    string // what the other side's certificate is checked with
	Protocols TLSVersions
	Ciphers   TLSCiphers
	Curves    TLSCurves // of the client side
	// Negotiation is libpq's sslnegotiation, of the server side: postgres asks
	// for TLS in a packet of its own, direct starts with it.
	Negotiation string
}

// SSLMode is libpq's sslmode.
type SSLMode uint8

// The modes.
const (
	SSLDisable SSLMode = iota
	SSLAllow
	SSLPrefer
	SSLRequire
	SSLVerifyCA
	SSLVerifyFull
)

// String gives the name in the file.
func (m SSLMode) String() string {
	switch m {
	case SSLDisable:
		return "disable"
	case SSLAllow:
		return "allow"
	case SSLPrefer:
		return "prefer"
	case SSLRequire:
		return "require"
	case SSLVerifyCA:
		return "verify-ca"
	case SSLVerifyFull:
		return "verify-full"
	default:
		panic("BUG: SSLMode out of range")
	}
}

// sslMode reads sslmode.
func sslMode(text string) (SSLMode, error) { return enum(SSLDisable, SSLVerifyFull)(text) }

// TLSVersions are the protocol versions allowed, as crypto/tls names them.
type TLSVersions struct{ Min, Max uint16 }

// String gives the versions as the file has them.
func (v TLSVersions) String() string {
	switch v {
	case secureVersions:
		return "secure"
	case allVersions:
		return "all"
	}
	return strings.Join(versionNames[v.Min-tls.VersionTLS10:v.Max-tls.VersionTLS10+1], ",")
}

// The versions as PgBouncer's shortcuts have them.
var (
	secureVersions = TLSVersions{tls.VersionTLS12, tls.VersionTLS13}
	allVersions    = TLSVersions{tls.VersionTLS10, tls.VersionTLS13}
	versionNames   = []string{"tlsv1.0", "tlsv1.1", "tlsv1.2", "tlsv1.3"}
)

// tlsProtocols reads PgBouncer's list of versions and its shortcuts.
func tlsProtocols(text string) (TLSVersions, error) {
	switch text {
	case "secure", "default":
		return secureVersions, nil
	case "all", "legacy":
		return allVersions, nil
	}
	var given []int
	for _, name := range words(text) {
		i := slices.Index(versionNames, name)
		if i < 0 {
			return TLSVersions{}, fmt.Errorf("must be secure, all or some of %s, is %q", strings.Join(versionNames, ", "), text)
		}
		given = append(given, i)
	}
	slices.Sort(given)
	given = slices.Compact(given)
	first, last := given[0], given[len(given)-1]
	if last-first+1 != len(given) {
		return TLSVersions{}, fmt.Errorf("must not leave out a version in between, is %q", text)
	}
	return TLSVersions{tls.VersionTLS10 + uint16(first), tls.VersionTLS10 + uint16(last)}, nil
}

// TLSCiphers is a choice of cipher suites for TLS 1.2 and older; nobody chooses
// those of TLS 1.3.
type TLSCiphers struct {
	Suites string // the text in the file, "default" for Go's choice
}

// String gives the text in the file.
func (c TLSCiphers) String() string { return c.Suites }

// IDs gives the suites for crypto/tls, nil for its own choice.
func (c TLSCiphers) IDs() []uint16 {
	ids, _ := cipherIDs(c.Suites)
	return ids
}

// tlsCiphers reads cipher suites by OpenSSL's or IANA's names, joined with ":"
// as OpenSSL does, and PgBouncer's shortcuts for the default.
func tlsCiphers(text string) (TLSCiphers, error) {
	_, err := cipherIDs(text)
	return TLSCiphers{text}, err
}

func cipherIDs(text string) ([]uint16, error) {
	switch text {
	case "default", "secure", "fast", "normal":
		return nil, nil
	}
	var ids []uint16
	for _, name := range words(text) {
		id, ok := cipherID(name)
		if !ok {
			return nil, fmt.Errorf("must be default or names of cipher suites of TLS 1.2, has %q", name)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// cipherID finds a suite of TLS 1.2 or older among those that Go thinks secure.
func cipherID(name string) (uint16, bool) {
	for _, s := range tls.CipherSuites() {
		if slices.Contains(s.SupportedVersions, tls.VersionTLS12) && (s.Name == name || opensslName(s.Name) == name) {
			return s.ID, true
		}
	}
	return 0, false
}

// opensslName makes ECDHE-RSA-AES128-GCM-SHA256 of
// TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256.
func opensslName(iana string) string {
	return strings.NewReplacer("TLS_", "", "_WITH", "", "AES_128_CBC", "AES128", "AES_256_CBC", "AES256",
		"AES_", "AES", "POLY1305_SHA256", "POLY1305", "_", "-").Replace(iana)
}

// TLSCurves is a choice of groups for the key exchange.
type TLSCurves struct {
	Names string // the text in the file, "auto" for Go's choice
}

// String gives the text in the file.
func (c TLSCurves) String() string { return c.Names }

// IDs gives the groups for crypto/tls, nil for its own choice.
func (c TLSCurves) IDs() []tls.CurveID {
	ids, _ := curveIDs(c.Names)
	return ids
}

// tlsCurves reads groups by OpenSSL's names.
func tlsCurves(text string) (TLSCurves, error) {
	_, err := curveIDs(text)
	return TLSCurves{text}, err
}

func curveIDs(text string) ([]tls.CurveID, error) {
	if text == "auto" {
		return nil, nil
	}
	var ids []tls.CurveID
	for _, name := range words(text) {
		id, ok := map[string]tls.CurveID{
			"x25519mlkem768": tls.X25519MLKEM768, "x25519": tls.X25519,
			"prime256v1": tls.CurveP256, "secp256r1": tls.CurveP256, "p-256": tls.CurveP256,
			"secp384r1": tls.CurveP384, "p-384": tls.CurveP384,
			"secp521r1": tls.CurveP521, "p-521": tls.CurveP521,
		}[strings.ToLower(name)]
		if !ok {
			return nil, fmt.Errorf("must be auto or some of X25519MLKEM768, X25519, prime256v1, secp384r1 and"+
				" secp521r1, has %q", name)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// words parts a list with colons, commas or blanks; it is never empty.
func words(text string) []string {
	all := strings.FieldsFunc(text, func(c rune) bool { return c == ':' || c == ',' || c == ' ' })
	if len(all) == 0 {
		return []string{""}
	}
	return all
}
