package gateway

import (
	"testing"
	"time"
)

func TestTopicFilter_MatchesTheWholeTopic(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		filter, topic, device string
		ok                    bool
	}{
		{"devices/+/events", "devices/lamp-1/events", "lamp-1", true},
		{"devices/+/events", "devices//events", "", true}, // no device: the parser refuses it
		{"devices/+/events", "devices/lamp-1/state", "", false},
		{"devices/+/events", "home/lamp-1/events", "", false},
		{"devices/+/events", "devices/lamp-1/events/x", "", false},
		{"devices/+/events", "devices/lamp-1", "", false},
		{"+/events", "lamp-1/events", "lamp-1", true},
		{"+", "lamp-1", "lamp-1", true},
		{"a/+", "a/b/c", "", false},
	} {
		f, err := parseTopicFilter(c.filter)
		if err != nil {
			t.Fatal(err)
		}
		device, ok := f.device(c.topic)
		if device != c.device || ok != c.ok {
			t.Errorf("%s on %s: got %q, %v, want %q, %v", c.filter, c.topic, device, ok, c.device, c.ok)
		}
		if ok && f.topicOf(device) != c.topic {
			t.Errorf("%s: the topic of %q is %q, want %q", c.filter, device, f.topicOf(device), c.topic)
		}
	}
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"devices/+/events", "devices/+/refusals", false},
		{"devices/+/events", "devices/+/events", true},
		{"+/events", "lamp/+", true},
		{"+/events", "devices/+/events", false},
	} {
		a, _ := parseTopicFilter(c.a)
		b, _ := parseTopicFilter(c.b)
		if a.overlaps(b) != c.want || b.overlaps(a) != c.want {
			t.Errorf("%s and %s overlap: want %v both ways", c.a, c.b, c.want)
		}
	}
}

func TestRivals_AreSuspectedAfterShortConnectionsInARow(t *testing.T) {
	t.Parallel()
	var r rivals
	now := time.Now()
	connection := func(lasts time.Duration) (int, time.Duration) {
		r.connected(now)
		now = now.Add(lasts)
		return r.lost(now)
	}
	for i := 1; i < suspicious; i++ {
		if times, pause := connection(time.Second); times != i || pause != 0 {
			t.Errorf("connection %d: got %d and a pause of %v, want none", i, times, pause)
		}
	}
	if times, pause := r.lost(now); times != 0 || pause != 0 {
		t.Errorf("an attempt that failed: got %d and %v, want it not counted", times, pause)
	}
	_, first := connection(time.Second)
	if first <= 0 || first > reconnectEvery {
		t.Errorf("got a pause of %v, want up to %v", first, reconnectEvery)
	}
	for range 20 {
		_, first = connection(time.Second)
	}
	if first < rivalsBackoff.Most/2 || first > rivalsBackoff.Most {
		t.Errorf("after many: got a pause of %v, want about %v", first, rivalsBackoff.Most)
	}
	if times, pause := connection(soon); times != 0 || pause != 0 {
		t.Errorf("after a long connection: got %d and %v, want a new beginning", times, pause)
	}
}

// Whatever comes by whatever topic is an event of the device that the topic names, or a problem that blames the sender.
func FuzzMessage(f *testing.F) {
	f.Add("devices/+/events", "devices/lamp-1/events", []byte(`{"type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`))
	f.Add("+", "", []byte(`{"device_id":"x"}`))
	f.Add("a/+/$share", "$share/b/c", []byte("\x00{"))
	f.Fuzz(func(t *testing.T, filter, topic string, payload []byte) {
		parsed, err := parseTopicFilter(filter)
		if err != nil {
			return
		}
		e, p := filters{topics: []topicFilter{parsed}}.parseMessage(fuzzedMessage{topic: topic, payload: payload})
		if p != nil {
			if p.Status < 400 || p.Status >= 500 || p.mayPass() {
				t.Errorf("got %+v, want a problem that blames the sender", p)
			}
			return
		}
		if device, ok := parsed.device(topic); !ok || e.DeviceID != device || parsed.topicOf(device) != topic {
			t.Errorf("filter %q, topic %q: got an event of %q", filter, topic, e.DeviceID)
		}
	})
}

type fuzzedMessage struct {
	topic   string
	payload []byte
}

func (m fuzzedMessage) Topic() string     { return m.topic }
func (m fuzzedMessage) Payload() []byte   { return m.payload }
func (m fuzzedMessage) Duplicate() bool   { return false }
func (m fuzzedMessage) Qos() byte         { return 1 }
func (m fuzzedMessage) Retained() bool    { return false }
func (m fuzzedMessage) MessageID() uint16 { return 1 }
func (m fuzzedMessage) Ack()              {}
