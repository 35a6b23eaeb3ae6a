package spool

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
)

// Fields is how many short texts a record has beside its body.
const Fields = 5

// Record is what is kept. Key says what it must stay in order with.
type Record struct {
	Sequence int64
	Key      string
	Fields   [Fields]string // as the caller gave them
	Body     []byte
}

const (
	mark         = "\xF4FO1"
	headerBytes  = len(mark) + 4 + 4 // mark, length of the payload, check sum of length and payload
	maxPayload   = 4 << 20
	smallestBody = 8 // a payload has a sequence at least
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Size is how many bytes the record takes on disk.
func (r Record) Size() int {
	size := headerBytes + 8 + stringSize(r.Key) + len(r.Body)
	for _, field := range r.Fields {
		size += stringSize(field)
	}
	return size
}

func stringSize(s string) int {
	size := 1
	for n := len(s); n >= 0x80; n >>= 7 {
		size++
	}
	return size + len(s)
}

// appendRecord appends the record as it stands on disk.
func appendRecord(out []byte, r Record) []byte {
	start := len(out)
	out = append(out, mark...)
	out = append(out, make([]byte, 8)...)
	out = binary.BigEndian.AppendUint64(out, uint64(r.Sequence))
	out = appendString(out, r.Key)
	for _, field := range r.Fields {
		out = appendString(out, field)
	}
	out = append(out, r.Body...)
	header := out[start+len(mark):]
	binary.BigEndian.PutUint32(header, uint32(len(out)-start-headerBytes))
	binary.BigEndian.PutUint32(header[4:], checkSum(out[start:]))
	return out
}

func appendString(out []byte, s string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(s))), s...)
}

// checkSum is that of a whole record: of its length and its payload.
func checkSum(record []byte) uint32 {
	sum := crc32.Checksum(record[len(mark):len(mark)+4], castagnoli)
	return crc32.Update(sum, castagnoli, record[headerBytes:])
}

// payloadLength reads the length in a header. It is false when no record of ours begins here.
func payloadLength(header []byte) (int, bool) {
	if len(header) < headerBytes || string(header[:len(mark)]) != mark {
		return 0, false
	}
	n := binary.BigEndian.Uint32(header[len(mark):])
	return int(n), n >= smallestBody && n <= maxPayload
}

// parse reads the record that data begins with and returns its size on disk, or 0 when there is none whose check sum fits.
// The record's body shares memory with data.
func parse(data []byte) (Record, int) {
	n, ok := payloadLength(data)
	if !ok || len(data) < headerBytes+n {
		return Record{}, 0
	}
	data = data[:headerBytes+n]
	if binary.BigEndian.Uint32(data[len(mark)+4:]) != checkSum(data) {
		return Record{}, 0
	}
	rest := data[headerBytes:]
	r := Record{Sequence: int64(binary.BigEndian.Uint64(rest))}
	rest = rest[8:]
	if r.Key, rest, ok = cutString(rest); !ok {
		return Record{}, 0
	}
	for i := range r.Fields {
		if r.Fields[i], rest, ok = cutString(rest); !ok {
			return Record{}, 0
		}
	}
	r.Body = rest
	return r, len(data)
}

func cutString(data []byte) (s string, rest []byte, ok bool) {
	n, size := binary.Uvarint(data)
	if size <= 0 || n > math.MaxInt32 || uint64(len(data)-size) < n {
		return "", nil, false
	}
	data = data[size:]
	return string(data[:n]), data[n:], true
}

// scan calls found for every whole record of a segment, and damaged for every piece between them.
func scan(data []byte, found func(offset int, r Record, size int), damaged func(offset, size int)) {
	for at := 0; at < len(data); {
		if r, size := parse(data[at:]); size > 0 {
			found(at, r, size)
			at += size
			continue
		}
		next := at + 1
		for ; next < len(data); next++ {
			skip := bytes.Index(data[next:], []byte(mark))
			if skip < 0 {
				next = len(data)
				break
			}
			next += skip
			if _, size := parse(data[next:]); size > 0 {
				break
			}
		}
		damaged(at, next-at)
		at = next
	}
}

// halfWritten tells whether a damaged piece at the end of a segment is the beginning of a record that a crash cut off.
func halfWritten(piece []byte) bool {
	if len(bytes.Trim(piece, "\x00")) == 0 { // room that the file system had made, and not filled
		return true
	}
	if len(piece) < headerBytes {
		return bytes.HasPrefix(piece, []byte(mark)[:min(len(piece), len(mark))])
	}
	n, ok := payloadLength(piece)
	return ok && len(piece) < headerBytes+n
}
