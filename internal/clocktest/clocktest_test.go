package clocktest

import (
	"testing"
	"time"
)

func TestStepped_KeepsTheMonotonicReading(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, by := range Steps {
		stepped := Stepped(now, by)
		if stepped.Sub(now) != 0 || stepped.Round(0).Sub(now.Round(0)) != by {
			t.Errorf("by %v: got %v after %v", by, stepped, now)
		}
	}
	if got := Stepped(now.Round(0), time.Hour).Sub(now.Round(0)); got != time.Hour {
		t.Errorf("without a monotonic reading: got %v later", got)
	}
}
