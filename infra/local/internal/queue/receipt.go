package queue

import (
	"encoding/base64"
	"encoding/binary"
	"hash/maphash"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
)

// receipt names one receive of one message: the message, and how often it had been received in this queue.
// Its handle is computed, not stored, so that handles cost no memory.
type receipt struct {
	sequence Sequence
	received uint32
}

const (
	receiptBytes = 8 + 4
	handleBytes  = receiptBytes + 8
)

var handleEncoding = base64.RawURLEncoding

// appendHandle appends the handle of r to dst. The handle ends in a keyed checksum, by which a queue knows its own.
func (q *Queue) appendHandle(dst []byte, r receipt) []byte {
	var raw [handleBytes]byte
	binary.BigEndian.PutUint64(raw[:], uint64(r.sequence))
	binary.BigEndian.PutUint32(raw[8:], r.received)
	binary.BigEndian.PutUint64(raw[receiptBytes:], maphash.Bytes(q.handleSeed, raw[:receiptBytes]))
	return handleEncoding.AppendEncode(dst, raw[:])
}

// parseHandle returns what a handle names, or ReceiptHandleIsInvalid when this queue never gave it.
func (q *Queue) parseHandle(handle string) (receipt, error) {
	var raw [handleBytes]byte
	if len(handle) == handleEncoding.EncodedLen(handleBytes) {
		if _, err := handleEncoding.Strict().Decode(raw[:], []byte(handle)); err == nil &&
			binary.BigEndian.Uint64(raw[receiptBytes:]) == maphash.Bytes(q.handleSeed, raw[:receiptBytes]) {
			return receipt{
				sequence: Sequence(binary.BigEndian.Uint64(raw[:])),
				received: binary.BigEndian.Uint32(raw[8:]),
			}, nil
		}
	}
	return receipt{}, apierr.New(CodeInvalidReceiptHandle,
		`The input receipt handle "%s" is not a valid receipt handle.`, handle)
}
