package local_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/local/faults"
)

// locked returns the locked groups of the only queue, of which there must be so many.
func (w *world) locked(want int) []local.LockedGroup {
	w.Helper()
	q := w.engine.Queues()[0]
	if q.LockedGroups != want {
		w.Fatalf("%d groups are locked, want %d", q.LockedGroups, want)
	}
	groups, err := w.engine.LockedGroups(q.Name)
	w.must(err)
	return groups
}

func TestAccounting(t *testing.T) {
	t.Parallel()
	const chunk = 64 << 10
	check(t, []behaviour{
		{"each 64 KB are billed, and every request at least once", func(w *world) {
			topic, url := w.topic("t.fifo"), w.standard()
			for _, size := range []int{1, chunk, chunk + 1, 4*chunk + 1} {
				w.send(url, strings.Repeat("m", size))
			}
			if got, want := w.engine.Billed()["sqs.SendMessage"], int64(1+1+2+5); got != want {
				w.Errorf("sends are billed %d, want %d", got, want)
			}
			w.send(url, strings.Repeat("m", chunk-2), withAttribute("n", "String", "v")) // attributes count
			if got, want := w.engine.Billed()["sqs.SendMessage"], int64(9+2); got != want {
				w.Errorf("sends are billed %d, want %d", got, want)
			}
			if got := len(w.receive(url, 10)); got != 5 {
				w.Fatalf("received %d messages, want 5", got)
			}
			w.gets(url)
			if got, want := w.engine.Billed()["sqs.ReceiveMessage"], int64(8+1); got != want { // 7 chunks and 9 bytes, then nothing
				w.Errorf("receives are billed %d, want %d", got, want)
			}
			w.publish(topic, strings.Repeat("m", chunk+1)+"@g", pubDedup("d"))
			w.publishBatch(topic, "a", "b")
			w.subscribe(topic, "q")
			w.publish(topic, "m@g") // its delivery is free
			got := w.engine.Billed()
			if got["sns.Publish"] != 3 || got["sns.PublishBatch"] != 1 || got["sqs.SendMessage"] != 11 || got["sns.Subscribe"] != 1 {
				w.Errorf("billed %v", got)
			}
		}},
		{"a batch is billed by its sum, and a refused request once", func(w *world) {
			url := w.standard()
			var entries []sqstypes.SendMessageBatchRequestEntry
			for i := range 10 {
				entries = append(entries, sqstypes.SendMessageBatchRequestEntry{
					Id: aws.String(fmt.Sprint(i)), MessageBody: aws.String(strings.Repeat("m", chunk/10+1)),
				})
			}
			_, err := w.sendBatch(url, entries)
			w.must(err)
			if got := w.engine.Billed()["sqs.SendMessageBatch"]; got != 2 {
				w.Errorf("the batch is billed %d, want 2", got)
			}
			w.engine.Faults().Add(faults.Rule{Kind: faults.Throttle})
			_, err = w.engine.SQS(func(o *sqs.Options) { o.RetryMaxAttempts = 1 }).SendMessageBatch(w.Context(),
				&sqs.SendMessageBatchInput{QueueUrl: &url, Entries: entries})
			w.refused(err, "RequestThrottled", "")
			if got := w.engine.Billed()["sqs.SendMessageBatch"]; got != 3 {
				w.Errorf("the batches are billed %d, want 3", got)
			}
		}},
		{"the status tells which message locks which group since when", func(w *world) {
			url := w.fifo()
			w.sendAll(url, "m1@a", "m2@a", "m3@a", "m1@b", "m1@c", "m2@c")
			a := w.receive(url, 1)[0]
			since := time.Now()
			w.sleep(time.Second)
			w.are(w.receive(url, 1), "m1@b")
			w.sendAll(url, "m4@a")
			got := w.locked(2)
			if len(got) != 2 || got[0].GroupID != "a" || got[1].GroupID != "b" {
				w.Fatalf("locked are %+v, want a and then b", got)
			}
			first := got[0]
			if first.MessageID != *a.MessageId || !first.Since.Equal(since) || first.Behind != 3 || got[1].Behind != 0 {
				w.Errorf("got %+v, want message %s since %v with 3 behind it", first, *a.MessageId, since)
			}
			var page struct {
				Billed map[string]int64
				Queues []struct {
					Locked []struct {
						Group     string
						MessageID string `json:"message_id"`
						Since     time.Time
						Behind    int
					}
				}
			}
			w.must(json.Unmarshal([]byte(w.do(http.MethodGet, "/_fanout/status", "", "").body), &page))
			shown := page.Queues[0].Locked
			if len(shown) != 2 || shown[0].Group != "a" || shown[0].MessageID != *a.MessageId || !shown[0].Since.Equal(since) || shown[0].Behind != 3 {
				w.Errorf("the page shows %+v", shown)
			}
			if !maps.Equal(page.Billed, w.engine.Billed()) {
				w.Errorf("the page shows %v as billed, want %v", page.Billed, w.engine.Billed())
			}
			w.delete(url, a)
			if got := w.locked(1); got[0].GroupID != "b" {
				w.Errorf("locked are %+v, want b", got)
			}
		}},
		{"a group whose first message is visible again is locked by a later one", func(w *world) {
			url := w.fifo()
			w.sendAll(url, "m1@a", "m2@a", "m3@a", "m4@a")
			held := w.receive(url, 3)
			w.hide(url, held[0], 0)
			got := w.locked(1)
			if len(got) != 1 || got[0].MessageID != *held[1].MessageId || got[0].Behind != 1 {
				w.Errorf("got %+v, want %s with 1 behind", got, *held[1].MessageId)
			}
		}},
		{"the first hundred locked groups are described", func(w *world) {
			url := w.fifo()
			for i := range 120 {
				w.send(url, fmt.Sprintf("m@g%d", i))
			}
			for range 12 {
				w.receive(url, 10)
			}
			if got := w.locked(120); len(got) != 100 || got[0].GroupID != "g0" {
				w.Errorf("%d are described, want 100, the first of them g0", len(got))
			}
		}},
		{"a purge unlocks all", func(w *world) {
			url := w.fifo()
			w.send(url, "m@g")
			w.receive(url, 1)
			_, err := w.sqs.PurgeQueue(w.Context(), &sqs.PurgeQueueInput{QueueUrl: &url})
			w.must(err)
			if got := w.locked(0); got != nil {
				w.Errorf("got %+v", got)
			}
			_, err = w.engine.LockedGroups("nothing")
			if err == nil {
				w.Error("a queue that does not exist has locked groups")
			}
		}},
	})
}
