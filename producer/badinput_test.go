package producer_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/producer"
)

// unregistered is a payload that nobody has passed to events.Register.
type unregistered struct{}

func (unregistered) EventType() string { return "device.unheard.of.v1" }

// TestBadInput_IsATypedErrorWithEveryBadField, before anything is accepted.
func TestBadInput_IsATypedErrorWithEveryBadField(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		p := w.producer(t, w.SNS, producer.Config{MaxPast: 24 * time.Hour, MaxFuture: time.Minute})
		at := func(e events.Event, d time.Duration) events.Event {
			e.Time = e.Time.Add(d)
			return e
		}
		for name, c := range map[string]struct {
			event events.Event
			code  events.Code
			want  []string // the paths of the bad fields
		}{
			"unregistered type":         {events.New("d1", unregistered{}), events.CodeUnknownType, []string{"data"}},
			"no payload":                {events.New("d1", nil), events.CodeInvalidData, []string{"data"}},
			"nil pointer":               {events.New("d1", (*device.MotionChanged)(nil)), events.CodeInvalidData, []string{"data"}},
			"NaN":                       {events.New("d1", device.TemperatureMeasured{Celsius: math.NaN()}), events.CodeInvalidData, []string{"data.celsius"}},
			"device ID with a space":    {events.New("lamp 7", device.MotionChanged{}), events.CodeInvalidEnvelope, []string{"subject"}},
			"device ID of 129 letters":  {events.New(strings.Repeat("d", 129), device.MotionChanged{}), events.CodeInvalidEnvelope, []string{"subject"}},
			"no UTF-8":                  {events.New("d1", device.ReadingMeasured{Quantity: "\xff", Value: 1}), events.CodeInvalidData, []string{"data.quantity"}},
			"a week ago":                {at(motion("d1", "e1"), -7*24*time.Hour), events.CodeInvalidEnvelope, []string{"time"}},
			"an hour ahead":             {at(motion("d1", "e1"), time.Hour), events.CodeInvalidEnvelope, []string{"time"}},
			"everything wrong together": {at(events.New("lamp 7", device.HumidityMeasured{Percent: 140}), time.Hour), events.CodeInvalidEnvelope, []string{"time", "subject", "data.percent"}},
		} {
			err := p.Publish(t.Context(), c.event)
			var invalid *producer.InvalidError
			var faults *events.Error
			if !errors.As(err, &invalid) || !errors.As(err, &faults) || invalid.DeviceID != c.event.DeviceID || faults.Code != c.code {
				t.Errorf("%s: got %v, want an InvalidError with the code %s", name, err, c.code)
				continue
			}
			var got []string
			for _, field := range faults.Fields {
				got = append(got, field.Path)
			}
			if strings.Join(got, " ") != strings.Join(c.want, " ") {
				t.Errorf("%s: bad fields %v, want %v", name, got, c.want)
			}
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := w.Engine.Requests()["sns.PublishBatch"]; n != 0 {
			t.Errorf("%d requests for bad events", n)
		}
		if err := p.Publish(t.Context(), motion("d1", "e1")); !errors.Is(err, producer.ErrClosed) {
			t.Errorf("closed producer: got %v, want ErrClosed", err)
		}
	})
}

// TestTime_FarAwayIsTakenByDefault: a device that was offline, or whose clock is wrong, is heard.
func TestTime_FarAwayIsTakenByDefault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.producer(t, w.SNS, producer.Config{})
	for id, year := range map[string]int{"past": 1970, "future": 2999} {
		e := motion("d1", id)
		e.Time = time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		if err := p.Publish(t.Context(), e); err != nil {
			t.Errorf("a time in %d: %v", year, err)
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestTopic_ThatIsNotThere fails events with SNS's own code, and New refuses an ARN that can be no FIFO topic's.
func TestTopic_ThatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, err := producer.New(w.SNS, strings.Replace(w.topic, "dev-", "prod-", 1), producer.Config{GiveUpAfter: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var failed *producer.PublishError
	if err := p.Publish(t.Context(), motion("d1", "e1")); !errors.As(err, &failed) || failed.Code != "NotFound" || failed.Attempts != 1 || errors.Is(err, producer.ErrUnknownOutcome) {
		t.Errorf("got %v, want a PublishError with NotFound after one attempt", err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, arn := range []string{"", "dev-device-events.fifo", "arn:aws:sns:eu-central-1:000000000000:standard", "arn:aws:sqs:eu-central-1:000000000000:q.fifo"} {
		if _, err := producer.New(w.SNS, arn, producer.Config{}); err == nil || !strings.Contains(err.Error(), "topic ARN: got") {
			t.Errorf("ARN %q: got %v, want an error that names it", arn, err)
		}
	}
}

// TestContext_ThatEndsWhileWaitingForRoom: the event is not accepted, and nothing of it is sent.
func TestContext_ThatEndsWhileWaitingForRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		link := &connection{TopicAPI: w.SNS, cut: true}
		p := w.producer(t, link, producer.Config{Buffer: 1})
		if err := p.Enqueue(t.Context(), motion("d1", "e1"), nil); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Publish(short, motion("d2", "e2")); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, producer.ErrUnknownOutcome) {
			t.Errorf("got %v, want just the context's error", err)
		}
		link.mu.Lock()
		link.cut = false
		link.mu.Unlock()
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := w.received(t, w.queues[0])
		if len(got["d1"]) != 1 || len(got["d2"]) != 0 {
			t.Errorf("the queue has %v, want the accepted event alone", got)
		}
	})
}
