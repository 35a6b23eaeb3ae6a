package queue_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/device-fanout/fanout/infra/local/internal/clock"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

func newBenchQueue(b *testing.B) (*queue.Service, *queue.Queue) {
	b.Helper()
	s := queue.NewService("r", "a", clock.Real())
	q, err := s.Create("q.fifo", map[string]string{queue.AttrFifoQueue: "true"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	return s, q
}

var benchContent = queue.NewContent("body", nil, "")

// fill puts messages into groups, in turn, and returns the next deduplication ID.
func fill(b *testing.B, s *queue.Service, q *queue.Queue, messages, groups, first int) int {
	b.Helper()
	names := make([]string, groups)
	for i := range names {
		names[i] = fmt.Sprintf("device-%06d", i)
	}
	parcels := make([]queue.Parcel, 0, 10)
	for i := range messages {
		parcels = append(parcels, queue.Parcel{
			Content: benchContent, GroupID: names[i%groups], DeduplicationID: fmt.Sprint(first + i),
		})
		if len(parcels) == cap(parcels) || i == messages-1 {
			if err := s.Deliver(q.ARN(), "", parcels); err != nil {
				b.Fatal(err)
			}
			parcels = parcels[:0]
		}
	}
	return first + messages
}

// cycle receives ten messages, deletes them, and sends as many.
func cycle(b *testing.B, s *queue.Service, q *queue.Queue, next int) int {
	ten := 10
	got, err := q.Receive(b.Context(), queue.ReceiveInput{MaxMessages: &ten})
	if err != nil || len(got) != ten {
		b.Fatal(len(got), err)
	}
	handles := make([]string, len(got))
	parcels := make([]queue.Parcel, len(got))
	for i := range got {
		handles[i] = got[i].ReceiptHandle()
		parcels[i] = queue.Parcel{Content: benchContent, GroupID: got[i].GroupID, DeduplicationID: fmt.Sprint(next + i)}
	}
	if _, err := q.Delete(handles); err != nil {
		b.Fatal(err)
	}
	if err := s.Deliver(q.ARN(), "", parcels); err != nil {
		b.Fatal(err)
	}
	return next + len(got)
}

// BenchmarkQueue_Backlog receives, deletes and sends ten messages of queues with little and with much in them.
func BenchmarkQueue_Backlog(b *testing.B) {
	for _, c := range []struct {
		messages, groups int
	}{{100, 100}, {1_000_000, 100_000}, {1_000_000, 100}} {
		b.Run(fmt.Sprintf("%d messages in %d groups", c.messages, c.groups), func(b *testing.B) {
			s, q := newBenchQueue(b)
			next := fill(b, s, q, c.messages, c.groups, 0)
			runtime.GC()
			b.ReportAllocs()
			for b.Loop() {
				next = cycle(b, s, q, next)
			}
		})
	}
}

// BenchmarkQueue_BlockedGroup does the same while one group is locked with 100,000 messages behind it.
func BenchmarkQueue_BlockedGroup(b *testing.B) {
	s, q := newBenchQueue(b)
	next := fill(b, s, q, 100_000, 1, 0)
	if got, err := q.Receive(b.Context(), queue.ReceiveInput{}); err != nil || len(got) != 1 {
		b.Fatal(len(got), err)
	}
	parcels := make([]queue.Parcel, 100)
	for i := range parcels {
		parcels[i] = queue.Parcel{Content: benchContent, GroupID: fmt.Sprint("other", i), DeduplicationID: fmt.Sprint("other", i)}
	}
	if err := s.Deliver(q.ARN(), "", parcels); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		next = cycle(b, s, q, next)
	}
}

// BenchmarkQueue_IdlePolls does the same on one queue while a thousand long polls wait on another.
func BenchmarkQueue_IdlePolls(b *testing.B) {
	s, q := newBenchQueue(b)
	idle, err := s.Create("idle.fifo", map[string]string{queue.AttrFifoQueue: "true"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	for range 1000 {
		go func() {
			twenty := 20
			for ctx.Err() == nil {
				_, _ = idle.Receive(ctx, queue.ReceiveInput{WaitTime: &twenty}) // ends when ctx does
			}
			ended <- struct{}{}
		}()
	}
	next := fill(b, s, q, 100, 100, 0)
	b.ReportAllocs()
	for b.Loop() {
		next = cycle(b, s, q, next)
	}
	cancel()
	for range 1000 {
		<-ended
	}
}
