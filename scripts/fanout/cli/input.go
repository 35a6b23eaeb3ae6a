package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/internal/lines"
)

// maxLineBytes bounds an input line. It is four times what the topic takes, so that an event which is only too large is told
// its size by the producer.
const maxLineBytes = 1 << 20

// exampleLine is an input line for help texts: an event of a type that the program knows.
func exampleLine() string {
	kind, _ := events.Lookup(exampleType())
	if kind.Name == "" || strings.HasPrefix(kind.Name, "device.power.") {
		return `{"device_id":"lamp-7","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`
	}
	data, _ := events.EncodeData(kind.Sample) // it was checked when it was registered
	return fmt.Sprintf(`{"device_id":"device-7","type":%q,"time":"2026-01-31T12:00:00Z","data":%s}`, kind.Name, data)
}

// formats are the input formats that are known.
var formats = []string{"ndjson"}

func checkFormat(format string) error {
	if !slices.Contains(formats, format) {
		return &exitError{exitUsage, fmt.Errorf("--format: got %q, want %s", format, strings.Join(formats, " or "))}
	}
	return nil
}

// openInput opens a file, or standard input for "-". It gives text in UTF-8; see [utf8Text].
func (g *globals) openInput(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(utf8Text(g.in)), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("input: %w", err)
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, errors.Join(fmt.Errorf("input: %s is a folder, want a file", name), f.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{utf8Text(f), f}, nil
}

// interruptible gives what r gives, until ctx ends or it is closed. A read of a terminal or a pipe can't be cut off, so r is read
// on a goroutine, which may end only with its last read.
func interruptible(ctx context.Context, r io.Reader) io.ReadCloser {
	in, out := io.Pipe()
	stop := context.AfterFunc(ctx, func() { out.CloseWithError(ctx.Err()) })
	go func() {
		defer stop()
		_, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{r}, make([]byte, 64<<10))
		out.CloseWithError(err) // io.EOF if nil
	}()
	return in
}

// lineError is an input line that is no event.
type lineError struct {
	line   int
	err    error
	cutOff bool // the input ends in the line
}

func (e *lineError) Error() string {
	return fmt.Sprintf("line %d: %s", e.line, e.reason())
}

// reason is the text without the line's number.
func (e *lineError) reason() string {
	text := strings.TrimPrefix(e.err.Error(), "events: ")
	if e.cutOff {
		return "the input ends in mid-line: " + text
	}
	return text
}

func (e *lineError) Unwrap() error { return e.err }

// readEvents reads one event from each line of r and hands it to take, or hands the line's error to reject. It goes on
// after bad lines, and ends at the end of r or when take fails. It returns the number of lines.
func readEvents(r io.Reader, take func(line int, e events.Event) error, reject func(*lineError)) (int, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	for n := 0; ; {
		var err error
		var tooLong bool
		line, tooLong, err = lines.Read(in, line[:0], maxLineBytes)
		if err != nil && !errors.Is(err, io.EOF) {
			return n, fmt.Errorf("input: after line %d: %w", n, err)
		}
		if err != nil && len(line) == 0 && !tooLong {
			return n, nil
		}
		n++
		switch {
		case tooLong:
			reject(&lineError{line: n, err: fmt.Errorf("longer than %d bytes", maxLineBytes)})
		case len(bytes.TrimSpace(line)) == 0:
			reject(&lineError{line: n, err: errors.New("empty line, want an event")})
		default:
			e, bad := events.ParseLine(line)
			if bad != nil {
				reject(&lineError{line: n, err: bad, cutOff: err != nil})
			} else if err := take(n, e); err != nil {
				return n, err
			}
		}
		if err != nil {
			return n, nil
		}
	}
}
