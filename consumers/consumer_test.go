package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local"
)

// bench is a queue with its dead-letter queue on the local engine, without sockets, so that it works inside synctest.
type bench struct {
	t      *testing.T
	engine *local.Engine
	api    *sqs.Client
	queue  consumers.Queue
}

func newBench(t *testing.T) *bench {
	t.Helper()
	engine := local.New(local.Options{})
	b := &bench{t: t, engine: engine, api: engine.SQS()}
	b.queue = consumers.Queue{Service: "test", URL: b.create("test.fifo", "30"), DLQURL: b.create("test-dlq.fifo", "30")}
	return b
}

func (b *bench) create(name, visibility string) string {
	b.t.Helper()
	out, err := b.api.CreateQueue(b.t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{
		"FifoQueue": "true", "VisibilityTimeout": visibility, "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
	}})
	if err != nil {
		b.t.Fatal(err)
	}
	return aws.ToString(out.QueueUrl)
}

// send puts events into the queue as the topic would deliver them.
func (b *bench) send(list ...events.Event) {
	b.t.Helper()
	for _, e := range list {
		e.Source = "test"
		body, err := events.Encode(e)
		if err != nil {
			b.t.Fatal(err)
		}
		b.sendBody(e.DeviceID, e.ID, e.Type(), string(body))
	}
}

func (b *bench) sendBody(group, id, eventType, body string) {
	b.t.Helper()
	_, err := b.api.SendMessage(b.t.Context(), &sqs.SendMessageInput{
		QueueUrl: &b.queue.URL, MessageBody: &body, MessageGroupId: &group, MessageDeduplicationId: &id,
		MessageAttributes: map[string]types.MessageAttributeValue{
			"type":   {DataType: aws.String("String"), StringValue: &eventType},
			"source": {DataType: aws.String("String"), StringValue: aws.String("test")},
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// start runs a consumer; the returned func drains it and fails the test when that goes wrong.
func (b *bench) start(api consumers.QueueAPI, handle consumers.Handler, cfg consumers.Config) (*consumers.Consumer, func()) {
	b.t.Helper()
	c, err := consumers.New(api, b.queue, handle, cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return c, func() {
		b.t.Helper()
		cancel()
		if err := <-done; err != nil {
			b.t.Errorf("run: %v", err)
		}
	}
}

// depth is how many messages a queue holds in all.
func (b *bench) depth(name string) int {
	b.t.Helper()
	for _, q := range b.engine.Queues() {
		if q.Name == name {
			return int(q.Visible + q.InFlight + q.Delayed)
		}
	}
	b.t.Fatalf("no queue %s", name)
	return 0
}

// letters reads the dead-letter queue.
func (b *bench) letters() []*deadletter.Letter {
	b.t.Helper()
	var list []*deadletter.Letter
	err := deadletter.Scan(b.t.Context(), b.api, deadletter.Source{Service: "test", URL: b.queue.DLQURL}, func(l *deadletter.Letter) bool {
		list = append(list, l)
		return true
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

// log remembers what handlers did.
type journal struct {
	mu   sync.Mutex
	list []string
}

func (j *journal) add(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, s)
}

func (j *journal) all() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.list)
}

func (j *journal) want(t *testing.T, want ...string) {
	t.Helper()
	if got := j.all(); !slices.Equal(got, want) {
		t.Errorf("handled %q, want %q", got, want)
	}
}

func motion(device, id string) events.Event {
	e := events.New(device, events.MotionChanged{Detected: true})
	e.ID = id
	return e
}

var errBroken = errors.New("database is down")

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

func TestVerdict_KnownErrorGoesStraightToTheDLQ(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		var j journal
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if e.ID == "e1" {
				return consumers.Known("no_such_device", errors.New("device d1 was sold"))
			}
			return nil
		}, consumers.Config{})
		time.Sleep(time.Second)
		stop()
		j.want(t, "e1", "e2")
		letters := b.letters()
		if len(letters) != 1 {
			t.Fatalf("%d dead letters, want 1", len(letters))
		}
		r := letters[0].Record
		if r.Class != deadletter.Known || r.Code != "no_such_device" || r.Error != "device d1 was sold" || r.Attempts != 1 || r.ReceiveCount != 1 {
			t.Errorf("got record %+v", r)
		}
		if r.Service != "test" || r.Queue != "arn:aws:sqs:eu-central-1:000000000000:test.fifo" || r.MessageID == "" || r.SentAt.IsZero() || r.FailedAt.IsZero() {
			t.Errorf("got record %+v, want it to tell where the event came from and when", r)
		}
		if letters[0].EventID != "e1" || letters[0].DeviceID != "d1" || letters[0].Type != "device.motion.changed.v1" {
			t.Errorf("got letter %+v", letters[0])
		}
	})
}

func TestVerdict_WhatCannotBeDecodedIsKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		envelope := `{"specversion":"1.0","id":"%s","source":"x","subject":"%s","time":"2026-01-01T00:00:00Z","type":"%s","data":%s}`
		b.sendBody("d1", "1", "device.power.changed.v1", "no JSON at all")
		b.sendBody("d1", "2", "device.teleport.v1", fmt.Sprintf(envelope, "2", "d1", "device.teleport.v1", "{}"))
		b.sendBody("d1", "3", "device.humidity.measured.v1", fmt.Sprintf(envelope, "3", "d1", "device.humidity.measured.v1", `{"percent":140}`))
		b.sendBody("d1", "4", "device.motion.changed.v1", fmt.Sprintf(envelope, "4", "other", "device.motion.changed.v1", `{"detected":true}`))
		b.send(motion("d1", "5"))
		var j journal
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{})
		time.Sleep(time.Second)
		stop()
		j.want(t, "5")
		var got []string
		for _, l := range b.letters() {
			got = append(got, string(l.Record.Class)+" "+l.Record.Code)
		}
		want := []string{"known malformed_json", "known unknown_type", "known invalid_data", "known group_mismatch"}
		if !slices.Equal(got, want) {
			t.Errorf("dead letters: got %q, want %q", got, want)
		}
	})
}

func TestVerdict_UnknownErrorIsRetriedAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		var j journal
		start := time.Now()
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if e.ID == "e1" && len(j.all()) < 3 {
				return errBroken
			}
			return nil
		}, consumers.Config{})
		for b.depth("test.fifo") > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("two retries took %v of simulated time, want less than a second", took)
		}
		stop()
		j.want(t, "e1", "e1", "e1", "e2")
		if s := c.Stats(); s.Handled != 2 || s.Redelivered != 0 || s.Retries != 2 || s.DeadLettered != 0 {
			t.Errorf("got %+v, want two handled after two retries and nothing redelivered", s)
		}
	})
}

func TestVerdict_ExhaustedGoesToTheDLQAndTheDeviceGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		var j journal
		_, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			if e.ID == "e1" {
				return errBroken
			}
			return nil
		}, consumers.Config{})
		time.Sleep(2 * time.Second)
		stop()
		j.want(t, "e1", "e1", "e1", "e1", "e2")
		letters := b.letters()
		if len(letters) != 1 || letters[0].Record.Class != deadletter.Exhausted || letters[0].Record.Attempts != 4 || letters[0].Record.Code != consumers.CodeError {
			t.Errorf("got %+v, want one exhausted letter after four attempts", letters)
		}
	})
}

func TestVerdict_PanicIsAnUnknownError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		_, stop := b.start(b.api, func(context.Context, events.Event) error { panic("nil map") }, consumers.Config{})
		time.Sleep(2 * time.Second)
		stop()
		letters := b.letters()
		if len(letters) != 1 || letters[0].Record.Class != deadletter.Exhausted || letters[0].Record.Code != consumers.CodePanic {
			t.Fatalf("got %+v, want one exhausted letter with code panic", letters)
		}
	})
}

func TestVerdict_BudgetBoundsAllAttempts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		_, stop := b.start(b.api, func(ctx context.Context, _ events.Event) error {
			<-ctx.Done()
			return ctx.Err()
		}, consumers.Config{Budget: 3 * time.Second})
		time.Sleep(5 * time.Second)
		stop()
		letters := b.letters()
		if len(letters) != 1 || letters[0].Record.Class != deadletter.Unknown || letters[0].Record.Code != consumers.CodeTimeout || letters[0].Record.Attempts != 1 {
			t.Fatalf("got %+v, want one letter that timed out at its first attempt", letters[0].Record)
		}
	})
}

func TestLease_IsKeptAllTheWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"), motion("d1", "e3"))
		var j journal
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			j.add(e.ID)
			time.Sleep(70 * time.Second) // longer than the visibility timeout of 30 s; e3 waits for 140 s
			return nil
		}, consumers.Config{Budget: 100 * time.Second, DrainTimeout: 5 * time.Minute})
		time.Sleep(4 * time.Minute)
		stop()
		j.want(t, "e1", "e2", "e3")
		if s := c.Stats(); s.Redelivered != 0 || s.LeasesLost != 0 || s.Extensions == 0 {
			t.Errorf("got %+v, want extensions and no redelivery", s)
		}
	})
}

func TestLease_LostOneCancelsItsHandlerAndHandsBackItsFollowers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		api := &meddler{QueueAPI: b.api}
		api.change = func(in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			if in.Entries[0].VisibilityTimeout > 0 {
				return nil, errors.New("no route to host") // every heartbeat fails
			}
			return nil, nil
		}
		var j journal
		var first sync.Once
		_, stop := b.start(api, func(ctx context.Context, e events.Event) error {
			slow := false
			first.Do(func() { slow = true })
			if slow {
				<-ctx.Done()
				j.add(e.ID + " " + context.Cause(ctx).Error())
				return nil // too late: it has no effect on the message, but the event is done
			}
			j.add(e.ID)
			return nil
		}, consumers.Config{Budget: 5 * time.Minute})
		time.Sleep(3 * time.Minute)
		stop()
		// e1 had been handled when it came again, so that it was only deleted; e2 never ran before that.
		j.want(t, "e1 consumers: lease lost", "e2")
		if n := b.depth("test.fifo"); n != 0 {
			t.Errorf("%d messages are left", n)
		}
	})
}

func TestLease_LostOneIsRunAgainBeforeItsFollowers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		api := &meddler{QueueAPI: b.api}
		var first string // e1's receipt handle of its first delivery
		api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
			if first == "" && len(out.Messages) > 0 {
				first = aws.ToString(out.Messages[0].ReceiptHandle)
			}
			return out, nil
		}
		api.change = func(in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			in.Entries = slices.DeleteFunc(in.Entries, func(e types.ChangeMessageVisibilityBatchRequestEntry) bool {
				return e.VisibilityTimeout > 0 && aws.ToString(e.ReceiptHandle) == first
			})
			if len(in.Entries) == 0 {
				return nil, errors.New("no route to host")
			}
			return nil, nil
		}
		var j journal
		_, stop := b.start(api, func(ctx context.Context, e events.Event) error {
			if e.ID == "e1" && len(j.all()) == 0 {
				<-ctx.Done()
				j.add("e1 cancelled")
				return ctx.Err()
			}
			j.add(e.ID)
			return nil
		}, consumers.Config{Budget: 5 * time.Minute})
		time.Sleep(3 * time.Minute)
		stop()
		j.want(t, "e1 cancelled", "e1", "e2")
		if n := len(b.letters()); n != 0 {
			t.Errorf("%d dead letters, want none: the lease was lost, the event was not at fault", n)
		}
	})
}

func TestDeadLetter_IsConfirmedBeforeTheDelete(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "bad"), motion("d1", "good"))
		api := &meddler{QueueAPI: b.api}
		sends := 0
		api.send = func(*sqs.SendMessageInput) error {
			if sends++; sends <= 5 {
				return errors.New("service unavailable")
			}
			return nil
		}
		api.delete = func(*sqs.DeleteMessageBatchInput) {
			if b.depth("test-dlq.fifo") == 0 {
				t.Error("a message was deleted before its dead letter was confirmed")
			}
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error {
			j.add(fmt.Sprintf("%s with %d sends", e.ID, sends))
			if e.ID == "bad" {
				return consumers.Known("bad", errBroken)
			}
			return nil
		}, consumers.Config{})
		time.Sleep(time.Minute)
		stop()
		j.want(t, "bad with 0 sends", "good with 6 sends")
		if n := len(b.letters()); n != 1 {
			t.Errorf("%d dead letters, want 1", n)
		}
	})
}

func TestDeadLetter_LostReplyMakesNoSecondCopy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "bad"))
		api := &meddler{QueueAPI: b.api}
		sends := 0
		api.afterSend = func() error {
			if sends++; sends <= 2 {
				return errors.New("connection reset by peer")
			}
			return nil
		}
		_, stop := b.start(api, func(context.Context, events.Event) error { return consumers.Known("bad", errBroken) }, consumers.Config{})
		time.Sleep(time.Minute)
		stop()
		if n := len(b.letters()); n != 1 || sends != 3 {
			t.Errorf("%d dead letters after %d sends, want 1 after 3", n, sends)
		}
	})
}

func TestDeadLetter_FailsAgainAfterARedriveInsideTheDeduplicationWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "bad"))
		_, stop := b.start(b.api, func(context.Context, events.Event) error { return consumers.Known("bad", errBroken) }, consumers.Config{})
		defer stop()
		from := deadletter.Source{Service: "test", URL: b.queue.DLQURL}
		for round := range 3 {
			time.Sleep(2 * time.Second)
			letters := b.letters()
			if len(letters) != 1 || letters[0].Record.Redrives != round {
				t.Fatalf("round %d: got %+v, want one letter with that many redrives", round, letters)
			}
			sum, err := deadletter.Redrive(t.Context(), b.api, from, "test.fifo", deadletter.Filter{}, nil)
			if err != nil || sum.Moved != 1 {
				t.Fatalf("round %d: redrive: %+v, %v", round, sum, err)
			}
		}
	})
}

func TestDelete_LostReplyDoesNotRunTheHandlerAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"))
		api := &meddler{QueueAPI: b.api}
		fails := 0
		api.deleteReply = func(out *sqs.DeleteMessageBatchOutput) (*sqs.DeleteMessageBatchOutput, error) {
			if fails++; fails <= 3 {
				return nil, errors.New("connection reset by peer")
			}
			return out, nil
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{})
		time.Sleep(2 * time.Minute)
		stop()
		j.want(t, "e1")
	})
}

func TestDelete_PartialFailureIsTriedAgainEntryByEntry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 10 {
			b.send(motion("d1", fmt.Sprintf("e%d", i)))
		}
		api := &meddler{QueueAPI: b.api}
		var sizes []int
		api.delete = func(in *sqs.DeleteMessageBatchInput) {
			sizes = append(sizes, len(in.Entries))
			if len(sizes) == 1 { // the entry is not carried out
				in.Entries = in.Entries[:9]
			}
		}
		var j journal
		_, stop := b.start(api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{})
		time.Sleep(2 * time.Minute)
		stop()
		if len(j.all()) != 10 {
			t.Errorf("handled %q, want each once", j.all())
		}
		if !slices.Equal(sizes, []int{10, 1}) {
			t.Errorf("delete requests of %v entries, want 10 and then the failed one", sizes)
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

func TestDrain_HandsBackWhatItHasNotStarted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 5 {
			b.send(motion("d1", fmt.Sprintf("e%d", i)))
		}
		var j journal
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			time.Sleep(10 * time.Second)
			j.add(e.ID)
			return nil
		}, consumers.Config{Budget: time.Minute, WaitTime: time.Second})
		time.Sleep(5 * time.Second)
		stop()
		j.want(t, "e0")
		if s := c.Stats(); s.Released != 4 {
			t.Errorf("released %d, want 4", s.Released)
		}
		// Another consumer gets them at once, in order, and long before a visibility timeout.
		_, stop = b.start(b.api, func(_ context.Context, e events.Event) error { j.add(e.ID); return nil }, consumers.Config{WaitTime: time.Second})
		time.Sleep(time.Second)
		stop()
		j.want(t, "e0", "e1", "e2", "e3", "e4")
	})
}

func TestDrain_CancelsWhatTakesTooLongAndCountsNoAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d2", "e2"))
		var j journal
		_, stop := b.start(b.api, func(ctx context.Context, e events.Event) error {
			<-ctx.Done()
			j.add(context.Cause(ctx).Error())
			if e.ID == "e2" {
				return consumers.Known("refused", ctx.Err()) // whatever it says now is not about the event
			}
			return ctx.Err()
		}, consumers.Config{Budget: time.Hour, WaitTime: time.Second, DrainTimeout: 5 * time.Second})
		time.Sleep(time.Second)
		stop()
		j.want(t, consumers.ErrStopping.Error(), consumers.ErrStopping.Error())
		if n := len(b.letters()); n != 0 {
			t.Errorf("%d dead letters, want none: stopping is not the event's fault", n)
		}
		if n := b.depth("test.fifo"); n != 2 {
			t.Errorf("%d messages are left, want the two that were cut off", n)
		}
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
