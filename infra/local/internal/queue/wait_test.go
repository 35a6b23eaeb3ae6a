package queue_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

// The clock's callbacks never come here, as when a timer is late: the queue must notice by itself what time has brought.
func TestReceive_WhatTimeHasBroughtIsForThoseWhoWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newHandClock()
		s := queue.NewService("r", "a", c)
		q, err := s.Create("q", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		delay, wait := 5, 20
		if _, err := q.Send(queue.SendInput{Content: queue.NewContent("m", nil, ""), Delay: &delay}); err != nil {
			t.Fatal(err)
		}
		polled := make(chan []queue.Delivery, 1)
		go func() {
			got, err := q.Receive(t.Context(), queue.ReceiveInput{WaitTime: &wait})
			if err != nil {
				t.Error(err)
			}
			polled <- got
		}()
		synctest.Wait()
		c.move(5 * time.Second)
		got, err := q.Receive(t.Context(), queue.ReceiveInput{})
		if err != nil || len(got) != 0 {
			t.Errorf("the short poll got %d messages, %v, want none", len(got), err)
		}
		if got := <-polled; len(got) != 1 {
			t.Errorf("the long poll got %d messages, want 1", len(got))
		}
	})
}
