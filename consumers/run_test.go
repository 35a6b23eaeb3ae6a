package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
)

func TestRun_HandlesADeviceInOrderAndDeletes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 25 {
			b.send(motion("d1", fmt.Sprintf("a%02d", i)), motion("d2", fmt.Sprintf("b%02d", i)))
		}
		perDevice := map[string]*journal{"d1": {}, "d2": {}}
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			perDevice[e.DeviceID].add(e.ID)
			time.Sleep(time.Millisecond)
			return nil
		}, consumers.Config{})
		time.Sleep(5 * time.Second)
		stop()
		for device, j := range perDevice {
			if got := j.all(); len(got) != 25 || !slices.IsSorted(got) {
				t.Errorf("device %s: handled %q, want all 25 in order", device, got)
			}
		}
		if n := b.depth("test.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

func TestReceive_LostReplyDoesNotStallTheDevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		api := &meddler{QueueAPI: b.api}
		lost := false
		api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
			if len(out.Messages) > 0 && !lost {
				lost = true
				return nil, errors.New("connection reset by peer")
			}
			return out, nil
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{})
		time.Sleep(5 * time.Second) // far less than the visibility timeout
		j.want(t, "e1")
		stop()
	})
}

func TestRun_RefusesQueuesThatAreNotFit(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c, err := consumers.New(b.api, consumers.Queue{Service: "test", URL: b.queue.URL, DLQURL: b.queue.URL + "-missing"},
		func(context.Context, events.Event) error { return nil }, consumers.Config{})
	if err != nil {
		t.Fatal(err)
	}
	var missing *types.QueueDoesNotExist
	if err := c.Run(t.Context()); !errors.As(err, &missing) {
		t.Errorf("missing dead-letter queue: got %v", err)
	}
	_, err = b.api.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &b.queue.DLQURL, Attributes: map[string]string{
		"MaximumMessageSize": "4096",
	}})
	if err != nil {
		t.Fatal(err)
	}
	c, err = consumers.New(b.api, b.queue, func(context.Context, events.Event) error { return nil }, consumers.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(t.Context()); err == nil || !containsText(err, "up to 4096 bytes") {
		t.Errorf("a dead-letter queue that takes smaller messages: got %v", err)
	}
	if _, err := consumers.New(b.api, consumers.Queue{}, nil, consumers.Config{WaitTime: time.Millisecond, GroupPolicy: "jump"}); err == nil {
		t.Error("a faulty configuration: got no error")
	} else {
		for _, want := range []string{"URL is empty", "DLQURL is empty", "Service is empty", "handler is nil", "WaitTime", "jump"} {
			if !containsText(err, want) {
				t.Errorf("got %q, want it to say %q", err, want)
			}
		}
	}
}
