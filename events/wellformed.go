package events

// maxNesting is how deep JSON may be nested, as in encoding/json.
const maxNesting = 10_000

// unescaped marks the bytes that may stand in a JSON string as they are; the rest of UTF-8 is not this table's business.
var unescaped = func() (table [256]bool) {
	for c := 0x20; c < 256; c++ {
		table[c] = c != '"' && c != '\\'
	}
	return table
}()

// wellFormed tells whether text is exactly one JSON value, as json.Valid does. It walks through values instead of calling a state
// machine byte by byte, which takes a fraction of the time; every event is read through it.
func wellFormed(text []byte) bool {
	i, ok := skipValue(text, skipSpace(text, 0), 1)
	return ok && skipSpace(text, i) == len(text)
}

// skipValue returns the index after the value that begins at i, if it is one. depth is how many brackets are open with it, if it is
// an object or a list.
func skipValue(text []byte, i, depth int) (end int, ok bool) {
	if i == len(text) {
		return i, false
	}
	switch text[i] {
	case '{':
		return skipMembers(text, i, depth, '}', true)
	case '[':
		return skipMembers(text, i, depth, ']', false)
	case '"':
		return skipString(text, i)
	case 't':
		return skipWord(text, i, "true")
	case 'f':
		return skipWord(text, i, "false")
	case 'n':
		return skipWord(text, i, "null")
	default:
		return skipNumber(text, i)
	}
}

// skipMembers does so for an object or a list.
func skipMembers(text []byte, i, depth int, bracket byte, named bool) (end int, ok bool) {
	if depth > maxNesting {
		return i, false
	}
	i = skipSpace(text, i+1)
	if i < len(text) && text[i] == bracket {
		return i + 1, true
	}
	for {
		if named {
			if i == len(text) || text[i] != '"' {
				return i, false
			}
			if i, ok = skipString(text, i); !ok {
				return i, false
			}
			if i = skipSpace(text, i); i == len(text) || text[i] != ':' {
				return i, false
			}
			i = skipSpace(text, i+1)
		}
		if i, ok = skipValue(text, i, depth+1); !ok {
			return i, false
		}
		i = skipSpace(text, i)
		switch {
		case i == len(text):
			return i, false
		case text[i] == bracket:
			return i + 1, true
		case text[i] != ',':
			return i, false
		}
		i = skipSpace(text, i+1)
	}
}

// skipString does so for a string.
func skipString(text []byte, i int) (end int, ok bool) {
	for i++; ; i++ {
		for i < len(text) && unescaped[text[i]] {
			i++
		}
		if i == len(text) {
			return i, false
		}
		switch text[i] {
		case '"':
			return i + 1, true
		case '\\':
			if i++; i == len(text) {
				return i, false
			}
			switch text[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if i++; i == len(text) || !isHex(text[i]) {
						return i, false
					}
				}
			default:
				return i, false
			}
		default: // a control character
			return i, false
		}
	}
}

func isHex(c byte) bool { return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// skipWord does so for a word.
func skipWord(text []byte, i int, word string) (end int, ok bool) {
	end = i + len(word)
	return end, end <= len(text) && string(text[i:end]) == word
}

// skipNumber does so for a number.
func skipNumber(text []byte, i int) (end int, ok bool) {
	if i < len(text) && text[i] == '-' {
		i++
	}
	first := i
	if i = skipDigits(text, i); i == first || text[first] == '0' && i > first+1 {
		return i, false
	}
	if i < len(text) && text[i] == '.' {
		first := i + 1
		if i = skipDigits(text, first); i == first {
			return i, false
		}
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		if i++; i < len(text) && (text[i] == '+' || text[i] == '-') {
			i++
		}
		first := i
		if i = skipDigits(text, i); i == first {
			return i, false
		}
	}
	return i, true
}

func skipDigits(text []byte, i int) int {
	for i < len(text) && isDigit(text[i]) {
		i++
	}
	return i
}
