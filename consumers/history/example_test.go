package history_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/device-fanout/fanout/consumers/history"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func Example() {
	folder, err := os.MkdirTemp("", "history")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	ctx := context.Background()
	service, err := history.Open(ctx, "sqlite:"+filepath.Join(folder, "history.db"), history.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()

	on := events.New("hall/lamp", device.PowerChanged{On: true})
	on.Time = time.Date(2026, 3, 1, 18, 30, 0, 0, time.UTC)
	off := events.New("hall/lamp", device.PowerChanged{On: false})
	off.Time = on.Time.Add(5 * time.Hour)
	for _, event := range []events.Event{on, off, on} { // the queue delivered one again
		if err := service.Handle(ctx, event); err != nil {
			log.Fatal(err)
		}
	}

	rows, err := service.After(ctx, 0, 100)
	if err != nil {
		log.Fatal(err)
	}
	for _, row := range rows {
		fmt.Println(row.Position, row.Time.Format(time.RFC3339), row.DeviceID, row.Type, string(row.Data))
	}
	// Output:
	// 1 2026-03-01T18:30:00Z hall/lamp device.power.changed.v1 {"on":true}
	// 2 2026-03-01T23:30:00Z hall/lamp device.power.changed.v1 {"on":false}
}
