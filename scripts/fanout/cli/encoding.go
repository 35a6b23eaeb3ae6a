package cli

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// utf8Text gives the text of r in UTF-8, without a byte order mark. Editors and shells on Windows write UTF-16 or such a mark. It reads UTF-16 by
// its mark, or by a zero byte beside the first character, and passes everything else on as it is. What is known to be something else
// is an error that says what.
func utf8Text(r io.Reader) io.Reader { return &textReader{in: bufio.NewReaderSize(r, 64<<10)} }

type textReader struct {
	in    *bufio.Reader
	begun bool
	order binary.ByteOrder // of UTF-16; nil for UTF-8
	high  rune             // the first half of a surrogate pair, or 0
	err   error            // for good
}

// beginnings are those of texts and of files that are no text.
var beginnings = []struct {
	bytes string
	order binary.ByteOrder
	mark  bool   // the bytes are no part of the text
	is    string // what the file is, if it is no input
}{
	{"\xEF\xBB\xBF", nil, true, ""},
	{"\xFF\xFE\x00\x00", nil, false, "it is in UTF-32, want UTF-8 or UTF-16"},
	{"\x00\x00\xFE\xFF", nil, false, "it is in UTF-32, want UTF-8 or UTF-16"},
	{"\xFF\xFE", binary.LittleEndian, true, ""},
	{"\xFE\xFF", binary.BigEndian, true, ""},
	{"{\x00", binary.LittleEndian, false, ""},
	{"\x00{", binary.BigEndian, false, ""},
	{"\x1F\x8B", nil, false, "it is compressed by gzip, want text: unpack it first"},
	{"PK\x03\x04", nil, false, "it is a ZIP archive, want text: unpack it first"},
	{"\x28\xB5\x2F\xFD", nil, false, "it is compressed by Zstandard, want text: unpack it first"},
}

// begin sees what the text begins with.
func (t *textReader) begin() {
	t.begun = true
	head, _ := t.in.Peek(4) // an error comes again
	for _, b := range beginnings {
		if !bytes.HasPrefix(head, []byte(b.bytes)) {
			continue
		}
		t.order = b.order
		if b.mark {
			_, t.err = t.in.Discard(len(b.bytes))
		}
		if b.is != "" {
			t.err = errors.New(b.is)
		}
		return
	}
}

// Read implements io.Reader.
func (t *textReader) Read(p []byte) (int, error) {
	if !t.begun {
		t.begin()
	}
	switch {
	case t.err != nil:
		return 0, t.err
	case t.order == nil || len(p) < 2*utf8.UTFMax:
		if t.order != nil {
			return 0, io.ErrShortBuffer
		}
		return t.in.Read(p)
	}
	out := p[:0:len(p)]
	for len(out)+2*utf8.UTFMax <= cap(p) && (len(out) == 0 || t.in.Buffered() >= 2) { // what there is
		var unit [2]byte
		if n, err := io.ReadFull(t.in, unit[:]); err != nil {
			if n > 0 || t.high != 0 {
				out = append(out, notUTF8)
			}
			if t.err = err; n > 0 {
				t.err = io.EOF
			}
			break
		}
		out = t.append(out, rune(t.order.Uint16(unit[:])))
	}
	if len(out) > 0 {
		return len(out), nil
	}
	return 0, t.err
}

// notUTF8 stands for what is no UTF-16, so that the line that it is in is refused, and no other.
const notUTF8 = 0xFF

// append appends a unit of UTF-16, or keeps it if it is the first half of a pair.
func (t *textReader) append(out []byte, unit rune) []byte {
	high := t.high
	t.high = 0
	if high != 0 {
		if r := utf16.DecodeRune(high, unit); r != utf8.RuneError {
			return utf8.AppendRune(out, r)
		}
		out = append(out, notUTF8)
	}
	switch {
	case !utf16.IsSurrogate(unit):
		return utf8.AppendRune(out, unit)
	case unit < 0xDC00:
		t.high = unit
		return out
	}
	return append(out, notUTF8)
}
