package terminal

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"
)

func TestClean_LeavesNothingToObeyOrToMiss(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":              "",
		"plain\ttext\n": "plain\ttext\n",
		"21.4 °C 温度 ü – “x” … ✓ 🏠":     "21.4 °C 温度 ü – “x” … ✓ 🏠",
		"a\x1b[2J\x1b]0;title\x07\r\b": `a\u001b[2J\u001b]0;title\u0007\u000d\u0008`,
		"\x00\x7f\u0080\u009b31m":      `\u0000\u007f\u0080\u009b31m`,
		"\u202egnp.exe\u202c \u2066x":  `\u202egnp.exe\u202c \u2066x`,
		"a\u200bb\u200dc\ufeff\u00ad":  `a\u200bb\u200dc\ufeff\u00ad`,
		"\u061c\u2028\u3164\ufe0f":     `\u061c\u2028\u3164\ufe0f`,
		"\U000e0041\U000e0100":         `\udb40\udc41\udb40\udd00`,
		"\xff\x9b31m\xc3":              "��31m�",
	} {
		if got := Clean(text); got != want {
			t.Errorf("Clean(%q): got %q, want %q", text, got, want)
		}
	}
	if got, want := Line("one\ntwo\tthree\x1b"), `one two three\u001b`; got != want {
		t.Errorf("Line: got %q, want %q", got, want)
	}
}

func TestWriter_WaitsForTheEndOfACharacter(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := NewWriter(&out)
	text := "21 °C 🏠 \u009b \u202e end \xf0\x9f"
	if _, err := io.Copy(w, iotest.OneByteReader(strings.NewReader(text))); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), `21 °C 🏠 \u009b \u202e end `; got != want {
		t.Errorf("before the flush: got %q, want %q", got, want)
	}
	for range 2 {
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := out.String(), Clean(text); got != want {
		t.Errorf("in all: got %q, want %q", got, want)
	}
	if Under(w) != &out || Under(&out) != &out {
		t.Error("under: got another writer, want the one that it passes on to")
	}
}

// A live view shows what comes from elsewhere as it is, and still draws in place.
func TestScreen_ObeysOnlyItself(t *testing.T) {
	t.Parallel()
	s, tty := newTestScreen(60, 10)
	hostile := "x\x1b[2J\u202e\r\x1b]0;title\x07"
	const shown = `x\u001b[2J\u202e\u000d\u001b]0;title\u0007`
	s.Draw([]string{"1" + hostile, "2\nforged\tcell"})
	tty.want(t, "view", "1"+shown, "2 forged cell", "")
	_, _ = io.WriteString(s, "above "+hostile+"\nhalf "+hostile)
	s.Draw([]string{"1" + strings.Repeat(hostile, 2), "2"})
	tty.want(t, "second view", "above "+shown, Shorten("1"+shown+shown, 59), "2", "")
	s.Leave()
	_, _ = io.WriteString(s, hostile+"\n")
	long := "half " + shown + shown
	tty.want(t, "after", "above "+shown, Shorten("1"+shown+shown, 59), "2", long[:60], long[60:], "")
}

// FuzzWriter: whatever is written, in whatever pieces, nothing is left for a terminal to obey, and JSON stays the same.
func FuzzWriter(f *testing.F) {
	f.Add("a\x1b[2J\u202e\U000e0041", 1)
	f.Add(`{"a":"\u001b"}`, 3)
	f.Add("\xff\xf0\x9f\x8f", 2)
	f.Fuzz(func(t *testing.T, text string, size int) {
		size = min(max(size, 1), 1000)
		var out bytes.Buffer
		w := NewWriter(&out)
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if wrote, err := w.Write([]byte(rest[:n])); wrote != n || err != nil {
				t.Fatalf("write: got %d, %v, want %d", wrote, err, n)
			}
			rest = rest[n:]
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		got := out.String()
		if got != Clean(text) || !utf8.ValidString(got) || strings.ContainsFunc(got, isUnseen) {
			t.Errorf("got %q, want %q and nothing unseen", got, Clean(text))
		}
		encoded, err := json.Marshal(map[string]string{text: text})
		if err != nil {
			t.Fatal(err)
		}
		var before, after any
		if err := json.Unmarshal(encoded, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(Clean(string(encoded))), &after); err != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("JSON: got %q, %v, want the same value as %q", Clean(string(encoded)), err, encoded)
		}
	})
}
