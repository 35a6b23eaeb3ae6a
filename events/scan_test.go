package events

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
)

// What the walker finds in a text is what encoding/json finds.
func FuzzWalker(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { "a" : 1 , "b":[ ] } `, `{"a":{"b":[1,{"c":"}"}]},"d":"\"]","\u0061b":null}`, `{"x":"\ud83d\ude00 \ud83d \u00e4\/\b\f\n\r\t\\"}`,
		`{"n":-1.5e+3,"t":true,"f":false}`, `{"l":[[],[[1]],"x"]}`, `{"\ud800\udc00\udfff":0}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if checkJSON(text) != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("checkJSON takes %q, encoding/json does not: %v", text, err)
		}
		got := map[string]json.RawMessage{}
		for members := (walker{text: text}); ; {
			name, value, ok := members.member()
			if !ok {
				break
			}
			got[string(name)] = value
			checkValue(t, value)
		}
		if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
			t.Fatalf("%q: got names of %q, want those of %q", text, got, want)
		}
		for name := range want {
			if string(got[name]) != string(want[name]) {
				t.Errorf("%q: %q: got %q, want %q", text, name, got[name], want[name])
			}
		}
	})
}

// checkValue compares what unquote and element make of a value with what encoding/json does.
func checkValue(t *testing.T, value []byte) {
	describeJSON(value)
	switch value[0] {
	case '"':
		var want string
		if err := json.Unmarshal(value, &want); err != nil {
			t.Fatal(err)
		}
		if got, _ := unquote(value); got != want {
			t.Errorf("unquote(%s): got %q, want %q", value, got, want)
		}
	case '[':
		var want []json.RawMessage
		if err := json.Unmarshal(value, &want); err != nil {
			t.Fatal(err)
		}
		elements := walker{text: value}
		for i := range want {
			if got, ok := elements.element(); !ok || string(got) != string(want[i]) {
				t.Fatalf("%s: element %d: got %q, %v, want %q", value, i, got, ok, want[i])
			}
		}
		if got, ok := elements.element(); ok {
			t.Fatalf("%s: got one more element %q", value, got)
		}
	}
}

func TestUnquote_TellsHalfASurrogatePair(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]bool{
		`"plain"`: true, `"\ud83d\ude00"`: true, `"\ufffd"`: true, `"\ud83d"`: false, `"\ude00"`: false, `"\ude00\ud83d"`: false,
		`"\ud83d\u0041"`: false, `"\ud83dx"`: false, `"\ud83d\n"`: false,
	} {
		if text, got := unquote([]byte(raw)); got != want {
			t.Errorf("unquote(%s): got %q, %v, want %v", raw, text, got, want)
		}
	}
}
