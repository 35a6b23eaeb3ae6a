package terminal

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Writer passes on text with nothing in it that a terminal would obey or that a person would not see: see [Clean]. What is to be obeyed, as
// the sequences of a [Screen], goes to what is [Under] it. It is safe for concurrent use.
type Writer struct {
	mu   sync.Mutex
	w    io.Writer
	rest []byte // the beginning of a character whose end has not been written yet
}

// NewWriter makes a writer that passes on to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Write passes on p. The beginning of a character at its end waits for the next Write, or Flush.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) == 0 && isClean(p) {
		return w.w.Write(p)
	}
	text := append(w.rest, p...)
	whole := len(text)
	for i := 1; i < utf8.UTFMax && i <= len(text); i++ {
		if end := text[len(text)-i:]; utf8.RuneStart(end[0]) {
			if !utf8.FullRune(end) {
				whole -= i
			}
			break
		}
	}
	w.rest = append([]byte(nil), text[whole:]...)
	if _, err := io.WriteString(w.w, Clean(string(text[:whole]))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush passes on what waits for its end.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.rest) == 0 {
		return nil
	}
	_, err := io.WriteString(w.w, Clean(string(w.rest)))
	w.rest = nil
	return err
}

// Under returns what a [Writer] passes on to; any other w it returns as it is.
func Under(w io.Writer) io.Writer {
	if clean, ok := w.(*Writer); ok {
		return clean.w
	}
	return w
}

// Clean writes all characters of a text that a terminal would obey, that change the direction of others, or that can't be seen, as the
// escapes that JSON has for them, such as \u001b; but line feeds and tabs. So JSON stays the same JSON. What is no UTF-8 becomes U+FFFD.
func Clean(text string) string {
	if isClean(text) {
		return text
	}
	var b strings.Builder
	for _, c := range text {
		switch {
		case !isUnseen(c):
			b.WriteRune(c)
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, c)
		}
	}
	return b.String()
}

// Line is [Clean] of a text that is to be one line, or a cell of a table: line feeds and tabs become spaces.
func Line(text string) string {
	return strings.NewReplacer("\n", " ", "\t", " ").Replace(Clean(text))
}

// isClean tells, fast, of a text whether it is ASCII with nothing to escape.
func isClean[T string | []byte](text T) bool {
	for i := range len(text) {
		if c := text[i]; c >= utf8.RuneSelf || c == 0x7f || c < ' ' && c != '\n' && c != '\t' {
			return false
		}
	}
	return true
}

// isUnseen tells whether a character is a control character, changes the direction of text, or can't be seen.
func isUnseen(c rune) bool {
	if c == '\n' || c == '\t' {
		return false
	}
	return unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}
