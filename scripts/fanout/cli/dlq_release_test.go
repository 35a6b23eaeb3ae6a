package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/topology"
)

// A database that is made by looking would know of no parked device, and each dead letter would go back by itself.
func TestDLQ_RedriveWantsTheDatabaseOfParkedDevices(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	g := &globals{app: testApp(), streams: streams{out: newOutput(), err: newOutput()}, env: "dev"}
	parks := topology.Service{Name: "picky", GroupPolicy: consumers.Park}
	for want, o := range map[string]serviceOptions{
		"picky-parking.db: no such file": {data: folder},
		"x.db: no such file":             {database: filepath.Join(folder, "x.db")},
	} {
		err := g.redriveParking(t.Context(), clients{}, topology.Deployment{}, parks, deadletter.Source{}, moving{services: o, yes: true})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		store := &existingStore{service: parks.Name, o: o}
		if _, err := store.open(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("console: got %v, want %q", err, want)
		}
	}
	if made, _ := filepath.Glob(filepath.Join(folder, "*")); made != nil {
		t.Errorf("made %v, want nothing", made)
	}
}

// TestDLQ_RedriveOfParkedDevices releases them, in order, and redrives what is not parked.
func TestDLQ_RedriveOfParkedDevices(t *testing.T) {
	t.Parallel()
	engine, _ := localEngine(t)
	api := clients{sqs: engine.SQS()}
	queues := parking.Queues{Service: "history", URL: queueURL(t, engine, "dev-history.fifo"), DLQURL: queueURL(t, engine, "dev-history-dlq.fifo")}
	from := deadletter.Source{Service: "history", URL: queues.DLQURL, Queue: "dev-history.fifo"}
	unparked := events.New("lamp-0", device.PowerChanged{On: true})
	unparked.ID, unparked.Source, unparked.Time = "old", "test", time.Now()
	body, err := events.Encode(unparked)
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.sqs.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: &queues.DLQURL, MessageBody: aws.String(string(body)), MessageGroupId: aws.String("lamp-0"), MessageDeduplicationId: aws.String("old"),
	})
	if err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	var mended atomic.Bool
	handled := map[string][]string{}
	store := parking.NewMemory()
	c, err := consumers.New(api.sqs, consumers.Queue{Service: "history", URL: queues.URL, DLQURL: queues.DLQURL},
		func(_ context.Context, e events.Event) error {
			if !mended.Load() {
				return consumers.Known("no_such_room", errors.New("no such room"))
			}
			mu.Lock()
			defer mu.Unlock()
			handled[e.DeviceID] = append(handled[e.DeviceID], e.ID)
			return nil
		}, consumers.Config{WaitTime: time.Second, GroupPolicy: consumers.Park, Parking: store})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Run(ctx)
	}()
	defer func() {
		cancel()
		<-ended
	}()
	for i := range 12 {
		e := events.New(fmt.Sprintf("door-%d", i%2), device.PowerChanged{On: true})
		e.ID, e.Time = fmt.Sprintf("p%02d", i), time.Now()
		deliverTo(t, engine, e)
	}
	depth := func() int {
		d, err := deadletter.ReadDepth(t.Context(), api.sqs, queues.DLQURL)
		if err != nil {
			t.Fatal(err)
		}
		return d.Visible
	}
	eventually(t, "all of two parked devices, and that the store knows", func() bool {
		found, err := store.Find(t.Context(), "history")
		if err != nil {
			t.Fatal(err)
		}
		followers := 0
		for _, d := range found {
			followers += d.Followers
		}
		return depth() == 13 && followers == 10
	})
	mended.Store(true)
	out := newOutput()
	g := &globals{app: testApp(), streams: streams{out: out, err: newOutput()}, env: "dev"}
	m := moving{state: t.TempDir()}
	if err := g.release(t.Context(), api, store, queues, from, m); exitCodeOf(err) != exitUsage || depth() != 13 {
		t.Errorf("the plan: got %v", err)
	}
	contains(t, "plan", out.String(), "door-0", "parked", "no such room", "would release 2 devices")
	m.yes = true
	if err := g.release(t.Context(), api, store, queues, from, m); err != nil {
		t.Errorf("got %v", err)
	}
	contains(t, "release", out.String(), "released 2 of 2 devices and sent 13 dead letters to dev-history.fifo in all; 0 failed")
	eventually(t, "both devices to be free, and all handled", func() bool {
		left, err := store.Find(t.Context(), "history")
		mu.Lock()
		defer mu.Unlock()
		return err == nil && len(left) == 0 && len(handled["lamp-0"]) == 1
	})
	mu.Lock()
	defer mu.Unlock()
	for deviceID, want := range map[string][]string{
		"lamp-0": {"old"}, "door-0": {"p00", "p02", "p04", "p06", "p08", "p10"}, "door-1": {"p01", "p03", "p05", "p07", "p09", "p11"},
	} {
		if !slices.Equal(handled[deviceID], want) {
			t.Errorf("%s: handled %v, want %v", deviceID, handled[deviceID], want)
		}
	}
}
