package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/state"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local/faults"
)

// service is a consumer of the property test: the state template behind a handler that refuses some events while their cause is not
// fixed, and counts what took effect.
type service struct {
	name  string
	queue consumers.Queue
	from  deadletter.Source
	state *state.Service

	mu      sync.Mutex
	fixed   map[string]bool
	handled map[string][]string // by device: event IDs in the order in which they were first handled
	times   map[string]int      // by event ID: how often the handler succeeded
}

func (s *service) handle(ctx context.Context, e events.Event) error {
	_, code, _ := strings.Cut(e.ID, "-")
	s.mu.Lock()
	refuse := code != "good" && !s.fixed[code]
	s.mu.Unlock()
	if refuse {
		return consumers.Known(code, errors.New("not fixed: "+code))
	}
	if err := s.state.Handle(ctx, e); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.times[e.ID]++; s.times[e.ID] == 1 {
		s.handled[e.DeviceID] = append(s.handled[e.DeviceID], e.ID)
	}
	return nil
}

// TestRedrive_Property: random dead letters over two services and some devices, faults in sends, deletes and receives, the redrive
// killed at random and run again, live traffic all the while. Nothing is lost; SQS delivers no event to a handler again unless its
// faults force it to, and none takes effect twice; the redriven of a device keep their order; older events do not overwrite newer
// state.
func TestRedrive_Property(t *testing.T) {
	t.Parallel()
	seeds := uint64(5)
	if testing.Short() {
		seeds = 1
	}
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			synctest.Test(t, func(t *testing.T) { redriveProperty(t, seed, folder) })
		})
	}
}

func redriveProperty(t *testing.T, seed uint64, folder string) {
	random := rand.New(rand.NewPCG(seed, 7))
	b := newBench(t)
	codes := []string{"good", "bad", "worse", "worst"}
	devices := 1 + random.IntN(6)
	var all []*service
	for _, name := range []string{"state", "lights"} {
		s := &service{
			name: name, fixed: map[string]bool{}, handled: map[string][]string{}, times: map[string]int{},
			queue: consumers.Queue{Service: name, URL: b.create("dev-"+name+".fifo", nil), DLQURL: b.create("dev-"+name+"-dlq.fifo", nil)},
		}
		s.from = deadletter.Source{Service: name, URL: s.queue.DLQURL, Queue: "dev-" + name + ".fifo"}
		var err error
		if s.state, err = state.Open(t.Context(), filepath.Join(folder, name+".db"), state.Config{}); err != nil {
			t.Fatal(err)
		}
		defer s.state.Close()
		all = append(all, s)
	}
	running, drain := context.WithCancel(t.Context())
	var consuming sync.WaitGroup
	for _, s := range all {
		c, err := consumers.New(b.api, s.queue, s.handle, consumers.Config{WaitTime: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		consuming.Go(func() {
			if err := c.Run(running); err != nil {
				t.Errorf("consumer: %v", err)
			}
		})
	}

	// What the topic would deliver, in the order of acceptance.
	n := 0
	var published []events.Event
	publish := func(random *rand.Rand, code string) {
		e := events.New(fmt.Sprintf("d%d", random.IntN(devices)), device.PowerChanged{On: n%2 == 0})
		e.ID, e.Source, e.Sequence = fmt.Sprintf("%05d-%s", n, code), "test", fmt.Sprintf("%08d", n)
		e.Time = time.Now().UTC()
		n++
		published = append(published, e)
		text, err := events.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			b.send(s.queue.URL, e.DeviceID, e.ID, string(text), nil)
		}
	}
	for range 60 + random.IntN(140) {
		publish(random, codes[random.IntN(len(codes))])
	}
	time.Sleep(10 * time.Second) // all handled or dead

	for i := range 6 {
		b.engine.Faults().Add(faults.Rule{
			Kind:     []faults.Kind{faults.FailEntry, faults.DropReply, faults.Throttle, faults.Error500, faults.CloseConnection, faults.FailEntry}[i],
			Action:   []string{"SendMessageBatch", "SendMessageBatch", "DeleteMessageBatch", "ReceiveMessage", "SendMessageBatch", "DeleteMessageBatch"}[i],
			Resource: "", Probability: 0.08, Seed: seed + uint64(i),
		})
	}
	live := make(chan struct{})
	var traffic sync.WaitGroup
	traffic.Go(func() {
		random := rand.New(rand.NewPCG(seed, 8)) // it runs beside the redrives
		for {
			select {
			case <-live:
				return
			case <-time.After(20 * time.Second):
				publish(random, "good")
			}
		}
	})
	for _, code := range codes[1:] {
		for _, s := range all {
			s.mu.Lock()
			s.fixed[code] = true
			s.mu.Unlock()
			for run := 0; ; run++ {
				killAfter := 5 + random.IntN(60)
				if run >= 3 {
					killAfter = 1 << 30 // at last it is left alone
				}
				if s.redrive(t, b, filepath.Join(folder, s.name+".journal"), code, killAfter) {
					break
				}
				// Somebody notices, soon or late.
				time.Sleep([]time.Duration{5 * time.Second, 70 * time.Second, 4 * time.Minute, 7 * time.Minute}[random.IntN(4)])
			}
		}
	}
	b.engine.Faults().Clear()
	close(live)
	traffic.Wait()
	time.Sleep(3 * time.Minute)
	for _, s := range all { // what the faults left
		for _, code := range codes[1:] {
			if !s.redrive(t, b, filepath.Join(folder, s.name+".journal"), code, 1<<30) {
				t.Errorf("%s: the last redrive of %s did not do all", s.name, code)
			}
		}
	}
	time.Sleep(3 * time.Minute)
	drain()
	consuming.Wait()
	for _, s := range all {
		s.check(t, b, published, codes)
	}
}

// redrive runs one process to its end or its kill. It tells whether it came to its end with nothing left.
func (s *service) redrive(t *testing.T, b *bench, journal, code string, killAfter int) bool {
	var mu sync.Mutex
	requests := 0
	step := func() error {
		mu.Lock()
		defer mu.Unlock()
		if requests++; requests > killAfter {
			return errReset
		}
		return nil
	}
	api := &meddler{
		QueueAPI: b.api, delete: step,
		receive:   func(*sqs.ReceiveMessageInput) error { return step() },
		send:      func(*sqs.SendMessageInput) error { return step() },
		afterSend: func(*sqs.SendMessageInput) error { return step() },
		show:      func(*sqs.ChangeMessageVisibilityBatchInput) error { return step() },
	}
	j, err := deadletter.OpenJournal(journal, s.from.URL)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := deadletter.Redrive(t.Context(), api, s.from, deadletter.Config{Filter: deadletter.Filter{Code: code}, Journal: j})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if killAfter == 1<<30 {
		t.Logf("%s %s: %+v %v", s.name, code, sum, err)
	}
	return err == nil && sum.Failed+sum.Held+sum.Broken == 0
}

func (s *service) check(t *testing.T, b *bench, published []events.Event, codes []string) {
	if left := b.takeAll(s.from.URL); len(left) > 0 {
		t.Errorf("%s: %d dead letters are left: %v", s.name, len(left), ids(left))
		for _, m := range left {
			t.Log(*m.MessageId, flat(m))
		}
	}
	newest := map[string]events.Event{}
	for _, e := range published {
		newest[e.DeviceID] = e
		if s.times[e.ID] == 0 {
			t.Errorf("%s: event %s of %s was lost", s.name, e.ID, e.DeviceID)
		}
	}
	for device, e := range newest {
		rows, err := s.state.Device(context.Background(), device)
		if err != nil || len(rows) != 1 || rows[0].EventID != e.ID {
			t.Errorf("%s: the state of %s is %+v, %v, want that of event %s", s.name, device, rows, err, e.ID)
		}
	}
	for device, list := range s.handled {
		for _, code := range codes { // each was redriven by itself
			var some []string
			for _, id := range list {
				if id[6:] == code {
					some = append(some, id)
				}
			}
			if !slices.IsSorted(some) {
				t.Errorf("%s: device %s: events of %s were handled in the order %v", s.name, device, code, some)
			}
		}
	}
	twice := 0
	for _, n := range s.times {
		if n > 1 {
			twice++
		}
	}
	if twice > 0 {
		t.Logf("%s: %d of %d events came twice and took effect once", s.name, twice, len(published))
	}
}
