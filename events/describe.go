package events

import (
	"fmt"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
)

// maxQuoted is how many bytes of a value an error shows.
const maxQuoted = 60

// quote returns s in quotes, with all that is not printable escaped. A long one is cut off, and its length added.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	cut := maxQuoted
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return fmt.Sprintf("%q"+cutOff+" (%d characters)", s[:cut], utf8.RuneCountInString(s))
}

// cutOff stands behind what is not shown as a whole.
const cutOff = "…"

// quoteUnlessEmpty is [quote], but returns "" for an empty text, which in a Go value means a missing one.
func quoteUnlessEmpty(text string) string {
	if text == "" {
		return ""
	}
	return quote(text)
}

// describeJSON says in a few words what the JSON value raw is.
func describeJSON(raw []byte) string {
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		text, ok := unquote(raw[:stringEnd(raw, 0)])
		if !ok {
			return quote(text) + " with half a surrogate pair"
		}
		return quote(text)
	default:
		number := raw[:valueEnd(raw, 0)]
		if len(number) > maxQuoted {
			return fmt.Sprintf("%s… (%d digits)", number[:maxQuoted], len(number))
		}
		return string(number)
	}
}

// describeGo says in a few words what the value of a payload's field is.
func describeGo(value any) string {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.String:
		return quote(v.String())
	case reflect.Slice:
		if v.Len() == 1 {
			return "a list of 1 element"
		}
		return fmt.Sprintf("a list of %d elements", v.Len())
	case reflect.Struct:
		if t, ok := value.(time.Time); ok {
			return t.Format(time.RFC3339Nano)
		}
		return "an object"
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	default:
		return fmt.Sprint(value)
	}
}
