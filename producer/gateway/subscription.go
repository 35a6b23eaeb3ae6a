package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/time/rate"

	"github.com/device-fanout/fanout/internal/redact"
)

// packetIDInUse is an answer to a subscription that passes.
const packetIDInUse = 0x91

// subscription is one running Subscribe.
type subscription struct {
	gateway    *Gateway
	cfg        MQTT
	filters    filters
	logger     *slog.Logger
	lanes      *lanes
	received   chan received
	stopped    chan struct{} // closed once nothing is taken any more
	wake       chan struct{} // tells that there are acknowledgements to send
	client     mqtt.Client
	connection atomic.Int64 // number of the last connection that was tried
	online     atomic.Bool
	messageLog rate.Sometimes // limits what is logged about messages
	connectLog rate.Sometimes // limits what is logged about connections
	rivals     rivals
	rivalLog   rate.Sometimes
	refusals   chan refusal
	loose      atomic.Int64 // bytes of messages of QoS 0

	mu      sync.Mutex
	waiting map[uint16]*held // by packet ID: received, and not known to be acknowledged
	acks    []*held          // accepted, to be acknowledged
	put     []*held          // accepted, to be acknowledged once the connection that they came by is fully up
	open    int              // of those, the ones that are not accepted yet
	idle    chan struct{}    // closed once open is 0 again; nil while nobody waits for that
}

// received is a message as it came in.
type received struct {
	mqtt.Message
	connection int64
}

// held is a message that is not acknowledged yet.
type held struct {
	received
	accepted bool // to be acknowledged
}

func newSubscription(g *Gateway, cfg MQTT, filters filters, sending context.Context) *subscription {
	s := &subscription{
		gateway: g, cfg: cfg, filters: filters, logger: g.cfg.Logger.With("broker", redact.URL(cfg.Broker), "client_id", cfg.ClientID),
		connectLog: rate.Sometimes{First: 3, Interval: time.Minute}, rivalLog: rate.Sometimes{First: 1, Interval: time.Minute}, refusals: make(chan refusal, maxRefusals),
		received: make(chan received, maxMQTTQueue), stopped: make(chan struct{}), wake: make(chan struct{}, 1),
		waiting: map[uint16]*held{}, messageLog: rate.Sometimes{First: 10, Interval: time.Second},
	}
	s.lanes = newLanes(sending, g.send)
	s.lanes.backoff = mqttBackoff.After
	s.lanes.pace = func(device string) time.Duration { return reserve(g.limits.ofDevice(s.limited(), device, g.cfg.Limit)) }
	return s
}

// limited is the name that the limits know this subscription by. No key has it.
func (s *subscription) limited() string { return "mqtt:" + s.cfg.ClientID }

// subscribe asks for the topic until the broker grants it, or the connection is another one.
func (s *subscription) subscribe(connection int64) {
	for told := false; s.connection.Load() == connection; told = true {
		err := s.ask()
		if err == nil && len(s.cfg.Former) > 0 { // afterwards, so that nothing is missed between the two
			token := s.client.Unsubscribe(s.cfg.Former...)
			token.Wait()
			err = token.Error()
		}
		if err == nil {
			s.setConnected(s.client.IsConnectionOpen())
			s.logger.Info("subscribed", "topic", s.cfg.Topic)
			return
		}
		if !told && s.client.IsConnectionOpen() {
			s.logger.Error("the broker refused the subscription", "topic", s.cfg.Topic, "err", err)
		}
		select {
		case <-time.After(reconnectEvery): // its rules may have changed
		case <-s.stopped:
			return
		}
	}
}

// ask asks for the topic once. A refusal is no error to the client, and neither is a lower quality of service.
func (s *subscription) ask() error {
	token := s.client.Subscribe(s.cfg.Topic, atLeastOnce, nil)
	if token.Wait(); token.Error() != nil {
		return token.Error()
	}
	answer, ok := token.(*mqtt.SubscribeToken)
	if !ok {
		return fmt.Errorf("got a %T", token)
	}
	switch granted := answer.Result()[s.cfg.Topic]; {
	case granted == atLeastOnce:
		return nil
	case granted < atLeastOnce:
		return fmt.Errorf("it grants QoS %d, want %d: messages would be lost", granted, atLeastOnce)
	case granted == packetIDInUse: // the broker of fanout up takes the packet IDs of what it delivers for the client's own
		return fmt.Errorf("it answers %#x: it delivers what it has kept, and its packet IDs are in use", granted)
	default:
		return fmt.Errorf("it answers %#x: may this user read the topic?", granted)
	}
}

func (s *subscription) setConnected(yes bool) {
	if s.online.CompareAndSwap(!yes, yes) {
		if yes {
			s.gateway.connected.Add(1)
		} else {
			s.gateway.connected.Add(-1)
		}
	}
}

// receive is called by the MQTT client for every message, one after another. It must not wait for the producer: the client's pings
// would wait too, and the broker would give up on it.
func (s *subscription) receive(_ mqtt.Client, m mqtt.Message) {
	if m.Qos() == 0 && s.loose.Add(looseBytes(m)) > maxLooseBytes {
		s.loose.Add(-looseBytes(m))
		p := newProblem(kindBusy, "too many messages of QoS 0 are waiting: publish with QoS 1, and the broker keeps them")
		s.messageLog.Do(func() { s.logger.Warn("message dropped", "topic", m.Topic(), "err", p) })
		s.gateway.metrics.count(overMQTT, p, 0)
		return
	}
	select {
	case s.received <- received{m, s.connection.Load()}:
	case <-s.stopped:
	}
}

func looseBytes(m mqtt.Message) int64 {
	return int64(len(m.Payload()) + len(m.Topic()) + looseOverhead)
}

// take hands messages on in the order of their arrival, until ctx ends. Over the limit of all it waits, and what has come stays
// unacknowledged meanwhile.
func (s *subscription) take(ctx context.Context) {
	defer close(s.stopped)
	g := s.gateway
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-s.received:
			if wait := reserve(g.limits.ofKey(s.limited(), g.cfg.Limit)); wait > 0 {
				select {
				case <-ctx.Done(): // the broker delivers it again
					return
				case <-time.After(wait):
				}
			}
			s.takeOne(m)
		}
	}
}

func (s *subscription) takeOne(m received) {
	begin := time.Now()
	h, again := s.hold(m)
	if again {
		return
	}
	answer := func(err error) {
		p := (*Problem)(nil)
		if err != nil {
			if p = problemOf(err); p.mayPass() {
				s.release(h, false) // Subscribe ends; the broker delivers it again
				return
			}
			s.messageLog.Do(func() { s.logger.Warn("message refused", "topic", m.Topic(), "err", p) })
			s.tellRefusal(m.Topic(), p)
		}
		s.gateway.metrics.count(overMQTT, p, time.Since(begin))
		s.release(h, true)
	}
	switch {
	case m.Retained():
		answer(newProblem(kindInvalid, "a retained message is no event: publish without the retain flag"))
		return
	case len(m.Payload()) > s.gateway.cfg.MaxEventBytes:
		answer(newProblem(kindTooLarge, fmt.Sprintf("got %d bytes, want at most %d", len(m.Payload()), s.gateway.cfg.MaxEventBytes)))
		return
	}
	e, p := s.filters.parseMessage(m)
	if p == nil {
		p = s.gateway.checkTime(e)
	}
	if p != nil {
		answer(p)
		return
	}
	s.lanes.submit(e, answer)
}

// hold notes a message as not acknowledged. After a connection was lost, the broker delivers again what was not acknowledged, under the
// same packet ID. A message that is still held is then the same one, for only after an acknowledgement the ID can get
// another: it must not become a second event.
func (s *subscription) hold(m received) (_ *held, again bool) {
	s.mu.Lock()
	h := s.waiting[m.MessageID()]
	same := h != nil && m.Duplicate() && m.Qos() > 0 && h.Topic() == m.Topic() && bytes.Equal(h.Payload(), m.Payload())
	if !same {
		h = &held{received: m}
		if m.Qos() > 0 {
			s.waiting[m.MessageID()] = h
		}
		s.open++
		s.mu.Unlock()
		s.gateway.metrics.unacked.Inc()
		return h, false
	}
	h.received = m
	if h.accepted {
		s.acknowledge(h)
	}
	s.mu.Unlock()
	return h, true
}

// release ends the holding of a message. It may be called by the producer, and must not wait for the connection.
func (s *subscription) release(h *held, accepted bool) {
	s.gateway.metrics.unacked.Dec()
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.Qos() == 0 { // under the lock: a message that the broker delivers again takes the place of the one before
		s.loose.Add(-looseBytes(h))
	}
	if accepted {
		h.accepted = true
		s.acknowledge(h)
	}
	if s.open--; s.open == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// acknowledge has a message acknowledged soon. The caller holds mu.
func (s *subscription) acknowledge(h *held) {
	s.acks = append(s.acks, h)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sendAcks sends acknowledgements, in the order of acceptance, until end is closed and none is left.
func (s *subscription) sendAcks(end <-chan struct{}) {
	for ending := false; ; {
		s.mu.Lock()
		acks := s.acks
		s.acks = nil
		s.mu.Unlock()
		for _, h := range acks {
			if m, live := s.letGo(h); live {
				m.Ack()
			}
		}
		if ending {
			return
		}
		select {
		case <-s.wake:
		case <-end:
			ending = true
		}
	}
}

// letGo forgets a message that is about to be acknowledged, unless its connection is gone, and the acknowledgement could not be
// sent: then the message stays until the broker delivers it again.
func (s *subscription) letGo(h *held) (_ received, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := h.received
	switch {
	case m.connection != s.connection.Load():
		return m, false
	case !s.client.IsConnectionOpen(): // not yet, or not any more
		s.put = append(s.put, h)
		return m, false
	}
	if s.waiting[m.MessageID()] == h {
		delete(s.waiting, m.MessageID())
	}
	return m, true
}

// connected sends what was put off.
func (s *subscription) connected() {
	s.rivals.connected(time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.put {
		s.acknowledge(h)
	}
	s.put = nil
}

// drain waits until every message that was taken is accepted, at most for patience.
func (s *subscription) drain(patience time.Duration) {
	s.mu.Lock()
	if s.open == 0 {
		s.mu.Unlock()
		return
	}
	idle := make(chan struct{})
	s.idle = idle
	s.mu.Unlock()
	select {
	case <-idle:
	case <-time.After(patience):
		s.logger.Warn("messages were not accepted in time; the broker will deliver them again")
	}
}

// withDevice adds the device to a payload in the short form that does not name it. What is no JSON object stays as it is, for
// the parser to refuse.
func withDevice(payload []byte, device string) []byte {
	var names struct {
		DeviceID    json.RawMessage `json:"device_id"`
		SpecVersion json.RawMessage `json:"specversion"`
	}
	trimmed := bytes.TrimSpace(payload)
	if json.Unmarshal(trimmed, &names) != nil || names.DeviceID != nil || names.SpecVersion != nil || len(trimmed) == 0 || trimmed[0] != '{' {
		return payload
	}
	member, err := json.Marshal(device)
	if err != nil {
		return payload
	}
	text := append([]byte(`{"device_id":`), member...)
	if rest := bytes.TrimSpace(trimmed[1:]); len(rest) > 0 && rest[0] != '}' {
		text = append(text, ',')
	}
	return append(text, trimmed[1:]...)
}
