package chime_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/producer"

	"example.com/acme/platform/infra/declaration"
	"example.com/acme/platform/services/chime"
)

func open(t *testing.T, target string) *chime.Service {
	t.Helper()
	service, err := chime.Open(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return service
}

// samples are the events that the service hears, one of each type.
func samples(t *testing.T) []events.Event {
	t.Helper()
	var all []events.Event
	for _, name := range []string{"acme.doorbell.pressed.v1"} {
		eventType, ok := events.Lookup(name)
		if !ok {
			t.Fatalf("type %s is not registered", name)
		}
		all = append(all, events.New("hall", eventType.Sample))
	}
	return all
}

func TestService_HandlesEachEventOnce(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		all := samples(t)
		for range 3 { // delivered three times
			for _, e := range all {
				if err := service.Handle(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
		}
		n, _, err := service.Device(t.Context(), "hall")
		if got, want := n, int64(len(all)); err != nil || got != want {
			t.Errorf("events: got %d, %v, want %d", got, err, want)
		}
	})
}

func TestService_RedrivenEventDoesNotOverwrite(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		service := open(t, target)
		newer, older := samples(t)[0], samples(t)[0]
		older.Time = newer.Time.Add(-time.Hour)
		for _, e := range []events.Event{newer, older} {
			if err := service.Handle(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		n, last, err := service.Device(t.Context(), "hall")
		if err != nil || n != 2 || last != newer.ID {
			t.Errorf("device: got %d events, the last %s, %v, want 2 and %s", n, last, err, newer.ID)
		}
	})
}

func TestService_RefusesWhatItDoesNotHear(t *testing.T) {
	t.Parallel()
	err := open(t, databasetest.SQLite(t)).Handle(t.Context(), events.Event{ID: "a", DeviceID: "hall", Time: time.Now()})
	var known *consumers.KnownError
	if !errors.As(err, &known) || known.Code != consumers.CodeNoHandler {
		t.Errorf("error: got %v, want a known one with code %s", err, consumers.CodeNoHandler)
	}
}

// From a gateway through topic, filter and queue of the local engine to the service, as the topology declares them.
func TestService_BehindTheTopic(t *testing.T) {
	t.Parallel()
	fanout := provision.Start(t, declaration.Topology(), "dev", local.Options{})
	service := open(t, databasetest.SQLite(t))
	all := samples(t)
	handled := make(chan struct{}, len(all))
	queue := consumers.Queue{Service: "chime", URL: fanout.Queues["chime"].URL, DLQURL: fanout.Queues["chime"].DLQURL}
	consumer, err := consumers.New(fanout.SQS, queue, func(ctx context.Context, e events.Event) error {
		err := service.Handle(ctx, e)
		if err == nil {
			handled <- struct{}{}
		}
		return err
	}, consumers.Config{WaitTime: time.Second, Check: service.Check})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx) }()

	gateway, err := producer.New(fanout.SNS, fanout.TopicARN, producer.Config{Source: "gateway/test"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if err := gateway.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for range all {
		<-handled
	}
	stop()
	if err := errors.Join(<-ended, gateway.Close(context.Background())); err != nil {
		t.Fatal(err)
	}
	n, last, err := service.Device(t.Context(), "hall")
	if err != nil || n != int64(len(all)) || last != all[len(all)-1].ID {
		t.Errorf("device: got %d events, the last %s, %v, want %d and %s", n, last, err, len(all), all[len(all)-1].ID)
	}
}
