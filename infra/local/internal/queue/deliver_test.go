package queue_test

import (
	"testing"

	"github.com/device-fanout/fanout/infra/local/internal/clock"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

func TestDeliver_FIFOWantsIDs(t *testing.T) {
	t.Parallel()
	s := queue.NewService("eu-central-1", "000000000000", clock.Real())
	q, err := s.Create("q.fifo", map[string]string{queue.AttrFifoQueue: "true"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	good := queue.Parcel{Content: queue.NewContent("m", nil, ""), GroupID: "g", DeduplicationID: "d"}
	for name, bad := range map[string]queue.Parcel{
		"without group ID":         {Content: good.Content, DeduplicationID: "x"},
		"without deduplication ID": {Content: good.Content, GroupID: "g"},
	} {
		if err := s.Deliver(q.ARN(), "topic", []queue.Parcel{good, bad}); err == nil {
			t.Errorf("a parcel %s was delivered", name)
		}
	}
	if got := s.Status()[0]; got.Visible != 0 {
		t.Errorf("the queue holds %d messages, want none of what was refused", got.Visible)
	}
	if err := s.Deliver(q.ARN(), "topic", []queue.Parcel{good}); err != nil {
		t.Error(err)
	}
}
