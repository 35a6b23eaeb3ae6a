package state_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/device-fanout/fanout/consumers/state"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func Example() {
	folder, err := os.MkdirTemp("", "state")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	ctx := context.Background()
	service, err := state.Open(ctx, "sqlite:"+filepath.Join(folder, "state.db"), state.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()

	evening := time.Date(2026, 3, 1, 18, 30, 0, 0, time.UTC)
	on := events.New("hall/lamp", device.PowerChanged{On: true})
	on.Time, on.Sequence = evening, "0001"
	off := events.New("hall/lamp", device.PowerChanged{On: false})
	off.Time, off.Sequence = evening, "0002" // within the same second
	late := events.New("hall/lamp", device.PowerChanged{On: true})
	late.Time, late.Sequence = evening.Add(-time.Hour), "0000" // redriven after it had failed an hour ago
	for _, event := range []events.Event{on, off, late} {
		if err := service.Handle(ctx, event); err != nil {
			log.Fatal(err)
		}
	}

	rows, err := service.Device(ctx, "hall/lamp")
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range rows {
		fmt.Println(row.Time.Format(time.RFC3339), row.Type, string(row.Data))
	}
	// Output: 2026-03-01T18:30:00Z device.power.changed.v1 {"on":false}
}
