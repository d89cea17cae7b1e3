package loop

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// recordWriter makes records of TLS 1.3 in the place of a client, which crypto/tls
// lets nobody change the keys of. It knows TLS_AES_128_GCM_SHA256 alone, Go's
// choice wherever the processor knows AES.
type recordWriter struct {
	t      *testing.T
	to     *tlsPeer
	secret []byte
	seq    uint64
}

// newRecordWriter goes on for a client that has sent no data yet.
func newRecordWriter(t *testing.T, p *tlsPeer) *recordWriter {
	t.Helper()
	if s := p.tls.ConnectionState().CipherSuite; s != tls.TLS_AES_128_GCM_SHA256 {
		t.Fatalf("cipher suite is %s", tls.CipherSuiteName(s))
	}
	for line := range strings.Lines(p.log.String()) {
		if f := strings.Fields(line); f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			return &recordWriter{t: t, to: p, secret: secret}
		}
	}
	t.Fatalf("no secret of the client in %q", p.log.String())
	return nil
}

// expand is HKDF-Expand-Label, RFC 8446 section 7.1, without a context.
func (w *recordWriter) expand(label string, size int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(size))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(info, "tls13 "+label+"\x00"...)
	out, err := hkdf.Expand(sha256.New, w.secret, string(info), size)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// write sends one record, RFC 8446 section 5.2.
func (w *recordWriter) write(kind byte, text string) {
	block, err := aes.NewCipher(w.expand("key", 16))
	if err != nil {
		w.t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		w.t.Fatal(err)
	}
	nonce := w.expand("iv", 12)
	for i, b := range binary.BigEndian.AppendUint64(nil, w.seq) {
		nonce[4+i] ^= b
	}
	w.seq++
	header := binary.BigEndian.AppendUint16([]byte{23, 3, 3}, uint16(len(text)+1+aead.Overhead()))
	w.to.peer.send(string(aead.Seal(header, nonce, append([]byte(text), kind), header)))
}

// update goes on with the next key, RFC 8446 section 7.2.
func (w *recordWriter) update() {
	w.secret, w.seq = w.expand("traffic upd", 32), 0
}
