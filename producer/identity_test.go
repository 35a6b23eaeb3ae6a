package producer_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/producer"
)

// messages empties the first queue: how many messages there were of each event.
func (w *world) messages(t testing.TB) map[events.Identity]int {
	t.Helper()
	got := map[events.Identity]int{}
	for {
		out, err := w.SQS.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{QueueUrl: &w.queues[0], MaxNumberOfMessages: 10})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return got
		}
		for _, m := range out.Messages {
			var id events.Identity
			if err := json.Unmarshal([]byte(*m.Body), &id); err != nil {
				t.Fatal(err)
			}
			got[id]++
			if _, err := w.SQS.DeleteMessage(context.Background(), &sqs.DeleteMessageInput{QueueUrl: &w.queues[0], ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestIdentity_GatewaysAndDevicesMayNumberAlike(t *testing.T) {
	t.Parallel()
	for _, scope := range []string{"MessageGroup", "Topic"} {
		t.Run(scope, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(r *rapid.T) {
				w := newWorldOf(r, scope)
				gateways := map[string]*producer.Producer{}
				for _, source := range []string{"/gateways/a", "/gateways/b"} {
					p, err := producer.New(w.SNS, w.topic, producer.Config{Source: source})
					if err != nil {
						r.Fatal(err)
					}
					defer p.Close(context.Background())
					gateways[source] = p
				}
				want := map[events.Identity]int{}
				for range rapid.IntRange(1, 24).Draw(r, "events") {
					source := rapid.SampledFrom(slices.Sorted(maps.Keys(gateways))).Draw(r, "source")
					e := motion(fmt.Sprintf("lamp-%d", rapid.IntRange(1, 3).Draw(r, "device")), fmt.Sprint(rapid.IntRange(1, 3).Draw(r, "ID")))
					if err := gateways[source].Publish(context.Background(), e); err != nil {
						r.Fatal(err)
					}
					e.Source = source
					want[e.Identity()] = 1 // however often it is published
				}
				if got := w.messages(t); !maps.Equal(got, want) {
					r.Fatalf("messages by identity: got %v, want %v", got, want)
				}
			})
		})
	}
}

// The topic recognizes deduplication IDs within a message group, which is the device.
func TestIdentity_WhoSpeaksForOneDeviceSuppressesNoneOfAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.producer(t, w.SNS, producer.Config{Source: "/gateways/a"})
	defer p.Close(t.Context())
	want := map[events.Identity]int{}
	for _, id := range []string{events.New("b", device.MotionChanged{}).ID, "1", "c232ab00-9414-11ec-b3c8-9f6bdeced846"} {
		for _, deviceID := range []string{"a", "b"} { // a goes first with the IDs of b
			e := motion(deviceID, id)
			if err := p.Publish(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			e.Source = "/gateways/a"
			want[e.Identity()] = 1
		}
	}
	if got := w.messages(t); !maps.Equal(got, want) {
		t.Errorf("messages by identity: got %v, want %v", got, want)
	}
}
