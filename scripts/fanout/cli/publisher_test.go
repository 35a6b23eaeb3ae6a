package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/producer"
)

// topic takes what is published to it, but for the events of the devices that it refuses.
type topic struct{ refuses string }

func (t topic) PublishBatch(_ context.Context, in *sns.PublishBatchInput, _ ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	out := &sns.PublishBatchOutput{}
	for _, e := range in.PublishBatchRequestEntries {
		if aws.ToString(e.MessageGroupId) == t.refuses {
			out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: e.Id, Code: aws.String("InvalidParameter"), SenderFault: true})
			continue
		}
		out.Successful = append(out.Successful, types.PublishBatchResultEntry{Id: e.Id, MessageId: aws.String("m")})
	}
	return out, nil
}

func newPublisher(t *testing.T, api producer.TopicAPI, maxBytes int) (*publisher, *output) {
	t.Helper()
	p, err := producer.New(api, "arn:aws:sns:eu-central-1:000000000000:dev-device-events.fifo",
		producer.Config{Source: "test", MaxMessageBytes: maxBytes})
	if err != nil {
		t.Fatal(err)
	}
	warnings := newOutput()
	return &publisher{producer: p, warn: warnings}, warnings
}

func lineOf(device, eventType, data string) string {
	return fmt.Sprintf(`{"device_id":"%s","type":"%s","time":"2026-01-31T12:00:00Z","data":%s}`+"\n", device, eventType, data)
}

func TestPublisher_RejectsWhatTheTopicIsTooSmallFor(t *testing.T) {
	t.Parallel()
	p, warnings := newPublisher(t, topic{}, 1024)
	var offered, withdrawn int
	p.offered = func(events.Event) func() { offered++; return func() { withdrawn++ } }
	small := lineOf("a", "device.power.changed.v1", `{"on":true}`)
	large := lineOf("a", "device.telemetry.reported.v1", `{"counter":1,"rssi_dbm":[`+strings.Repeat("-100.125,", 200)+`-100]}`)
	if err := p.run(t.Context(), strings.NewReader(small+large+small)); err != nil {
		t.Fatal(err)
	}
	if err := p.producer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.in.Load() != 3 || p.published.Load() != 2 || p.rejected.Load() != 1 || offered != 3 || withdrawn != 1 {
		t.Errorf("got %d in, %d published, %d rejected, %d offered, %d withdrawn, want 3, 2, 1, 3, 1",
			p.in.Load(), p.published.Load(), p.rejected.Load(), offered, withdrawn)
	}
	contains(t, "warnings", warnings.String(), "rejected line 2: a message of ", "bytes, want at most 1024")
}

func TestPublisher_KeepsTheErrorOfAnEventThatFailed(t *testing.T) {
	t.Parallel()
	p, _ := newPublisher(t, topic{refuses: "b"}, 0)
	var confirmed int
	p.confirmed = func(producer.Result) { confirmed++ }
	input := lineOf("a", "device.power.changed.v1", `{"on":true}`) + lineOf("b", "device.power.changed.v1", `{"on":true}`)
	if err := p.run(t.Context(), strings.NewReader(input)); err != nil {
		t.Fatal(err)
	}
	if err := p.producer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var failure *producer.PublishError
	if p.published.Load() != 1 || confirmed != 1 || p.failed.Load() != 1 || !errors.As(p.failure(), &failure) || failure.DeviceID != "b" {
		t.Errorf("got %d published, %d failed, %v, want 1 and 1, which is that of b", p.published.Load(), p.failed.Load(), p.failure())
	}
}

func TestPublisher_EndsWithItsProducer(t *testing.T) {
	t.Parallel()
	p, _ := newPublisher(t, topic{}, 0)
	if err := p.producer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.run(t.Context(), strings.NewReader(generate(10))); !errors.Is(err, producer.ErrClosed) || p.in.Load() != 0 {
		t.Errorf("got %v after %d lines, want %v at the first", err, p.in.Load(), producer.ErrClosed)
	}
}
