package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/device-fanout/fanout/events"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// MQTT says which broker to subscribe to, and how.
type MQTT struct {
	// Broker is its URL: tcp://HOST:1883, or ssl://HOST:8883. Required.
	Broker string
	// ClientID names the session that the broker keeps for this gateway while it is away. It must be the same after a restart and
	// no other client's. Required.
	ClientID string
	// Topic is the topic filter, in which + stands for the device. Empty means DefaultTopic. One device's messages must not be
	// divided among several gateways, or they lose their order: so it can't be a shared subscription.
	Topic string
	// Username and Password are those for the broker, if it wants any.
	Username, Password string
	// TLS is for ssl:// brokers. Nil means the system's roots.
	TLS *tls.Config
}

// DefaultTopic is where devices publish.
const DefaultTopic = "devices/+/events"

const (
	// atLeastOnce is the quality of service (QoS) at which messages are acknowledged.
	atLeastOnce = 1
	// maxMQTTQueue is how many messages may be received and not yet looked at.
	maxMQTTQueue = 4096
	// maxLooseBytes bounds the messages of QoS 0 in memory, with looseOverhead for each. No acknowledgement that waits holds the
	// broker back from sending more of them.
	maxLooseBytes = 16 << 20
	looseOverhead = 512
	// reconnectEvery is how often a broker that is away is tried.
	reconnectEvery = 2 * time.Second
	// disconnectWait is how long the last acknowledgements may take to leave.
	disconnectWait = 250 * time.Millisecond
)

// mqttBackoff is how long a message that could not be published waits for its next attempt.
var mqttBackoff = awsx.Backoff{First: 100 * time.Millisecond, Most: 30 * time.Second}

func (cfg MQTT) validate() error {
	var faults []error
	fault := func(name string, got any, want string) {
		faults = append(faults, fmt.Errorf("gateway: MQTT: %s: got %q, want %s", name, got, want))
	}
	if u, err := url.Parse(cfg.Broker); err != nil || u.Host == "" || !slices.Contains([]string{"tcp", "mqtt", "ssl", "tls", "mqtts", "ws", "wss"}, u.Scheme) {
		fault("Broker", cfg.Broker, "a URL such as tcp://127.0.0.1:1883")
	}
	if cfg.ClientID == "" {
		fault("ClientID", cfg.ClientID, "a name that stays the same after a restart")
	}
	levels := strings.Split(cfg.Topic, "/")
	wildcards := 0
	for _, level := range levels {
		if level == "+" {
			wildcards++
		} else if strings.ContainsAny(level, "+#") {
			wildcards = 2
		}
	}
	switch {
	case levels[0] == "$share":
		fault("Topic", cfg.Topic, "no shared subscription: it would divide the messages of one device, and they would lose their order")
	case wildcards != 1:
		fault("Topic", cfg.Topic, "a topic with one + for the device, such as "+DefaultTopic)
	}
	return errors.Join(faults...)
}

// device is the part of a topic that stands where the filter has its +.
func (cfg MQTT) device(topic string) string {
	at := slices.Index(strings.Split(cfg.Topic, "/"), "+")
	levels := strings.Split(topic, "/")
	if at >= len(levels) {
		return ""
	}
	return levels[at]
}

// Subscribe takes events from an MQTT broker until ctx ends. Then it waits for what it has taken, as long as Config.DrainTimeout,
// and returns nil; what is not acknowledged by then the broker delivers again. It connects again, for as long as that takes, when
// the connection is lost. The error tells what is wrong with cfg.
//
// A message is one event, as over HTTP. It is of the device that the topic names: device_id may be missing in it, and must not say anything
// else. Over the limits of Config.Limit, for all messages and for those of a device, a message waits unacknowledged until its turn has
// come. Messages that can never become events are acknowledged and logged. Retained messages are copies that a broker hands to
// every new subscription, and no events. A message that was published with QoS 0 has no acknowledgement that could wait: when 16 MiB of
// them are waiting, more are dropped, logged and counted.
func (g *Gateway) Subscribe(ctx context.Context, cfg MQTT) error {
	if cfg.Topic == "" {
		cfg.Topic = DefaultTopic
	}
	if err := cfg.validate(); err != nil {
		return err
	}
	g.subscribers.Add(1)
	defer g.subscribers.Add(-1)
	sending, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	s := newSubscription(g, cfg, sending)
	s.client = mqtt.NewClient(s.options())
	acknowledged, drained := make(chan struct{}), make(chan struct{})
	go func() { // ends once drained
		defer close(acknowledged)
		s.sendAcks(drained)
	}()
	s.client.Connect() // goes on by itself until it succeeds, or Disconnect
	s.take(ctx)
	s.drain(g.cfg.DrainTimeout)
	abort()
	s.lanes.close()
	close(drained)
	<-acknowledged
	s.client.Disconnect(uint(disconnectWait.Milliseconds()))
	s.setConnected(false)
	return nil
}

func (s *subscription) options() *mqtt.ClientOptions {
	o := mqtt.NewClientOptions().
		AddBroker(s.cfg.Broker).
		SetClientID(s.cfg.ClientID).
		SetUsername(s.cfg.Username).
		SetPassword(s.cfg.Password).
		SetCleanSession(false). // the broker keeps what comes while this gateway is away
		SetAutoAckDisabled(true).
		SetOrderMatters(true).
		SetConnectRetry(true).
		SetConnectRetryInterval(reconnectEvery).
		SetMaxReconnectInterval(reconnectEvery)
	if s.cfg.TLS != nil {
		o.SetTLSConfig(s.cfg.TLS)
	}
	// Messages that the broker has kept come before the subscription is renewed, and would find no handler but this.
	o.SetDefaultPublishHandler(s.receive)
	o.SetOnConnectHandler(func(mqtt.Client) {
		s.connected()
		go s.subscribe(s.connection.Load()) // ends with the broker's consent, the connection, or Subscribe
	})
	o.SetConnectionAttemptHandler(func(_ *url.URL, c *tls.Config) *tls.Config {
		s.connection.Add(1) // here, because the other handlers may be called late
		return c
	})
	o.SetConnectionLostHandler(func(client mqtt.Client, err error) {
		s.setConnected(client.IsConnectionOpen())
		s.logger.Warn("connection to the broker lost", "err", err)
	})
	o.SetConnectionNotificationHandler(func(_ mqtt.Client, n mqtt.ConnectionNotification) {
		if failed, ok := n.(mqtt.ConnectionNotificationFailed); ok {
			s.logger.Warn("no connection to the broker", "err", failed.Reason)
		}
	})
	return o
}

// parseMessage reads a message as an event of the device that its topic names.
func (cfg MQTT) parseMessage(m mqtt.Message) (events.Event, *Problem) {
	device := cfg.device(m.Topic())
	e, err := events.ParseLine(withDevice(m.Payload(), device))
	if err != nil {
		return e, problemOf(err)
	}
	if e.DeviceID != device {
		return e, newProblem(kindForbidden, fmt.Sprintf("got an event of device %q on topic %q, want one of device %q", e.DeviceID, m.Topic(), device))
	}
	return e, nil
}
