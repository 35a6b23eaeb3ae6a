package producer_test

import (
	"context"
	"testing"
	"time"

	"github.com/device-fanout/fanout/producer"
)

// BenchmarkSideBySide takes turns between a plain loop of PublishBatch, a Producer and a Producer with a spool, so that what else the
// machine does falls on all alike, and reports their speed as parts of the plain loop's. An operation is 1,000 events each way.
func BenchmarkSideBySide(b *testing.B) {
	const count = 1000
	names := devices(1000)
	plain := newPlainLoop(b, names)
	api, arn := newTopic(b, 0)
	ways := []producer.Config{{}, {Spool: b.TempDir()}}
	took := make([]time.Duration, len(ways))
	var producers []*producer.Producer
	for _, cfg := range ways {
		cfg.Source, cfg.Buffer = "gateway", 2*count
		p, err := producer.New(api, arn, cfg)
		if err != nil {
			b.Fatal(err)
		}
		producers = append(producers, p)
	}
	var loop time.Duration
	for b.Loop() {
		start := time.Now()
		for i := range count {
			plain.publish(i)
		}
		loop += time.Since(start)
		for w, p := range producers {
			start := time.Now()
			for i := range count {
				if err := p.Enqueue(context.Background(), reading(names, i), func(r producer.Result) {
					if r.Err != nil {
						b.Error(r.Err)
					}
				}); err != nil {
					b.Fatal(err)
				}
			}
			for p.Stats().Buffered > 0 {
				time.Sleep(100 * time.Microsecond)
			}
			took[w] += time.Since(start)
		}
	}
	b.ReportMetric(loop.Seconds()/took[0].Seconds(), "producer/plain")
	b.ReportMetric(loop.Seconds()/took[1].Seconds(), "spool/plain")
	for _, p := range producers {
		if err := p.Close(context.Background()); err != nil {
			b.Error(err)
		}
	}
}
