package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/device-fanout/fanout/events"
)

const goodLine = `{"device_id":"lamp","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`

// readAll tells what became of each line: its number, with a "-" in front when it was rejected.
func readAll(r io.Reader) (seen []string, reasons []string, lines int, err error) {
	lines, err = readEvents(r, func(line int, _ events.Event) error {
		seen = append(seen, fmt.Sprint(line))
		return nil
	}, func(bad *lineError) {
		seen = append(seen, fmt.Sprint(-bad.line))
		reasons = append(reasons, bad.Error())
	})
	return seen, reasons, lines, err
}

func TestReadEvents_AccountsForEveryLine(t *testing.T) {
	t.Parallel()
	// A line may be up to maxLineBytes long, whatever it is read in.
	longest := goodLine + strings.Repeat(" ", maxLineBytes-len(goodLine))
	tests := map[string]struct {
		input string
		want  string
		why   string // part of the last reason
	}{
		"nothing":                           {"", "", ""},
		"one line":                          {goodLine + "\n", "1", ""},
		"no newline at the end":             {goodLine + "\n" + goodLine, "1 2", ""},
		"Windows line ends":                 {goodLine + "\r\n" + goodLine + "\r\n", "1 2", ""},
		"only a newline":                    {"\n", "-1", "line 1: empty line, want an event"},
		"empty lines between":               {goodLine + "\n\n" + goodLine + "\n \t\r\n" + goodLine + "\n", "1 -2 3 -4 5", "line 4: empty line"},
		"rubbish between":                   {"x\n" + goodLine + "\ny\n" + goodLine + "\n", "-1 2 -3 4", "line 3: malformed JSON"},
		"end in mid-line":                   {goodLine + "\n" + goodLine[:40], "1 -2", "line 2: the input ends in mid-line: malformed JSON"},
		"end in a bad line with its end":    {goodLine + "\n" + goodLine[:40] + "\n", "1 -2", "line 2: malformed JSON"},
		"the longest line":                  {longest + "\n" + goodLine, "1 2", ""},
		"one byte too long":                 {longest + " \n" + goodLine, "-1 2", "line 1: longer than 1048576 bytes"},
		"one byte too long without newline": {goodLine + "\n" + longest + " x", "1 -2", "line 2: longer than 1048576 bytes"},
		"several too long":                  {strings.Repeat(strings.Repeat("x", 3<<20)+"\n", 2) + goodLine, "-1 -2 3", "line 2: longer"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seen, reasons, lines, err := readAll(strings.NewReader(test.input))
			if got := strings.Join(seen, " "); got != test.want || err != nil {
				t.Errorf("lines: got %q, %v, want %q", got, err, test.want)
			}
			if lines != len(seen) {
				t.Errorf("number of lines: got %d, want %d", lines, len(seen))
			}
			if test.why != "" && !strings.Contains(reasons[len(reasons)-1], test.why) {
				t.Errorf("reason: got %q, want it to contain %q", reasons[len(reasons)-1], test.why)
			}
			if len(test.input) < 1000 { // however the bytes arrive
				if again, _, _, err := readAll(iotest.OneByteReader(strings.NewReader(test.input))); !slices.Equal(again, seen) || err != nil {
					t.Errorf("byte by byte: got %q, %v, want %q", again, err, seen)
				}
			}
		})
	}
}

func TestReadEvents_EndsWithTheErrorOfItsReaderOrTaker(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk is gone")
	seen, _, lines, err := readAll(io.MultiReader(strings.NewReader(goodLine+"\n"+goodLine[:20]), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "input: after line 1") || lines != 1 || len(seen) != 1 {
		t.Errorf("broken reader: got lines %q, %v, want one line and that error after line 1", seen, err)
	}
	full := errors.New("no more")
	lines, err = readEvents(strings.NewReader(strings.Repeat(goodLine+"\n", 5)), func(line int, _ events.Event) error {
		if line == 3 {
			return full
		}
		return nil
	}, func(*lineError) {})
	if !errors.Is(err, full) || lines != 3 {
		t.Errorf("taker that refuses line 3: got %d lines, %v, want its error", lines, err)
	}
}

func TestInterruptible_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("0123456789", 50_000)
	if got, err := io.ReadAll(interruptible(t.Context(), iotest.HalfReader(strings.NewReader(text)))); string(got) != text || err != nil {
		t.Errorf("read: got %d bytes, %v, want %d", len(got), err, len(text))
	}
	broken := errors.New("disk is gone")
	if _, err := io.ReadAll(interruptible(t.Context(), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("broken reader: got %v, want %v", err, broken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	silent, writer := io.Pipe()
	defer writer.Close()
	in := interruptible(ctx, silent)
	go func() {
		_, _ = writer.Write([]byte("some"))
		cancel()
	}()
	if _, err := io.ReadAll(in); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: got %v, want %v", err, context.Canceled)
	}
}

// FuzzReadEvents checks that nothing panics and that each line of any input is taken or rejected, once and in order.
func FuzzReadEvents(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "\r\n", "\r", "x", goodLine, goodLine + "\n", goodLine + "\r\n\r\n" + goodLine, "{}\n[]\n\n" + goodLine[:30],
		"\xff\n\x00\n", strings.Repeat("a", 70_000) + "\n" + goodLine,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		var want []string
		for line := range bytes.Lines(input) {
			text := bytes.TrimRight(line, "\r\n")
			if len(text) == 0 && !bytes.HasSuffix(line, []byte("\n")) {
				continue // at most carriage returns behind the last newline: no line
			}
			n := len(want) + 1
			if _, err := events.ParseLine(text); err != nil || len(text) > maxLineBytes {
				n = -n
			}
			want = append(want, fmt.Sprint(n))
		}
		got, reasons, lines, err := readAll(bytes.NewReader(input))
		if err != nil || lines != len(want) || !slices.Equal(got, want) {
			t.Errorf("lines: got %d, %q, %v, want %q", lines, got, err, want)
		}
		for _, reason := range reasons {
			if !strings.HasPrefix(reason, "line ") || strings.Contains(reason, "\n") {
				t.Errorf("reason: got %q, want one line with its number", reason)
			}
		}
	})
}

func BenchmarkReadEvents(b *testing.B) {
	input := []byte(generate(10_000))
	b.ReportAllocs()
	b.SetBytes(int64(len(input)))
	for b.Loop() {
		if lines, err := readEvents(bytes.NewReader(input), func(int, events.Event) error { return nil }, func(bad *lineError) { b.Error(bad) }); lines != 10_000 || err != nil {
			b.Fatal(lines, err)
		}
	}
}
