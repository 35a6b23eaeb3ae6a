package producer

import (
	"context"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/device-fanout/fanout/events"
)

// agreeable is a topic that confirms everything at no cost.
type agreeable struct{}

func (agreeable) PublishBatch(_ context.Context, in *sns.PublishBatchInput, _ ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	out := &sns.PublishBatchOutput{Successful: make([]types.PublishBatchResultEntry, len(in.PublishBatchRequestEntries))}
	for i := range out.Successful {
		out.Successful[i].Id = in.PublishBatchRequestEntries[i].Id
	}
	return out, nil
}

// BenchmarkOwnCost is what a Producer itself costs per event: no topic, no requests, no new events.
func BenchmarkOwnCost(b *testing.B) {
	b.ReportAllocs()
	p, err := New(agreeable{}, testTopic, Config{Source: "gateway", Buffer: 2000})
	if err != nil {
		b.Fatal(err)
	}
	list := make([]events.Event, 1000)
	for i := range list {
		list[i] = events.New(fmt.Sprintf("device-%03d", i), events.TemperatureMeasured{Celsius: 21.5})
	}
	ctx := context.Background()
	for i := 0; b.Loop(); i++ {
		if err := p.Enqueue(ctx, list[i%len(list)], nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(p.Stats().BatchFill(), "entries/batch")
	if err := p.Close(ctx); err != nil {
		b.Error(err)
	}
}
