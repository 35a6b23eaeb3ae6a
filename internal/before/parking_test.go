package before_test

import (
	"context"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/consumers/parking/parkingdb"
	"github.com/device-fanout/fanout/events"
)

// TestParking_DevicesAreReleased: one was parked with two events behind the one that failed; of another, of which there is also a live event,
// the release was cut off after the first of three.
func TestParking_DevicesAreReleased(t *testing.T) {
	t.Parallel()
	var held snapshot
	decodeJSON(t, read(t, "parking.json"), &held)
	eachDatabase(t, "lights", func(t *testing.T, target string) {
		synctest.Test(t, func(t *testing.T) {
			db := openDatabase(t, target)
			defer db.Close()
			store, err := parkingdb.Open(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			recorded, err := store.Find(t.Context(), "lights")
			if err != nil || len(recorded) != 2 {
				t.Fatalf("got %+v, %v, want two devices", recorded, err)
			}
			for i, want := range []parking.Device{
				{ID: "attic/sensor-1", State: parking.Releasing, Followers: 2},
				{ID: "hall-lamp", State: parking.Parked, Followers: 2},
			} {
				d := recorded[i]
				if d.Service != "lights" || d.ID != want.ID || d.State != want.State || d.Followers != want.Followers || d.Since.IsZero() || d.Last == "" ||
					(d.Release == "") != (want.State == parking.Parked) || (d.Until == "") != (want.State == parking.Parked) || d.FailedAgain {
					t.Fatalf("got %+v, want %+v", d, want)
				}
				c := d.Cause
				if c.MessageID == "" || c.EventID == "" || c.EventType != "device.motion.changed.v1" || c.Class != "known" || c.Code != "refused" || c.Error != "no such device" || c.Attempts != 1 {
					t.Errorf("device %s: got cause %+v", d.ID, c)
				}
			}

			q := newQueues(t, held)
			var mu sync.Mutex
			handled := map[string][]string{}
			c, err := consumers.New(q, consumers.Queue{Service: "lights", URL: held.URL, DLQURL: held.DLQURL}, func(_ context.Context, e events.Event) error {
				mu.Lock()
				defer mu.Unlock()
				handled[e.DeviceID] = append(handled[e.DeviceID], e.Time.Format(time.TimeOnly))
				return nil
			}, consumers.Config{GroupPolicy: consumers.Park, Parking: store, WaitTime: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- c.Run(ctx) }()
			for device, want := range map[string]int{"hall-lamp": 3, "attic/sensor-1": 2} {
				n, err := parking.Release(t.Context(), store, q, parking.Queues{Service: "lights", URL: held.URL, DLQURL: held.DLQURL}, device)
				if err != nil || n != want {
					t.Errorf("release %s: got %d, %v, want %d", device, n, err, want)
				}
			}
			time.Sleep(time.Minute)
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			want := map[string][]string{"hall-lamp": {"12:00:00", "12:00:01", "12:00:02"}, "attic/sensor-1": {"12:00:00", "12:00:01", "12:00:02", "12:00:03"}}
			if !reflect.DeepEqual(handled, want) {
				t.Errorf("handled %v, want %v", handled, want)
			}
			if left, err := store.Find(t.Context(), "lights"); err != nil || len(left) > 0 {
				t.Errorf("still recorded: %+v, %v", left, err)
			}
			if left := append(q.take(held.URL), q.take(held.DLQURL)...); len(left) > 0 {
				t.Errorf("%d messages are left", len(left))
			}
		})
	})
}
