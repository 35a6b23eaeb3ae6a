package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/device-fanout/fanout/internal/lines"
)

// stream takes a body of lines, one event each, and answers every line while it reads the next. The lines are read on a
// goroutine; answers are written on the request's own.
func (g *Gateway) stream(w http.ResponseWriter, r *http.Request, key Key) {
	g.metrics.streams.Inc()
	defer g.metrics.streams.Dec()
	if r.Header.Get("Expect") != "" {
		w.WriteHeader(http.StatusContinue) // before the first answer: a client may take that for a reason not to send its lines
	}
	control := http.NewResponseController(w)
	_ = control.EnableFullDuplex() // HTTP/1 wants to be asked; HTTP/2 always is
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // proxies pass the answers on as they come

	// The request's own context ends with a read that is cut off, though the client is still there to read answers. So it counts
	// only after the body's end.
	ctx, cancel := context.WithCancel(context.WithoutCancel(g.traced(r)))
	defer cancel()
	s := &lineStream{
		intake:  intake{gateway: g, key: key, transport: overStream, lanes: newLanes(ctx, g.send)},
		control: control,
		places:  make(chan struct{}, g.cfg.Window),
		room:    semaphore.NewWeighted(windowBytes),
		answers: make(chan lineAnswer, g.cfg.Window),
	}
	read := make(chan struct{})
	go func() { // ends with the body, with ctx, or with a read that is cut off
		defer close(read)
		if atEnd := s.read(ctx, r.Body); atEnd {
			context.AfterFunc(r.Context(), cancel)
		}
	}()
	var watching sync.WaitGroup
	watching.Go(func() { // ends with the reader
		select {
		case <-g.closing:
		case <-ctx.Done():
		case <-read:
			return
		}
		for { // again and again, for the reader may just have set another deadline
			_ = control.SetReadDeadline(time.Now())
			select {
			case <-time.After(cutOff):
			case <-read:
				return
			}
		}
	})
	s.write(ctx, w, read)
	cancel()
	<-read
	watching.Wait()
	s.lanes.close()
}

// cutOff is how often a read that shall end is cut off.
const cutOff = 50 * time.Millisecond

// lineStream is one stream of lines.
type lineStream struct {
	intake
	control *http.ResponseController
	places  chan struct{}       // a place is taken by every line whose answer is not written yet
	room    *semaphore.Weighted // and the bytes of it
	answers chan lineAnswer     // a line with a place never finds it full
}

// lineAnswer is the answer to a line: an acceptance or a problem.
type lineAnswer struct {
	body  any
	bytes int64 // of the line, as room counts them
}

// read takes the lines of body in their order. It tells whether it has come to the end of the body.
func (s *lineStream) read(ctx context.Context, body io.Reader) (atEnd bool) {
	g := s.gateway
	in := bufio.NewReaderSize(body, 32<<10)
	var line []byte
	for n := 1; ; n++ {
		if g.isClosing() {
			s.lastWord(ctx, n, newProblem(kindClosing, "this line and those after it were not read"))
			return false
		}
		_ = s.control.SetReadDeadline(time.Now().Add(g.cfg.LineTimeout))
		var tooLong bool
		var err error
		line, tooLong, err = lines.Read(in, line[:0], g.cfg.MaxEventBytes)
		if err != nil && !errors.Is(err, io.EOF) {
			s.brokenOff(ctx, n, err)
			return false
		}
		if tooLong || len(bytes.TrimSpace(line)) > 0 {
			var known bool
			if s.key, known = g.keys.renew(s.key); !known {
				s.lastWord(ctx, n, newProblem(kindUnauthorized, "the key was taken away; this line and those after it were not taken"))
				_ = s.control.SetReadDeadline(time.Now()) // nobody waits for the rest of the body
				return false
			}
			if !s.takePlace(ctx) || s.room.Acquire(ctx, roomFor(line)) != nil {
				return false
			}
			size := roomFor(line)
			s.take(ctx, line, tooLong, func(id string, p *Problem) {
				if p == nil {
					s.answers <- lineAnswer{acceptance{Line: n, Status: http.StatusAccepted, EventID: id}, size}
					return
				}
				p.Line = n
				s.answers <- lineAnswer{p, size}
			})
		}
		if err != nil {
			_ = s.control.SetReadDeadline(time.Time{}) // the body is over, and the answers may take longer
			return true
		}
	}
}

// brokenOff says why line n was not read to its end.
func (s *lineStream) brokenOff(ctx context.Context, n int, err error) {
	g := s.gateway
	switch {
	case g.isClosing():
		s.lastWord(ctx, n, newProblem(kindClosing, "this line and those after it were not read"))
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.lastWord(ctx, n, newProblem(kindTooSlow, fmt.Sprintf("want the next line within %v; an empty one will do", g.cfg.LineTimeout)))
	default: // if it is still there
		s.lastWord(ctx, n, newProblem(kindMalformed, "the body breaks off: "+err.Error()))
	}
}

// roomFor is how much of the stream's room a line takes.
func roomFor(line []byte) int64 { return min(int64(len(line)), windowBytes) }

// lastWord answers the line at which reading ended before the body did.
func (s *lineStream) lastWord(ctx context.Context, line int, p *Problem) {
	p.Line = line
	if s.takePlace(ctx) {
		s.answers <- lineAnswer{body: p}
	}
}

func (s *lineStream) takePlace(ctx context.Context) bool {
	select {
	case s.places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// write writes answers as they come, until every line that was read is answered, or the client is gone.
func (s *lineStream) write(ctx context.Context, w io.Writer, read <-chan struct{}) {
	encoder := json.NewEncoder(w)
	for read != nil || len(s.places) > 0 {
		var a lineAnswer
		select {
		case a = <-s.answers:
		default: // none at hand: the client should have what there is
			if err := s.flush(); err != nil {
				return
			}
			select {
			case a = <-s.answers:
			case <-ctx.Done():
				return
			case <-read:
				read = nil // only lines that wait are left
				continue
			}
		}
		_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout))
		if err := encoder.Encode(a.body); err != nil {
			return
		}
		s.room.Release(a.bytes)
		<-s.places
	}
	_ = s.flush()
}

// flush sends what is written. A client that does not read must not hold up the answers for ever.
func (s *lineStream) flush() error {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	return s.control.Flush()
}
