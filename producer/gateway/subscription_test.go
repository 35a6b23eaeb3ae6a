package gateway

import (
	"context"
	"testing"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/producer"
)

type noPublisher struct{}

func (noPublisher) Enqueue(context.Context, events.Event, func(producer.Result)) error { return nil }

func (noPublisher) Stats() producer.Stats { return producer.Stats{} }

// openClient is a client whose connection is open, or not.
type openClient struct {
	mqtt.Client
	open bool
}

func (c *openClient) IsConnectionOpen() bool { return c.open }

// packet is a message of QoS 1.
type packet struct {
	mqtt.Message
	id        uint16
	duplicate bool
	payload   string
}

func (p packet) MessageID() uint16 { return p.id }
func (packet) Qos() byte           { return atLeastOnce }
func (p packet) Duplicate() bool   { return p.duplicate }
func (packet) Topic() string       { return "devices/lamp-1/events" }
func (p packet) Payload() []byte   { return []byte(p.payload) }

func newTestSubscription(t *testing.T) (*subscription, *openClient) {
	t.Helper()
	g, err := New(noPublisher{}, Anyone(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	s := newSubscription(g, MQTT{ClientID: "g"}, filters{}, t.Context())
	t.Cleanup(s.lanes.close)
	client := &openClient{open: true}
	s.client = client
	return s, client
}

// A message that was accepted when its connection was gone is known until the broker delivers it again, or it would be a second event then. It
// is acknowledged on the connection that it came by last.
func TestSubscription_AnAcknowledgementBelongsToItsConnection(t *testing.T) {
	t.Parallel()
	s, client := newTestSubscription(t)
	s.connection.Store(1)
	h, _ := s.hold(received{packet{id: 7, payload: "a"}, 1})
	s.connection.Store(2) // it is up, and has not delivered anything yet
	s.release(h, true)
	if _, live := s.letGo(h); live {
		t.Error("acknowledged on a connection that it did not come by")
	}
	s.acks = nil // sent, to no avail
	again, known := s.hold(received{packet{id: 7, payload: "a", duplicate: true}, 2})
	if !known || again != h {
		t.Fatal("delivered again, it is taken for another message")
	}
	if len(s.acks) != 1 {
		t.Errorf("delivered again: %d acknowledgements to send, want 1", len(s.acks))
	}
	client.open = false
	if _, live := s.letGo(h); live || len(s.put) != 1 {
		t.Errorf("while the connection is not fully up: acknowledged: %v, put off: %d, want it put off", live, len(s.put))
	}
	client.open = true
	s.acks = nil
	s.connected()
	if len(s.acks) != 1 {
		t.Fatalf("the connection is up: %d acknowledgements to send, want 1", len(s.acks))
	}
	if m, live := s.letGo(h); !live || m.connection != 2 {
		t.Errorf("got live %v on connection %d, want it acknowledged on the second", live, m.connection)
	}
	if _, known := s.hold(received{packet{id: 7, payload: "a"}, 2}); known {
		t.Error("a new message under the same packet ID is taken for the one before")
	}
}

// Under a packet ID that is given anew, only the very same message is a second delivery.
func TestSubscription_AnotherMessageUnderThePacketID(t *testing.T) {
	t.Parallel()
	s, _ := newTestSubscription(t)
	first, _ := s.hold(received{packet{id: 7, payload: "a"}, 0})
	if _, known := s.hold(received{packet{id: 7, payload: "b", duplicate: true}, 0}); known {
		t.Error("another payload is taken for a second delivery, and would be lost")
	}
	third, known := s.hold(received{packet{id: 7, payload: "b"}, 0})
	if known || third == first {
		t.Error("what does not say that it is a duplicate is taken for one, and would be lost")
	}
}
