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

// publisher publishes the events of an input and counts them; in is the lines that were accepted or rejected.
type publisher struct {
	producer *producer.Producer
	rate     float64   // events per second; 0 for as fast as possible
	warn     io.Writer // hears of rejected lines

	in, published, failed, rejected atomic.Int64

	// offered is called before an event is given to the producer; the func that it returns is called if the event is not accepted.
	// It may be nil.
	offered   func(events.Event) (withdraw func())
	confirmed func(producer.Result) // called when the topic has confirmed an event; may be nil

	mu         sync.Mutex
	rejections []rejection
	lastError  error // why an accepted event failed
}

// run publishes every event of r. It returns when all are accepted; the producer's Close waits for their confirmation. When
// ctx ends before the input, the error is errInterrupted.
func (p *publisher) run(ctx context.Context, r io.Reader) error {
	in := interruptible(ctx, r)
	defer in.Close()
	var next time.Time
	lines, err := readEvents(in, func(line int, e events.Event) error {
		if p.rate > 0 {
			if next.IsZero() {
				next = time.Now()
			}
			if err := sleepUntil(ctx, next); err != nil {
				return err
			}
			next = next.Add(time.Duration(float64(time.Second) / p.rate))
		}
		return p.publish(ctx, line, e)
	}, p.reject)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%w: of the input, %d lines were taken", errInterrupted, p.in.Load())
	case err == nil && lines == 0:
		return errors.New("input is empty, want at least one line")
	}
	return err
}

// publish hands one event to the producer. An event that breaks its contract is a rejected line; the rest goes on.
func (p *publisher) publish(ctx context.Context, line int, e events.Event) error {
	err := p.enqueue(ctx, e, func(producer.Result) {})
	if err == nil {
		return nil
	}
	if invalid, ok := errors.AsType[*producer.InvalidError](err); ok {
		p.reject(&lineError{line: line, err: invalid.Err})
		return nil
	}
	if large, ok := errors.AsType[*producer.TooLargeError](err); ok {
		p.reject(&lineError{line: line, err: fmt.Errorf("a message of %d bytes, want at most %d: the topic takes no larger one", large.Bytes, large.MaxBytes)})
		return nil
	}
	return err
}

// enqueue hands one event to the producer and counts it once it is accepted. done is called with its outcome, after it was counted.
func (p *publisher) enqueue(ctx context.Context, e events.Event, done func(producer.Result)) error {
	withdraw := func() {}
	if p.offered != nil {
		withdraw = p.offered(e)
	}
	err := p.producer.Enqueue(ctx, e, func(r producer.Result) {
		p.answered(r)
		done(r)
	})
	if err != nil {
		withdraw()
		return err
	}
	p.in.Add(1)
	return nil
}

// answered counts the outcome of an event that the producer accepted.
func (p *publisher) answered(r producer.Result) {
	if r.Err == nil {
		p.published.Add(1)
		if p.confirmed != nil {
			p.confirmed(r)
		}
		return
	}
	p.failed.Add(1)
	p.mu.Lock()
	p.lastError = r.Err
	p.mu.Unlock()
}

func (p *publisher) reject(bad *lineError) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.in.Add(1)
	n := p.rejected.Add(1)
	if n <= maxReported {
		p.rejections = append(p.rejections, rejection{bad.line, bad.reason()})
	}
	switch {
	case n <= maxWarned:
		fmt.Fprintf(p.warn, "rejected %s\n", bad)
	case n == maxWarned+1:
		fmt.Fprintln(p.warn, "rejected more lines; the summary counts them, and lists them with --json")
	}
}

// failure is why the last of the accepted events that failed did so.
func (p *publisher) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastError
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
