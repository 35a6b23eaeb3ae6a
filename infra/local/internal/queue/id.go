package queue

import (
	"encoding/hex"
	"math/rand/v2"
)

// ID is a message ID: a random UUID.
type ID [16]byte

// NewID makes a random UUID, version 4.
func NewID() ID {
	var id ID
	a, b := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		id[i] = byte(a >> (8 * i))
		id[8+i] = byte(b >> (8 * i))
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// String is the usual form, lower case with hyphens.
func (id ID) String() string {
	var buf [36]byte
	return string(id.AppendTo(buf[:0]))
}

// AppendTo appends the usual form to dst.
func (id ID) AppendTo(dst []byte) []byte {
	dst = hex.AppendEncode(dst, id[0:4])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, id[4:6])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, id[6:8])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, id[8:10])
	dst = append(dst, '-')
	return hex.AppendEncode(dst, id[10:16])
}

// Sequence is a sequence number: strictly increasing within a queue, 20 decimal digits on the wire.
type Sequence uint64

// String is the 20-digit form. It overflows 64 bits, as real sequence numbers do.
func (s Sequence) String() string {
	var buf [20]byte
	return string(s.AppendTo(buf[:0]))
}

// AppendTo appends the 20-digit form to dst.
func (s Sequence) AppendTo(dst []byte) []byte {
	const digits = 17
	start := len(dst) + len(sequencePrefix)
	dst = append(dst, sequencePrefix+"00000000000000000"...)
	for i, rest := start+digits-1, uint64(s); rest > 0 && i >= start; i, rest = i-1, rest/10 {
		dst[i] = byte('0' + rest%10)
	}
	return dst
}

const sequencePrefix = "188"
