package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/producer"
)

const (
	// maxReported bounds the rejected lines that a summary lists; all are counted.
	maxReported = 1000
	// maxWarned bounds the rejected lines that are reported as they come.
	maxWarned = 20
)

// rejection is one input line that did not become an event on the topic.
type rejection struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// errInterrupted says that an input was not read to its end.
var errInterrupted = errors.New("interrupted")

// feed publishes the events of an input and keeps count. Lines that were accepted or rejected are in.
type feed struct {
	producer *producer.Producer
	rate     float64   // events per second; 0 for as fast as possible
	warn     io.Writer // hears of rejected lines

	in, published, failed, rejected atomic.Int64

	// offered is called before an event is handed to the producer, and what it returns when the event was not accepted after
	// all. It may be nil.
	offered   func(events.Event) (withdraw func())
	confirmed func(producer.Result) // called when the topic has confirmed an event; may be nil

	mu         sync.Mutex
	rejections []rejection
	lastError  error // why an accepted event failed
}

// run publishes every event of r. It returns when all are accepted; the producer's Close waits for their confirmation. When
// ctx ends before the input, the error is errInterrupted.
func (f *feed) run(ctx context.Context, r io.Reader) error {
	in := interruptible(ctx, r)
	defer in.Close()
	var next time.Time
	lines, err := readEvents(in, func(line int, e events.Event) error {
		if f.rate > 0 {
			if next.IsZero() {
				next = time.Now()
			}
			if err := sleepUntil(ctx, next); err != nil {
				return err
			}
			next = next.Add(time.Duration(float64(time.Second) / f.rate))
		}
		return f.publish(ctx, line, e)
	}, f.reject)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%w: of the input, %d lines were taken", errInterrupted, f.in.Load())
	case err == nil && lines == 0:
		return errors.New("input is empty, want at least one line")
	}
	return err
}

// publish hands one event to the producer. An event that breaks its contract is a rejected line; the rest goes on.
func (f *feed) publish(ctx context.Context, line int, e events.Event) error {
	withdraw := func() {}
	if f.offered != nil {
		withdraw = f.offered(e)
	}
	err := f.producer.Enqueue(ctx, e, f.answered)
	if err == nil {
		f.in.Add(1)
		return nil
	}
	withdraw()
	var invalid *producer.InvalidError
	var large *producer.TooLargeError
	switch {
	case errors.As(err, &invalid):
		f.reject(&lineError{line: line, err: invalid.Err})
	case errors.As(err, &large):
		f.reject(&lineError{line: line, err: fmt.Errorf("a message of %d bytes, want at most %d: the topic takes no larger one", large.Bytes, large.MaxBytes)})
	default:
		return err
	}
	return nil
}

// answered notes what has become of an event that the producer accepted.
func (f *feed) answered(r producer.Result) {
	if r.Err == nil {
		f.published.Add(1)
		if f.confirmed != nil {
			f.confirmed(r)
		}
		return
	}
	f.failed.Add(1)
	f.mu.Lock()
	f.lastError = r.Err
	f.mu.Unlock()
}

func (f *feed) reject(bad *lineError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.in.Add(1)
	n := f.rejected.Add(1)
	if n <= maxReported {
		f.rejections = append(f.rejections, rejection{bad.line, bad.reason()})
	}
	switch {
	case n <= maxWarned:
		fmt.Fprintf(f.warn, "rejected %s\n", bad)
	case n == maxWarned+1:
		fmt.Fprintln(f.warn, "rejected more lines; the summary counts them, and lists them with --json")
	}
}

// failure is why the last of the accepted events that failed did so.
func (f *feed) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lastError
}

func sleepUntil(ctx context.Context, t time.Time) error {
	d := time.Until(t)
	if d <= 0 {
		return ctx.Err()
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
