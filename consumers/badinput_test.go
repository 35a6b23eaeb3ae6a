package consumers_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
)

// TestRun_MessagesThatNobodyShouldHaveSent go to the dead-letter queue with a code that says why, and the others go on.
func TestRun_MessagesThatNobodyShouldHaveSent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*types.Message)
		code  string
	}{
		"no group":  {func(m *types.Message) { delete(m.Attributes, "MessageGroupId") }, consumers.CodeGroupMismatch},
		"not UTF-8": {func(m *types.Message) { m.Body = aws.String("{\"id\":\"\xff\"}") }, "malformed_json"},
		"deadletter is there, and is no record": {func(m *types.Message) {
			m.MessageAttributes[deadletter.Attribute] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String("yes")}
		}, "refused"},
		"deadletter is there, and is binary": {func(m *types.Message) {
			m.MessageAttributes[deadletter.Attribute] = types.MessageAttributeValue{DataType: aws.String("Binary"), BinaryValue: []byte{1}}
		}, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				b.send(motion("d1", "e1"), motion("d2", "x1"))
				api := &meddler{QueueAPI: b.api}
				api.receiveReply = func(out *sqs.ReceiveMessageOutput) (*sqs.ReceiveMessageOutput, error) {
					for i := range out.Messages {
						if out.Messages[i].Attributes["MessageGroupId"] == "d1" {
							c.spoil(&out.Messages[i])
						}
					}
					return out, nil
				}
				var j journal
				_, stop := b.start(api, func(_ context.Context, e events.Event) error {
					if e.ID == "e1" {
						return consumers.Known("refused", errBroken)
					}
					j.add(e.ID)
					return nil
				}, consumers.Config{WaitTime: time.Second})
				time.Sleep(10 * time.Second)
				stop()
				j.want(t, "x1")
				deadLetters := b.deadLetters()
				if len(deadLetters) != 1 {
					t.Fatalf("%d dead letters, want 1", len(deadLetters))
				}
				if r := deadLetters[0].Record; r.Code != c.code || r.Class != deadletter.Known || r.Service != "test" {
					t.Errorf("got record %+v, want one with code %s", r, c.code)
				}
				if n := b.depth("test.fifo"); n != 0 {
					t.Errorf("%d messages are left", n)
				}
			})
		})
	}
}
