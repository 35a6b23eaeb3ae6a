package pauses

import (
	"testing"
	"time"
)

func TestAfter(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		first      time.Duration
		deliveries int
		age, want  time.Duration
	}{
		{First, 1, 0, 5 * time.Second},
		{First, 2, 5 * time.Second, 10 * time.Second},
		{First, 5, 75 * time.Second, 80 * time.Second},
		{First, 6, 155 * time.Second, Short},
		{First, 100, ShortFor - 1, Short},
		{First, 148, ShortFor, Long},
		{First, 1, ShortFor, First}, // it was not delivered for hours
		{time.Hour, 1, 0, time.Hour},
		{time.Hour, 9, 0, time.Hour},
	} {
		if got := After(row.first, row.deliveries, row.age); got != row.want {
			t.Errorf("%v, %d deliveries, %v old: got %v, want %v", row.first, row.deliveries, row.age, got, row.want)
		}
	}
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	for outage, want := range map[time.Duration]int{
		0: 1, time.Second: 2, time.Minute: 5, 10 * time.Minute: 11, time.Hour: 41, 4 * time.Hour: 149, 4 * 24 * time.Hour: 523,
	} {
		if got := Deliveries(outage); got != want {
			t.Errorf("%v: got %d deliveries, want %d", outage, got, want)
		}
	}
}
