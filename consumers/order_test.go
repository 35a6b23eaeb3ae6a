package consumers_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/internal/logtest"
)

// TestOrder_SequenceNumbersThatMeanNothing, as those of an emulator: the order in which the queue delivers is what counts, also for what comes
// again, and the log says so once.
func TestOrder_SequenceNumbersThatMeanNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		const devices, each = 10, 30
		for i := range devices * each {
			b.send(motion(fmt.Sprint("d", i%devices), fmt.Sprint("e", i)))
		}
		api := &meddler{QueueAPI: b.api, receiveReply: func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
			for _, m := range out.Messages {
				sum := fnv.New64()
				_, _ = sum.Write([]byte(*m.MessageId))
				m.Attributes[string(types.MessageSystemAttributeNameSequenceNumber)] = fmt.Sprintf("%020d", sum.Sum64())
			}
			return out, nil
		}}
		var out logtest.Log
		handled := map[string]*journal{}
		for d := range devices {
			handled[fmt.Sprint("d", d)] = &journal{}
		}
		_, stop := b.start(api, func(_ context.Context, e events.Event) error {
			time.Sleep(100 * time.Millisecond)
			handled[e.DeviceID].add(e.ID)
			return nil
		}, consumers.Config{WaitTime: time.Second, Slots: 4, Logger: out.Logger()})
		time.Sleep(2 * time.Second)
		if _, err := b.engine.ExpireVisibility("test.fifo", ""); err != nil { // some of what is held comes again
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		stop()
		for d := range devices {
			var want []string
			for i := range each {
				want = append(want, fmt.Sprint("e", d+i*devices))
			}
			handled[fmt.Sprint("d", d)].wantAgain(t, want...)
		}
		if n := strings.Count(out.String(), "sequence numbers contradict"); n != 1 {
			t.Errorf("the log says %d times that sequence numbers are not used, want once", n)
		}
	})
}
