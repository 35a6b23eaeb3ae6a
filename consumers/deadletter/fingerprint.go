package deadletter

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/events"
)

// FingerprintOf hashes what makes two failures alike: the service, the event type, the error code, and the cause as [CauseOf] or
// [CauseOfText] tells it. The class is no part of it: it says how an event ended, and not why.
func FingerprintOf(service, eventType, code, cause string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{service, eventType, code, cause}, "\x00")))
	return hex.EncodeToString(sum[:4])
}

// maxCauseBytes bounds a cause, and maxTextBytes the text that it is made from.
const (
	maxCauseBytes = 200
	maxTextBytes  = 2048
)

// CauseOf tells what is behind an error, in words that are the same whenever it comes again:
//
//   - of a panic, the function where it happened, and of a run-time error also which one it was;
//   - else the type of the innermost error that has one of its own, with its code: that of an SQLState, ErrorCode or Code method, or the
//     number that it is;
//   - else the text as [CauseOfText] reduces it.
//
// Errors of packages fmt and errors have no type of their own, nor have those of this module that only wrap others. ids are the IDs of
// the event and its device, which the text may name. Where a method of an error panics, the type of err is the cause.
func CauseOf(err error, ids ...string) (cause string) {
	defer func() {
		if recover() != nil {
			cause = fmt.Sprintf("%T", err)
		}
	}()
	inner := innermost(err, 0)
	if inner == nil {
		return CauseOfText(err.Error(), ids...)
	}
	cause = fmt.Sprintf("%T", inner)
	if p, ok := inner.(*failure.PanicError); ok {
		cause = "panic " + p.At
		if run, ok := p.Value.(interface{ RuntimeError() }); ok {
			cause += " " + CauseOfText(run.(error).Error(), ids...)
		}
		return cut(cause, maxCauseBytes)
	}
	if code := codeIn(inner); code != "" {
		cause += " " + code
	}
	return cut(cause, maxCauseBytes)
}

// maxDepth bounds how deep a chain of errors is followed.
const maxDepth = 100

// innermost finds the innermost error with a type of its own; of several that are joined, that of the first which has one. It is nil if
// there is none. A panic is not looked into.
func innermost(err error, depth int) error {
	if err == nil || depth > maxDepth {
		return nil
	}
	if _, ok := err.(*failure.PanicError); ok {
		return err
	}
	switch wrapper := err.(type) {
	case interface{ Unwrap() error }:
		if inner := innermost(wrapper.Unwrap(), depth+1); inner != nil {
			return inner
		}
	case interface{ Unwrap() []error }:
		for _, one := range wrapper.Unwrap() {
			if inner := innermost(one, depth+1); inner != nil {
				return inner
			}
		}
	}
	if hasOwnType(err) {
		return err
	}
	return nil
}

func hasOwnType(err error) bool {
	switch err.(type) {
	case *failure.KnownError, *failure.RetryAfterError, *failure.UnavailableError, *events.Error:
		return false
	}
	t := reflect.TypeOf(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	path := t.PkgPath()
	return path != "fmt" && path != "errors" && !strings.HasSuffix(path, "/errors") && !strings.HasSuffix(path, "/xerrors")
}

// codeIn is the code that an error has beside its type; empty if it has none.
func codeIn(err error) string {
	switch coded := err.(type) {
	case interface{ SQLState() string }:
		return coded.SQLState()
	case interface{ ErrorCode() string }:
		return coded.ErrorCode()
	case interface{ Code() string }:
		return coded.Code()
	case interface{ Code() int }:
		return strconv.Itoa(coded.Code())
	}
	switch v := reflect.ValueOf(err); {
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10)
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10)
	}
	return ""
}

// What differs between two texts of one cause: in this order, as an address has numbers in it.
var varying = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile("\"[^\"]*\"|`[^`]*`|“[^”]*”|„[^“”]*[“”]|«[^»]*»"), `"…"`},
	{regexp.MustCompile(`(^|[\s(\[{=:,])'[^']*'`), `$1"…"`},
	{regexp.MustCompile(`(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "#"},
	{regexp.MustCompile(`(?i)\[[0-9a-f:.]*:[0-9a-f:.%a-z]*\](:\d+)?|\b\d{1,3}(\.\d{1,3}){3}(:\d+)?\b`), "#"},
	{regexp.MustCompile(`(?i)\b0x[0-9a-f]+\b`), "#"},
	{regexp.MustCompile(`(?i)\b[a-f]*\d[0-9a-f]*\b`), "#"}, // hexadecimal, and no word
	{regexp.MustCompile(`\d+(?:[.,:]\d+)*`), "#"},
	{regexp.MustCompile(`#(?:[-_/.:,]? ?#)+`), "#"},
	{regexp.MustCompile(`\s+`), " "},
}

// CauseOfText reduces the text of an error to what is the same whenever it comes again: without numbers, UUIDs and other hexadecimal
// IDs, addresses, quoted strings, and the given IDs of three bytes or more. It is bounded.
func CauseOfText(text string, ids ...string) string {
	if len(text) > maxTextBytes {
		text = cut(text, maxTextBytes)
	}
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b string) int { return len(b) - len(a) }) // one may be a part of another
	for _, id := range ids {
		if len(id) >= 3 {
			text = withoutWord(text, id)
		}
	}
	for _, v := range varying {
		text = v.what.ReplaceAllString(text, v.by)
	}
	return cut(strings.TrimSpace(text), maxCauseBytes)
}

// withoutWord replaces a word where it stands by itself.
func withoutWord(text, word string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, word)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		last, _ := utf8.DecodeLastRuneInString(before)
		next, _ := utf8.DecodeRuneInString(after)
		if before != "" && inWord(last) || after != "" && inWord(next) {
			out.WriteString(word)
		} else {
			out.WriteByte('#')
		}
		text = after
	}
}

func inWord(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }
