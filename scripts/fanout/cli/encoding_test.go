package cli

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
)

// inUTF16 is text as Windows writes it.
func inUTF16(order binary.AppendByteOrder, text string) string {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, unit)
	}
	return string(out)
}

// TestUTF8Text_ReadsWhatEditorsWrite: with a byte order mark or in UTF-16 an input is the same text, however it is cut into reads; what is no
// text is named.
func TestUTF8Text_ReadsWhatEditorsWrite(t *testing.T) {
	t.Parallel()
	const text = "{\"a\":\"ü€😀\"}\r\n{\"b\":1}\n"
	little := func(s string) string { return inUTF16(binary.LittleEndian, s) }
	big := func(s string) string { return inUTF16(binary.BigEndian, s) }
	for name, test := range map[string]struct{ in, want, fault string }{
		"UTF-8":                         {text, text, ""},
		"UTF-8 with a mark":             {"\uFEFF" + text, text, ""},
		"UTF-16 little endian":          {little("\uFEFF" + text), text, ""},
		"UTF-16 big endian":             {big("\uFEFF" + text), text, ""},
		"UTF-16 little endian, no mark": {little(text), text, ""},
		"UTF-16 big endian, no mark":    {big(text), text, ""},
		"nothing":                       {"", "", ""},
		"only a mark":                   {"\uFEFF", "", ""},
		"only a mark of UTF-16":         {"\xFF\xFE", "", ""},
		"one byte":                      {"{", "{", ""},
		"half a pair":                   {"\xFF\xFE" + "\x3D\xD8" + "a\x00" + "\x00\xDE" + "\x3D\xD8", "\xFFa\xFF\xFF", ""},
		"half a unit":                   {little("\uFEFFab") + "c", "ab\xFF", ""},
		"a mark within":                 {"{}\n\uFEFF{}", "{}\n\uFEFF{}", ""},
		"UTF-32":                        {"\xFF\xFE\x00\x00{\x00\x00\x00", "", "UTF-32"},
		"gzip":                          {"\x1F\x8B\x08\x00", "", "gzip"},
		"ZIP":                           {"PK\x03\x04more", "", "ZIP"},
	} {
		for way, r := range map[string]io.Reader{
			"as a whole": strings.NewReader(test.in), "byte by byte": iotest.OneByteReader(strings.NewReader(test.in)),
			"with its end": iotest.DataErrReader(strings.NewReader(test.in)),
		} {
			got, err := io.ReadAll(utf8Text(r))
			if string(got) != test.want || (err != nil) != (test.fault != "") || err != nil && !strings.Contains(err.Error(), test.fault) {
				t.Errorf("%s, %s: got %q, %v, want %q %s", name, way, got, err, test.want, test.fault)
			}
		}
	}
	broken := errors.New("broken")
	for _, in := range []string{"", "ab", "\xFF\xFE", "\xFF\xFEa\x00b\x00"} {
		if _, err := io.ReadAll(utf8Text(io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken)))); !errors.Is(err, broken) {
			t.Errorf("after %q: got %v, want the reader's own error", in, err)
		}
	}
}

// TestReadEvents_UTF16: a line that is no UTF-16 costs no other.
func TestReadEvents_UTF16(t *testing.T) {
	t.Parallel()
	in := inUTF16(binary.LittleEndian, "\uFEFF"+goodLine+"\r\n") + "\x3D\xD8" + inUTF16(binary.LittleEndian, "\r\n"+goodLine)
	seen, reasons, _, err := readAll(utf8Text(strings.NewReader(in)))
	if strings.Join(seen, " ") != "1 -2 3" || err != nil || !strings.Contains(reasons[0], "line 2: malformed JSON: byte 1: got 0xff, want UTF-8") {
		t.Errorf("got %v, %q, %v", seen, reasons, err)
	}
}
