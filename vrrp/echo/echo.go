// Package echo carries the small messages that keepers send each other each
// 100 ms, sealed, over UDP and over several paths.
//
// A Codec seals and opens single datagrams; Paths are the sockets. What the
// messages mean is the business of their sender: here they are bytes.
//
// A datagram is
//
//	magic 4 | boot of the sender 16 | sequence 8 | AES-GCM of ( boot of the receiver 16 | n 1 | name of the sender n | message )
//
// in big-endian order. The key is derived from one of the cluster's keys, the
// sender's boot and the cluster's name; with the sequence as nonce none is ever
// used twice. The receiver's name is bound as additional data.
//
// A boot is a random number that a keeper draws when it starts. A message counts
// only when it names the receiver's own boot, so what was recorded before is
// worth nothing to whoever plays it back later, also to a receiver that has just
// started and remembers nothing. Two keepers that meet need one exchange to know
// each other's boots: what comes before it opens as a greeting, which is to be
// answered at once.
package echo

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// MaxDatagram is the size that no datagram exceeds, so that none is fragmented.
const MaxDatagram = 1400

const (
	magic   = "pgE1"
	headLen = len(magic) + bootLen + 8
	bootLen = 16
	tagLen  = 16
	minLen  = headLen + bootLen + 1 + tagLen
)

// Errors of Open.
var (
	// ErrGarbage is what no key opens: another program's, another cluster's,
	// another node's or a forged datagram.
	ErrGarbage = errors.New("echo: not sealed for this node")
	// ErrReplay is a datagram that has been here before, or of a start of its sender
	// that is over. Networks do that, too: it is no alarm.
	ErrReplay = errors.New("echo: an old datagram again")
	// ErrStranger is a node that is no peer by this node's configuration. It has the
	// cluster's keys, so an operator should look at it, as at a twin.
	ErrStranger = errors.New("echo: from a node that is not configured")
	// ErrTwin is another keeper that runs under this node's name.
	ErrTwin = errors.New("echo: from another keeper of this node's name")
	// ErrFlood says that datagrams of unknown boots come faster than they may cost.
	ErrFlood = errors.New("echo: too many unknown datagrams")
)

type boot [bootLen]byte

// Codec seals and opens datagrams. It belongs to one goroutine at a time.
type Codec struct {
	// Immutable.
	cluster, self string
	keys          [][]byte // the first one seals
	boot          boot
	sealer        cipher.AEAD

	seq     uint64 // of the last datagram sealed
	peers   map[string]*peer
	openers map[boot][]cipher.AEAD // of the boots that peers hold, so at most two for each
	flood   bucket
}

// peer is what is known of another node.
type peer struct {
	// proven is the boot of which a message named ours, claimed the last one that
	// did not yet; retired were proven and have been replaced.
	proven, claimed boot
	retired         []boot
	window          window // of proven
}

// maxRetired bounds how many boots of a peer are remembered: those of a keeper
// that starts again each second for five minutes.
const maxRetired = 300

// NewCodec makes a codec of a new boot for the node self among peers.
func NewCodec(cluster, self string, peers []string, keys [][]byte) (*Codec, error) {
	if len(keys) == 0 {
		return nil, errors.New("echo: no keys")
	}
	if len(self) == 0 || len(self) > 255 {
		return nil, fmt.Errorf("echo: a node's name has 1 to 255 bytes, %q has %d", self, len(self))
	}
	c := &Codec{cluster: cluster, self: self, keys: keys, peers: map[string]*peer{}, openers: map[boot][]cipher.AEAD{}}
	for _, name := range peers {
		c.peers[name] = &peer{}
	}
	rand.Read(c.boot[:])
	var err error
	for _, key := range keys { // all of them, so that a bad one is found now
		if _, err = c.derive(key, c.boot); err != nil {
			return nil, err
		}
	}
	c.sealer, err = c.derive(keys[0], c.boot)
	return c, err
}

// derive gives the key of one sender's boot.
func (c *Codec) derive(key []byte, from boot) (cipher.AEAD, error) {
	sub, err := hkdf.Key(sha256.New, key, from[:], "pgvip echo 1 "+c.cluster, len(key))
	if err != nil {
		return nil, fmt.Errorf("echo: key: %w", err)
	}
	block, err := aes.NewCipher(sub)
	if err != nil {
		return nil, fmt.Errorf("echo: key: %w", err)
	}
	return cipher.NewGCM(block)
}

// Seal gives the datagram that carries message to a peer; an empty message is a
// greeting and nothing else.
func (c *Codec) Seal(to string, message []byte) ([]byte, error) {
	p := c.peers[to]
	if p == nil {
		return nil, fmt.Errorf("%w: %s", ErrStranger, to)
	}
	size := minLen + len(c.self) + len(message)
	if size > MaxDatagram {
		return nil, fmt.Errorf("echo: a message of %d bytes is too long", len(message))
	}
	c.seq++
	out := make([]byte, headLen, size)
	copy(out, magic)
	copy(out[len(magic):], c.boot[:])
	binary.BigEndian.PutUint64(out[headLen-8:], c.seq)
	dest := p.proven
	if dest == (boot{}) {
		dest = p.claimed
	}
	plain := slices.Concat(dest[:], []byte{byte(len(c.self))}, []byte(c.self), message)
	return c.sealer.Seal(out, nonce(out), plain, c.bound(out, to)), nil
}

// nonce is the sequence: it repeats for no boot, and each boot has its key.
func nonce(datagram []byte) []byte {
	n := make([]byte, 12)
	copy(n[4:], datagram[headLen-8:headLen])
	return n
}

// bound is what a datagram's seal covers besides what it hides.
func (c *Codec) bound(datagram []byte, to string) []byte {
	return append(append([]byte(nil), datagram[:headLen]...), to...)
}

// Opened is a datagram that was sealed by a peer.
type Opened struct {
	From    string
	Message []byte
	// Greeting: the peer does not know this keeper yet, and the message is not
	// to be believed. It is to be answered, at least by an empty message.
	Greeting bool
}

// Open opens a datagram. What it costs does not depend on what is in it.
func (c *Codec) Open(now time.Duration, datagram []byte) (Opened, error) {
	if len(datagram) < minLen || len(datagram) > MaxDatagram || string(datagram[:len(magic)]) != magic {
		return Opened{}, ErrGarbage
	}
	from := boot(datagram[len(magic) : len(magic)+bootLen])
	openers, err := c.openersOf(now, from)
	if err != nil {
		return Opened{}, err
	}
	plain := c.unseal(openers, datagram)
	if plain == nil {
		return Opened{}, ErrGarbage
	}
	dest, plain := boot(plain[:bootLen]), plain[bootLen:]
	n := int(plain[0])
	if len(plain) < 1+n {
		return Opened{}, ErrGarbage
	}
	o := Opened{From: string(plain[1 : 1+n]), Message: plain[1+n:], Greeting: dest != c.boot}
	if o.From == c.self {
		return o, ErrTwin
	}
	p := c.peers[o.From]
	if p == nil {
		return o, fmt.Errorf("%w: %q", ErrStranger, o.From)
	}
	if err := c.admit(p, from, binary.BigEndian.Uint64(datagram[headLen-8:]), o.Greeting); err != nil {
		return o, err
	}
	c.openers[from] = openers
	return o, nil
}

func (c *Codec) openersOf(now time.Duration, from boot) ([]cipher.AEAD, error) {
	if known := c.openers[from]; known != nil {
		return known, nil
	}
	if !c.flood.take(now) {
		return nil, ErrFlood
	}
	openers := make([]cipher.AEAD, 0, len(c.keys))
	for _, key := range c.keys {
		aead, err := c.derive(key, from)
		if err != nil {
			return nil, err
		}
		openers = append(openers, aead)
	}
	return openers, nil
}

// unseal tries every key, also after one has fitted.
func (c *Codec) unseal(openers []cipher.AEAD, datagram []byte) []byte {
	var found []byte
	n, bound := nonce(datagram), c.bound(datagram, c.self)
	for _, aead := range openers {
		if plain, err := aead.Open(nil, n, datagram[headLen:], bound); err == nil {
			found = plain
		}
	}
	return found
}

// admit decides whether a sealed datagram is new.
func (c *Codec) admit(p *peer, from boot, seq uint64, greeting bool) error {
	if slices.Contains(p.retired, from) {
		return ErrReplay
	}
	if greeting {
		if from != p.proven && from != p.claimed {
			delete(c.openers, p.claimed)
			p.claimed = from
		}
		return nil
	}
	if from != p.proven {
		c.prove(p, from)
	}
	if !p.window.take(seq) {
		return ErrReplay
	}
	return nil
}

// prove makes from the boot of a peer that has started anew.
func (c *Codec) prove(p *peer, from boot) {
	if p.proven != (boot{}) {
		delete(c.openers, p.proven)
		p.retired = append(p.retired, p.proven)
		p.retired = p.retired[max(0, len(p.retired)-maxRetired):]
	}
	if p.claimed != from {
		delete(c.openers, p.claimed)
	}
	p.proven, p.claimed, p.window = from, boot{}, window{}
}
