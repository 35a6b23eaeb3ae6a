package local_test

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/producer"
)

// button is a gateway's own code: it turns presses into events.
type button struct {
	lamp string
	on   bool
	out  *producer.Producer
}

func (b *button) press(ctx context.Context) error {
	b.on = !b.on
	return b.out.Publish(ctx, events.New(b.lamp, device.PowerChanged{On: b.on}))
}

// testButton is how a gateway team tests it; in their package it is TestButton(t *testing.T).
func testButton(ctx context.Context, t local.TB) {
	t.Helper()
	fanout := provision.Start(t, declaration.Topology(), "dev", local.Options{})
	out, err := producer.New(fanout.SNS, fanout.TopicARN, producer.Config{Source: "gateway/hall"})
	if err != nil {
		t.Fatalf("%v", err)
	}
	b := &button{lamp: "lamp-7", out: out}
	for range 3 {
		if err := b.press(ctx); err != nil {
			t.Fatalf("%v", err)
		}
	}
	if err := out.Close(ctx); err != nil {
		t.Fatalf("%v", err)
	}
	got, err := fanout.SQS.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: aws.String(fanout.Queues["state"].URL), MaxNumberOfMessages: 10,
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, m := range got.Messages {
		e, err := events.Decode([]byte(*m.Body))
		if err != nil {
			t.Fatalf("%v", err)
		}
		fmt.Println(e.DeviceID, e.Type(), "on:", e.Data.(device.PowerChanged).On)
	}
}

// A gateway team tests its own code: one call gives SNS and SQS, the topic and the queues of the services.
func ExampleStart() {
	t := &exampleT{}
	defer t.done()
	testButton(context.Background(), t)
	// Output:
	// lamp-7 device.power.changed.v1 on: true
	// lamp-7 device.power.changed.v1 on: false
	// lamp-7 device.power.changed.v1 on: true
}

// exampleT stands in for *testing.T, which an example does not have.
type exampleT struct{ cleanups []func() }

func (t *exampleT) Helper()                           {}
func (t *exampleT) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (t *exampleT) done() {
	for _, f := range t.cleanups {
		f()
	}
}
