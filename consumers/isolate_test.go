package consumers_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
)

// TestIsolate_PoisonGoesAloneToTheDLQ: an event that kills its process is moved by SQS in the end. What is behind it and what is beside it
// are not, though every receive counted for all.
func TestIsolate_PoisonGoesAloneToTheDLQ(t *testing.T) {
	t.Parallel()
	for _, most := range []int{5, 10, 20} {
		for name, device := range map[string]func(i int) string{
			"behind it": func(int) string { return "d1" },
			"beside it": func(i int) string { return fmt.Sprint("n", i) },
			"both":      func(i int) string { return fmt.Sprint("d", i%5) },
		} {
			for _, place := range []int{0, 4, 9} {
				t.Run(fmt.Sprintf("%s, at most %d, after %d", name, most, place), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) { poisonGoesAlone(t, most, place, device) })
				})
			}
		}
	}
}

func poisonGoesAlone(t *testing.T, most, place int, device func(i int) string) {
	b := newBench(t)
	b.maxReceives(most)
	var want []string
	for i := range 10 {
		if i == place {
			b.send(motion("d1", "poison"))
		}
		if i == 9 {
			break
		}
		id := fmt.Sprintf("e%d", i)
		want = append(want, device(i)+" "+id)
		b.send(motion(device(i), id))
	}
	deviceOf := func(entry string) string { device, _, _ := strings.Cut(entry, " "); return device }
	var j journal
	deaths := b.processes(func(ctx context.Context, process *killable, e events.Event) error {
		if e.ID == "poison" {
			process.die()
			<-ctx.Done()
			return ctx.Err()
		}
		time.Sleep(time.Second)
		select {
		case <-process.dead:
			return errors.New("died with the process")
		default:
		}
		j.add(e.DeviceID + " " + e.ID)
		return nil
	}, nil)
	var got []string
	for _, entry := range j.all() { // one that was handled and not yet deleted when the process died comes again
		if !slices.Contains(got, entry) {
			got = append(got, entry)
		}
	}
	slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(deviceOf(a), deviceOf(b)) })
	slices.SortStableFunc(want, func(a, b string) int { return strings.Compare(deviceOf(a), deviceOf(b)) })
	if !slices.Equal(got, want) {
		t.Errorf("handled, by device, %v, want %v", got, want)
	}
	var dead []string
	for _, m := range b.takeAll(b.queue.DLQURL) {
		dead = append(dead, m.Attributes[string(types.MessageSystemAttributeNameMessageDeduplicationId)])
	}
	if len(dead) != 1 || deaths > most {
		t.Errorf("after %d deaths the dead-letter queue has %v, want the poison alone", deaths, dead)
	}
}

// TestIsolate_HidesNoLongerThanSQSAllows: twelve hours after the receive, however long the visibility timeout is.
func TestIsolate_HidesNoLongerThanSQSAllows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.maxReceives(10)
		b.set("VisibilityTimeout", "7200")
		b.send(motion("d1", "e1"), motion("d1", "e2"), motion("d2", "e3"))
		b.dieTwice(3, 2*time.Hour)
		var mu sync.Mutex
		handled := map[string][]string{}
		c, stop := b.start(b.api, func(_ context.Context, e events.Event) error {
			mu.Lock()
			defer mu.Unlock()
			handled[e.DeviceID] = append(handled[e.DeviceID], e.ID)
			return nil
		}, consumers.Config{})
		time.Sleep(time.Minute)
		stop()
		if s := c.Stats(); s.LeasesLost != 0 || !slices.Equal(handled["d1"], []string{"e1", "e2"}) || !slices.Equal(handled["d2"], []string{"e3"}) {
			t.Errorf("handled %v with %+v, want all of them and no lease lost", handled, s)
		}
	})
}

// dieTwice receives all n messages twice, as processes do that die.
func (b *bench) dieTwice(n int, visibility time.Duration) {
	b.t.Helper()
	for range 2 {
		out, err := b.api.ReceiveMessage(b.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &b.queue.URL, MaxNumberOfMessages: 10})
		if err != nil || len(out.Messages) != n {
			b.t.Fatal(out, err)
		}
		time.Sleep(visibility)
	}
}

// TestIsolate_HandedBackWhileItIsBeingHidden: a follower is handed back at the moment at which it is hidden for several times the visibility
// timeout, and the queue refuses that at first. It is tried for as long as the message would stay hidden.
func TestIsolate_HandedBackWhileItIsBeingHidden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.send(motion("d1", "e1"), motion("d1", "e2"))
		b.dieTwice(2, 30*time.Second)
		begin := time.Now()
		api := &meddler{QueueAPI: b.api}
		api.change = func(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
			if in.Entries[0].VisibilityTimeout > 0 {
				time.Sleep(time.Second) // draining begins meanwhile
				return nil, nil
			}
			if time.Since(begin) < 45*time.Second {
				return nil, errReset
			}
			return nil, nil
		}
		_, stop := b.start(api, func(context.Context, events.Event) error { return nil }, consumers.Config{WaitTime: time.Second, DrainTimeout: 2 * time.Minute})
		time.Sleep(500 * time.Millisecond)
		stop()
		if n := b.visible("test.fifo"); n != b.depth("test.fifo") {
			t.Errorf("%d of %d messages are visible after the drain, want all", n, b.depth("test.fifo"))
		}
	})
}
