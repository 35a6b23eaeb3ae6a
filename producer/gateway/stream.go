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
	"golang.org/x/time/rate"

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
		mode: lineMode, gateway: g, key: key, control: control,
		places:  make(chan struct{}, g.cfg.Window),
		room:    semaphore.NewWeighted(windowBytes),
		answers: make(chan lineAnswer, g.cfg.Window),
		lanes:   newLanes(ctx, g.send),
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

// lineStream is one stream of lines, or a batch.
type lineStream struct {
	mode    mode
	gateway *Gateway
	key     Key
	control *http.ResponseController
	places  chan struct{}       // a place is taken by every line whose answer is not written yet
	room    *semaphore.Weighted // and the bytes of it
	answers chan lineAnswer     // a line with a place never finds it full
	lanes   *lanes
}

// lineAnswer is the answer to a line: an acceptance or a problem.
type lineAnswer struct {
	line  int
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
			s.take(ctx, n, line, tooLong)
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

// take hands one line on, or one event of a batch. Whatever becomes of it, it is answered once. It returns the event's ID if that is to be told
// by the outcome.
func (s *lineStream) take(ctx context.Context, n int, line []byte, tooLong bool) (id string) {
	g := s.gateway
	limit := s.key.Limit.or(g.cfg.Limit)
	begin := time.Now()
	bytes := roomFor(line)
	answer := func(id string, err error) {
		if err == nil {
			g.metrics.count(s.mode.transport(), nil, time.Since(begin))
			s.answers <- lineAnswer{n, acceptance{Line: s.line(n), Status: http.StatusAccepted, EventID: id}, bytes}
			return
		}
		p := *problemOf(err)
		p.Line = s.line(n)
		if p.mayPass() && id != "" {
			p.EventID = id
		}
		g.metrics.count(s.mode.transport(), &p, time.Since(begin))
		s.answers <- lineAnswer{n, &p, bytes}
	}
	if err := s.wait(ctx, g.limits.ofKey(s.key.Name, limit)); err != nil {
		answer("", err)
		return ""
	}
	if tooLong {
		answer("", newProblem(kindTooLarge, fmt.Sprintf("want at most %d bytes", g.cfg.MaxEventBytes)))
		return ""
	}
	e, p := g.parse(line, &s.key)
	if p != nil {
		answer("", p)
		return ""
	}
	if err := s.wait(ctx, g.limits.ofDevice(s.key.Name, e.DeviceID, limit)); err != nil {
		answer(e.ID, err)
		return ""
	}
	s.lanes.submit(e, func(err error) { answer(e.ID, err) })
	return e.ID
}

// line is the number that an answer has. Those to a batch stand in its order.
func (s *lineStream) line(n int) int {
	if s.mode == batchMode {
		return 0
	}
	return n
}

// roomFor is how much of the stream's room a line takes.
func roomFor(line []byte) int64 { return min(int64(len(line)), windowBytes) }

// wait takes a token and waits until it is there.
func (s *lineStream) wait(ctx context.Context, bucket *rate.Limiter) error {
	if bucket == nil {
		return nil
	}
	r := bucket.Reserve()
	delay := r.Delay()
	if delay == 0 {
		return nil
	}
	there := time.NewTimer(delay)
	defer there.Stop()
	select {
	case <-there.C:
		return nil
	case <-ctx.Done():
		r.Cancel()
		return ctx.Err()
	case <-s.gateway.closing:
		r.Cancel()
		return newProblem(kindClosing, "")
	}
}

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
