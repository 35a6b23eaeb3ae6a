package consumers_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/internal/logtest"
)

// TestRun_WarnsOfAttributes that a consumer relies on, once at its start, and works all the same.
func TestRun_WarnsOfAttributes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, row := range []struct {
			set  func(b *bench)
			want string // empty: nothing
		}{
			{func(b *bench) { b.maxReceives(10) }, ""},
			{func(*bench) {}, "has no redrive policy"},
			{func(b *bench) { b.maxReceives(4) }, "maxReceiveCount of 4"},
			{func(b *bench) { b.maxReceives(10); b.set("MessageRetentionPeriod", "1209600") }, "keeps messages for 96h0m0s"},
			{func(b *bench) { b.maxReceives(10); b.set("ContentBasedDeduplication", "true") }, "has content-based deduplication"},
			{func(b *bench) {
				b.maxReceives(10)
				b.set("FifoThroughputLimit", "perQueue")
				b.set("DeduplicationScope", "queue")
			}, "deduplication scope queue"},
		} {
			b := newBench(t)
			row.set(b)
			var log logtest.Log
			_, stop := b.start(b.api, func(context.Context, events.Event) error { return nil }, consumers.Config{Logger: log.Logger()})
			synctest.Wait()
			stop()
			warnings, want := log.Count("level=WARN"), 1
			if row.want == "" {
				want = 0
			}
			if warnings != want || log.Count(row.want) < want {
				t.Errorf("want %q once, got\n%s", row.want, log.String())
			}
		}
	})
}
