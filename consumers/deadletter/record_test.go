package deadletter

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func example() Record {
	return Record{
		Service: "history", Queue: "arn:aws:sqs:eu-central-1:000000000000:dev-history.fifo", Class: Exhausted, Code: "error",
		Error: "database is down", Fingerprint: "0123abcd", Attempts: 4, ReceiveCount: 2, MessageID: "m-1",
		SentAt: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), FailedAt: time.Date(2026, 1, 2, 3, 4, 6, 7e6, time.UTC), Redrives: 3,
	}
}

func TestRecord_ComesBackAsItWas(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]Record{
		"full":   example(),
		"zero":   {},
		"quotes": {Error: "a \"b\" <c> & 'd'\n\te\r\n", Code: "bad_<id>", Service: "ä"},
	} {
		got, err := ParseRecord(want.Encode())
		if err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
	// The names are part of the wire contract.
	const want = `{"service":"history","queue":"arn:aws:sqs:eu-central-1:000000000000:dev-history.fifo","class":"exhausted","code":"error",` +
		`"error":"database is down","fingerprint":"0123abcd","attempts":4,"receive_count":2,"message_id":"m-1",` +
		`"sent_at":"2026-01-02T03:04:05.006Z","failed_at":"2026-01-02T03:04:06.007Z","redrives":3}`
	if got := example().Encode(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestRecord_TextsAreCutBetweenCharacters(t *testing.T) {
	t.Parallel()
	const n = MaxErrorBytes
	dots := strings.Repeat(".", n)
	for name, c := range map[string]struct{ text, want string }{
		"empty":               {"", ""},
		"fits exactly":        {dots, dots},
		"one byte too many":   {dots + ".", dots[:n-3] + "…"},
		"two bytes astride":   {dots[:n-4] + "üüüü", dots[:n-4] + "…"},
		"two bytes in time":   {dots[:n-5] + "üüüü", dots[:n-5] + "ü…"},
		"four bytes astride":  {dots[:n-5] + "🔥🔥", dots[:n-5] + "…"},
		"four bytes in time":  {dots[:n-7] + "🔥🔥", dots[:n-7] + "🔥…"},
		"fits with the flame": {dots[:n-4] + "🔥", dots[:n-4] + "🔥"},
	} {
		r, err := ParseRecord(Record{Error: c.text}.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if r.Error != c.want {
			t.Errorf("%s: got …%q (%d bytes), want …%q (%d bytes)", name, tail(r.Error), len(r.Error), tail(c.want), len(c.want))
		}
	}
	r, err := ParseRecord(Record{Error: strings.Repeat("\xff", 5000), Code: strings.Repeat("ü", 5000)}.Encode())
	if err != nil || len(r.Error) > MaxErrorBytes || len(r.Error) < MaxErrorBytes-5 || len(r.Code) > MaxCodeBytes || len(r.Code) < MaxCodeBytes-5 {
		t.Errorf("got an error text of %d bytes and a code of %d, %v", len(r.Error), len(r.Code), err)
	}
}

func tail(s string) string { return s[max(0, len(s)-12):] }

func TestRecord_HoldsOnlyWhatSQSAccepts(t *testing.T) {
	t.Parallel()
	evil := "a\x00b\x07c\x1bd\uFFFEe\uFFFFf\xffg\xed\xa0\x80h\u2028"
	text := Record{
		Service: evil, Queue: evil, Class: Class(evil), Code: evil, Error: evil, Fingerprint: evil, MessageID: evil,
		SentAt: time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC), // JSON has no such year
	}.Encode()
	checkLegal(t, text)
	r, err := ParseRecord(text)
	if err != nil {
		t.Fatal(err)
	}
	if want := "a�b�c�d�e�f�g���h\u2028"; r.Error != want {
		t.Errorf("got error %q, want %q", r.Error, want)
	}
	if !r.SentAt.IsZero() {
		t.Errorf("got sent at %v, want none", r.SentAt)
	}
}

// checkLegal fails for what SQS would refuse in an attribute.
func checkLegal(t *testing.T, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%q is no UTF-8", text)
	}
	for _, c := range text {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0xFFFE || c == 0xFFFF {
			t.Errorf("%q holds %U", text, c)
		}
	}
}

func TestParseRecord_RefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "null garbage", "[]", `"text"`, `{"service":7}`, `{"attempts":"many"}`, `{"attempts":1e99}`, `{"sent_at":"yesterday"}`, "{", "\xff"} {
		r, err := ParseRecord(text)
		if err == nil || r != (Record{}) {
			t.Errorf("%q: got %+v, %v, want an error", text, r, err)
		} else if !strings.HasPrefix(err.Error(), "deadletter: ") {
			t.Errorf("%q: got %v, want it to begin with the package", text, err)
		}
	}
	if _, err := ParseRecord(strings.Repeat("x", 1<<20)); len(err.Error()) > 500 {
		t.Errorf("the error has %d bytes, want only the beginning of what was found", len(err.Error()))
	}
	if r, err := ParseRecord(`{"service":"history","new":{"field":[1]}}`); err != nil || r.Service != "history" {
		t.Errorf("a field of a later version: got %+v, %v", r, err)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add(example().Encode())
	f.Add(`{}`)
	f.Add(`null`)
	f.Add(`{"service":"x","error":"\ud800","code":"\uffff","redrives":-1,"sent_at":"0000-01-01T00:00:00+23:59"}`)
	f.Add(`{"SERVICE":"x","failed_at":"9999-12-31T23:59:59-23:59"}`)
	f.Add("{\"error\":\"" + strings.Repeat("ä", 1000) + "\"}")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRecord(text)
		if err != nil {
			if r != (Record{}) {
				t.Errorf("got %+v with error %v", r, err)
			}
			return
		}
		encoded := r.Encode()
		checkLegal(t, encoded)
		if !json.Valid([]byte(encoded)) {
			t.Fatalf("%s is no JSON", encoded)
		}
		again, err := ParseRecord(encoded)
		if err != nil {
			t.Fatalf("%s: %v", encoded, err)
		}
		if len(again.Error) > MaxErrorBytes || len(again.Code) > MaxCodeBytes {
			t.Errorf("error of %d bytes, code of %d", len(again.Error), len(again.Code))
		}
		if twice := again.Encode(); twice != encoded {
			t.Errorf("encoded twice: got %s, want %s", twice, encoded)
		}
	})
}
