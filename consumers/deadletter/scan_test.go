package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

func TestScan_KeepsOrderAndLeavesEverythingVisible(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		want := map[string][]string{}
		for i := range 24 {
			device, id := fmt.Sprintf("d%d", i%8), fmt.Sprintf("e%02d", i)
			b.bury(device, id, record("bad"))
			want[device] = append(want[device], id)
		}
		for range 3 { // a scan changes nothing
			got := map[string][]string{}
			err := deadletter.Scan(t.Context(), b.api, b.from, func(m *deadletter.Message) bool {
				got[m.DeviceID] = append(got[m.DeviceID], m.EventID)
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
			for device, list := range got {
				if !slices.Equal(list, want[device]) {
					t.Errorf("device %s: saw %v, want %v", device, list, want[device])
				}
			}
			if len(got) != 8 {
				t.Errorf("saw %d devices, want 8", len(got))
			}
			b.nothingHidden(24)
		}
		b.wantQueue(b.dlq, want)
	})
}

// TestScan_SeesTheFirstOfADeviceOnly: SQS gives no more of a group while some of it is in flight.
func TestScan_SeesTheFirstOfADeviceOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 25 {
			b.bury("d1", fmt.Sprintf("e%02d", i), record("bad"))
		}
		n := 0
		if err := deadletter.Scan(t.Context(), b.api, b.from, func(*deadletter.Message) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		if n != 10 {
			t.Errorf("saw %d messages of one device, want 10", n)
		}
		if depth, err := deadletter.ReadDepth(t.Context(), b.api, b.dlq); depth.Total() != 25 || err != nil {
			t.Errorf("depth: got %+v, %v, want 25", depth, err)
		}
	})
}

func TestScan_StopsWhenToldTo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 40 {
			b.bury(fmt.Sprintf("d%02d", i), fmt.Sprintf("e%02d", i), record("bad"))
		}
		n := 0
		err := deadletter.Scan(t.Context(), b.api, b.from, func(*deadletter.Message) bool { n++; return n < 15 })
		if err != nil || n != 15 {
			t.Errorf("saw %d messages, %v, want 15", n, err)
		}
		b.nothingHidden(40)
	})
}

func TestScan_InterruptedLeavesEverythingVisible(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 40 {
			b.bury(fmt.Sprintf("d%02d", i), fmt.Sprintf("e%02d", i), record("bad"))
		}
		ctx, cancel := context.WithCancel(t.Context())
		api := &meddler{QueueAPI: b.api}
		receives := 0
		api.afterReceive = func(*sqs.ReceiveMessageOutput) error { // the messages are hidden by now
			if receives++; receives == 2 {
				cancel()
			}
			return nil
		}
		err := deadletter.Scan(ctx, api, b.from, func(*deadletter.Message) bool { return true })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
		b.nothingHidden(40)
		if err := deadletter.Scan(ctx, b.api, b.from, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("context that had ended before: got %v", err)
		}
	})
}

func TestScan_DoesNotSeeWhatAnotherReaderHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 8 {
			b.bury("d1", fmt.Sprintf("e%02d", i), record("bad"))
		}
		b.receive(b.dlq, 30*time.Second)
		b.bury("d2", "other", record("bad"))
		var got []string
		scan := func() {
			t.Helper()
			got = nil
			err := deadletter.Scan(t.Context(), b.api, b.from, func(m *deadletter.Message) bool { got = append(got, m.EventID); return true })
			if err != nil {
				t.Fatal(err)
			}
		}
		if scan(); !slices.Equal(got, []string{"other"}) {
			t.Errorf("saw %v, want only what nobody holds", got)
		}
		time.Sleep(30 * time.Second)
		if scan(); len(got) != 9 {
			t.Errorf("saw %v after the other reader's time, want 9", got)
		}
	})
}

// TestScan_SlowVisitorSeesEveryMessageOnce: what took so long that it became visible is received again and must not be taken for new.
func TestScan_SlowVisitorSeesEveryMessageOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		want := map[string]int{}
		for i := range 60 {
			id := fmt.Sprintf("e%02d", i)
			b.bury(fmt.Sprintf("d%02d", i), id, record("bad"))
			want[id] = 1
		}
		got := map[string]int{}
		err := deadletter.Scan(t.Context(), b.api, b.from, func(m *deadletter.Message) bool {
			if got[m.EventID]++; len(got)%25 == 0 {
				time.Sleep(90 * time.Second) // somebody reads the first screen
			}
			return true
		})
		if err != nil {
			t.Error(err)
		}
		if !maps.Equal(got, want) {
			t.Errorf("visited %v, want each of 60 once", got)
		}
		b.nothingHidden(60)
	})
}

// TestScan_LongerThanTheVisibilityTimeout: the heartbeat keeps hidden what was seen.
func TestScan_LongerThanTheVisibilityTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 100 {
			b.bury(fmt.Sprintf("d%02d", i), fmt.Sprintf("e%02d", i), record("bad"))
		}
		receives := 0
		api := &meddler{QueueAPI: b.api, receive: func(*sqs.ReceiveMessageInput) error {
			receives++
			time.Sleep(9 * time.Second)
			return nil
		}}
		n := 0
		err := deadletter.Scan(t.Context(), api, b.from, func(*deadletter.Message) bool { n++; return true })
		if err != nil || n != 100 {
			t.Errorf("visited %d messages, %v, want each of 100 once", n, err)
		}
		if receives > 14 { // each full batch but one gives its last device back
			t.Errorf("made %d receives: what was held came again", receives)
		}
		b.nothingHidden(100)
	})
}

func TestScan_LostAndFailedReceives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 30 {
			b.bury(fmt.Sprintf("d%02d", i), fmt.Sprintf("e%02d", i), record("bad"))
		}
		receives := 0
		api := &meddler{QueueAPI: b.api, afterReceive: func(*sqs.ReceiveMessageOutput) error {
			if receives++; receives <= 3 {
				return errReset
			}
			return nil
		}}
		n := 0
		if err := deadletter.Scan(t.Context(), api, b.from, func(*deadletter.Message) bool { n++; return true }); err != nil {
			t.Error(err)
		}
		if n != 30 {
			t.Errorf("saw %d messages, want 30", n)
		}
		b.nothingHidden(30)
		api.receive = func(*sqs.ReceiveMessageInput) error { return errReset }
		if err := deadletter.Scan(t.Context(), api, b.from, nil); !errors.Is(err, errReset) {
			t.Errorf("a queue that can't be reached: got %v", err)
		}
		missing := deadletter.Source{Service: "x", URL: b.dlq + "x"}
		if err := deadletter.Scan(t.Context(), b.api, missing, nil); err == nil {
			t.Error("a queue that does not exist: got no error")
		}
	})
}

func TestScan_TellsWhatStaysHidden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 5 {
			b.bury("d1", fmt.Sprintf("e%02d", i), record("bad"))
		}
		api := &meddler{QueueAPI: b.api, show: func(*sqs.ChangeMessageVisibilityBatchInput) error { return errReset }}
		if err := deadletter.Scan(t.Context(), api, b.from, nil); !errors.Is(err, errReset) {
			t.Errorf("got %v, want it to say that messages stay hidden", err)
		}
		time.Sleep(time.Minute)
		b.nothingHidden(5)
	})
}

// TestScan_SaysThatMessagesAreStillHidden: the requests that give them back were refused as a whole, which says nothing about them.
func TestScan_SaysThatMessagesAreStillHidden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.bury("d1", "e1", record("bad"))
		refused := &smithy.GenericAPIError{Code: "ValidationException", Fault: smithy.FaultClient}
		api := &meddler{QueueAPI: b.api, show: func(*sqs.ChangeMessageVisibilityBatchInput) error { return refused }}
		if err := deadletter.Scan(t.Context(), api, b.from, func(*deadletter.Message) bool { return true }); !errors.Is(err, refused) {
			t.Errorf("got %v, want the refusal", err)
		}
	})
}
