package tlsconf

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"strings"
)

// ServerEndPoint is the channel binding of type tls-server-end-point (RFC 5929
// section 4.1): the hash of the server's certificate, by the algorithm that it was
// signed with, SHA-256 in the place of MD5 and SHA-1. It is nil for a certificate
// that has none, because its signature is without a hash (Ed25519).
func ServerEndPoint(cert *x509.Certificate) []byte {
	if cert == nil {
		return nil
	}
	switch cert.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		sum := sha512.Sum384(cert.Raw)
		return sum[:]
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		sum := sha512.Sum512(cert.Raw)
		return sum[:]
	case x509.PureEd25519, x509.UnknownSignatureAlgorithm:
		return nil
	}
	sum := sha256.Sum256(cert.Raw)
	return sum[:]
}

// Describe names version, cipher suite and key exchange as SHOW CLIENTS of
// PgBouncer does, "TLSv1.3/TLS_AES_256_GCM_SHA384/ECDH=X25519"; nothing for nil.
func Describe(conn *tls.Conn) string {
	if conn == nil {
		return ""
	}
	state := conn.ConnectionState()
	text := strings.ReplaceAll(tls.VersionName(state.Version), "TLS ", "TLSv") + "/" + tls.CipherSuiteName(state.CipherSuite)
	if state.CurveID != 0 {
		text += "/ECDH=" + state.CurveID.String()
	}
	return text
}
