package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// The functions of this file walk over JSON text without building a tree. [checkJSON] has found the text well-formed
// before, so all that follows may trust it and only has to find where values begin and end.

// checkJSON reports whether text is exactly one JSON object in UTF-8.
func checkJSON(text []byte) error {
	start := skipSpace(text, 0)
	if start == len(text) {
		return errors.New("got an empty text, want an object")
	}
	if !utf8.Valid(text) {
		for i := 0; i < len(text); {
			r, size := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && size == 1 {
				return fmt.Errorf("byte %d: got 0x%02x, want UTF-8", i+1, text[i])
			}
			i += size
		}
	}
	if !wellFormed(text) {
		if bytes.HasPrefix(text, []byte("\uFEFF")) {
			return errors.New("byte 1: got a byte order mark, want UTF-8 without one")
		}
		var ignored json.RawMessage
		if syntax, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(text, &ignored)); ok {
			return fmt.Errorf("byte %d: %w", syntax.Offset, syntax)
		}
		return errors.New("got no JSON, want an object")
	}
	if text[start] != '{' {
		return fmt.Errorf("got %s, want an object", describeJSON(text[start:]))
	}
	return nil
}

// skipSpace returns the index of the first byte at or after i that is no JSON white space.
func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r') {
		i++
	}
	return i
}

// valueEnd returns the index after the value that begins at i.
func valueEnd(text []byte, i int) int {
	switch text[i] {
	case '"':
		return stringEnd(text, i)
	case '{', '[':
		for depth := 0; ; {
			switch text[i] {
			case '"':
				i = stringEnd(text, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			i++
			if depth == 0 {
				return i
			}
		}
	default: // a number or a word ends where something else begins
		for i < len(text) {
			switch text[i] {
			case ',', '}', ']', ' ', '\t', '\n', '\r':
				return i
			}
			i++
		}
		return i
	}
}

// stringEnd returns the index after the string that begins at i.
func stringEnd(text []byte, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// walker steps through an object's members or a list's elements. With only text set it stands before the first.
type walker struct {
	text []byte // the object or list, from its bracket on
	at   int
}

// member returns the next member of an object: its name, unquoted, and its value as it stands. ok is false at the end.
func (w *walker) member() (name, value []byte, ok bool) {
	start, ok := w.next()
	if !ok {
		return nil, nil, false
	}
	end := stringEnd(w.text, start)
	name = w.text[start+1 : end-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		unquoted, _ := unquote(w.text[start:end]) // half a surrogate pair makes a name that nobody has
		name = []byte(unquoted)
	}
	start = skipSpace(w.text, skipSpace(w.text, end)+1) // over the colon
	w.at = valueEnd(w.text, start)
	return name, w.text[start:w.at], true
}

// element returns the next element of a list as it stands. ok is false at the end.
func (w *walker) element() (value []byte, ok bool) {
	start, ok := w.next()
	if !ok {
		return nil, false
	}
	w.at = valueEnd(w.text, start)
	return w.text[start:w.at], true
}

// next steps over the opening bracket or a comma, and returns where a member or element begins.
func (w *walker) next() (start int, ok bool) {
	i := skipSpace(w.text, w.at)
	if w.at == 0 {
		start = skipSpace(w.text, i+1)
		return start, w.text[start] != '}' && w.text[start] != ']'
	}
	if w.text[i] != ',' {
		return 0, false
	}
	return skipSpace(w.text, i+1), true
}

// unquote returns the string that the JSON string raw stands for. ok is false when an escape is half a surrogate pair,
// which stands for no character.
func unquote(raw []byte) (text string, ok bool) {
	body := raw[1 : len(raw)-1]
	if bytes.IndexByte(body, '\\') < 0 {
		return string(body), true
	}
	ok = true
	out := make([]byte, 0, len(body))
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			out = append(out, body[i])
			continue
		}
		i++
		switch body[i] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(body[i+1:])
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if i+2 < len(body) && body[i+1] == '\\' && body[i+2] == 'u' {
					low = hex4(body[i+3:])
				}
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					r, i = pair, i+6
				} else {
					r, ok = utf8.RuneError, false
				}
			}
			out = utf8.AppendRune(out, r)
		default: // a quote, a slash or a backslash stands for itself
			out = append(out, body[i])
		}
	}
	return string(out), ok
}

// hex4 returns the number that the first four bytes of digits write in hexadecimal.
func hex4(digits []byte) rune {
	var r rune
	for _, c := range digits[:4] {
		switch {
		case c <= '9':
			c -= '0'
		case c <= 'F':
			c -= 'A' - 10
		default:
			c -= 'a' - 10
		}
		r = r<<4 | rune(c)
	}
	return r
}
