package main

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

// maxReported bounds the rejected lines that a summary lists; all are counted.
const maxReported = 1000

// rejection is one input line that did not become an event on the topic.
type rejection struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// feed publishes the events of an input and keeps count.
type feed struct {
	producer *producer.Producer
	rate     float64 // events per second; 0 for as fast as possible
	warn     io.Writer

	in, published, failed, rejected atomic.Int64

	accepted  func(events.Event)    // called before an event is handed to the producer; may be nil
	refused   func(events.Event)    // called when it was not accepted after all; may be nil
	confirmed func(producer.Result) // called when the topic has confirmed it; may be nil

	mu         sync.Mutex
	rejections []rejection
	lastError  error // why an accepted event failed
}

// run publishes every event of r. It returns when all are accepted; the producer's Close waits for their confirmation.
func (f *feed) run(ctx context.Context, r io.Reader) error {
	var next time.Time
	_, err := readEvents(r, func(line int, e events.Event) error {
		f.in.Add(1)
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
	}, func(bad *lineError) {
		f.in.Add(1)
		f.reject(bad)
	})
	if err != nil && ctx.Err() != nil {
		return nil // interrupted: what was read is published
	}
	if err == nil && f.in.Load() == 0 {
		return errors.New("input is empty, want at least one line")
	}
	return err
}

// publish hands one event to the producer. An event that breaks its contract is a rejected line; the rest goes on.
func (f *feed) publish(ctx context.Context, line int, e events.Event) error {
	if f.accepted != nil {
		f.accepted(e)
	}
	err := f.producer.Enqueue(ctx, e, func(r producer.Result) {
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
	})
	if err == nil {
		return nil
	}
	if f.refused != nil {
		f.refused(e)
	}
	var invalid *producer.InvalidError
	var large *producer.TooLargeError
	switch {
	case errors.As(err, &invalid):
		f.reject(&lineError{line, invalid.Err})
	case errors.As(err, &large):
		f.reject(&lineError{line, err})
	default:
		return err
	}
	return nil
}

func (f *feed) reject(bad *lineError) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.rejected.Add(1)
	if n <= maxReported {
		f.rejections = append(f.rejections, rejection{bad.line, reason(bad)})
	}
	switch {
	case f.warn == nil:
	case n <= 20:
		fmt.Fprintf(f.warn, "rejected %s\n", bad)
	case n == 21:
		fmt.Fprintln(f.warn, "rejected more lines; the summary counts them, and lists them with --json")
	}
}

// reason is the text of a bad line's error without the line number.
func reason(bad *lineError) string {
	text := bad.Error()
	return text[len(fmt.Sprintf("line %d: ", bad.line)):]
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
