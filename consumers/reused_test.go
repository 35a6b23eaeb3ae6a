package consumers_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
)

// Events that reuse an identity are all counted; a flood of them does not flood the log, which has both times.
func TestReused_IsCountedAndLoggedAtABoundedRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for n := range 50 {
			b.send(motion(fmt.Sprintf("d%d", n), "1"))
		}
		var log bytes.Buffer
		earlier := time.Date(2005, 1, 29, 12, 0, 0, 0, time.UTC)
		c, stop := b.start(b.api, func(ctx context.Context, e events.Event) error {
			return consumers.Reused(ctx, e, earlier)
		}, consumers.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		time.Sleep(500 * time.Millisecond)
		stop()
		if s := c.Stats(); s.Reused != 50 || s.Handled != 50 {
			t.Errorf("got %d reused and %d handled, want 50", s.Reused, s.Handled)
		}
		lines := 0
		for line := range strings.Lines(log.String()) {
			if !strings.Contains(line, "same identity") {
				continue
			}
			lines++
			for _, want := range []string{"level=WARN", "event_id=1", "source=test", "device_id=d", " time=2", "earlier_time=2005-01-29T12:00:00.000Z", "refused=false"} {
				if !strings.Contains(line, want) {
					t.Errorf("log: got %q, want %q in it", line, want)
				}
			}
		}
		if lines < 10 || lines > 11 {
			t.Errorf("lines logged: got %d, want 10, and one more a second", lines)
		}
		if b.depth("test-dlq.fifo") != 0 {
			t.Error("got dead letters, want none")
		}
	})
}

func TestReused_ElsewhereDoesNothing(t *testing.T) {
	t.Parallel()
	if err := consumers.Reused(t.Context(), motion("d1", "1"), time.Time{}); err != nil {
		t.Errorf("without a consumer: got %v, want nil", err)
	}
}
