package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
)

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
