package gateway

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/device-fanout/fanout/events"
	awsx "github.com/device-fanout/fanout/internal/aws"
	"github.com/device-fanout/fanout/internal/redact"
)

// MQTT says which broker to subscribe to, and how.
type MQTT struct {
	// Broker is its URL: tcp://HOST:1883, or ssl://HOST:8883. A user and a password in it count as Username and Password. Required.
	Broker string
	// ClientID names the session that the broker keeps for this gateway while it is away. It must be the same after a restart and
	// no other client's: a broker ends a connection whose client ID connects again. Brokers may refuse more than 23 characters. Required.
	ClientID string
	// Topic is the topic filter, in which + stands for the device. Empty means DefaultTopic. One device's messages must not be
	// divided among several gateways, or they lose their order: so it can't be a shared subscription.
	Topic string
	// Former are the filters that this session was subscribed to before, in the form of Topic. A broker keeps a session's subscriptions,
	// and messages for them, until it is told otherwise: Subscribe ends them, and still takes what has come by them. Messages by a
	// filter that is named nowhere are refused, as nothing says where their device stands. None of them is Topic.
	Former []string
	// Refusals is where devices hear of their messages that were refused, with a + for the device, such as "devices/+/refusals". What
	// is published there, at QoS 0, is the problem document of the gateway's HTTP answer with the member reason_code: the reason code
	// of MQTT 5 that says the same. No topic of Topic or Former may match it. Empty means nowhere.
	Refusals string
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
	// disconnectWait is how long the last packets may take to leave.
	disconnectWait = 250 * time.Millisecond
)

// mqttBackoff is how long a message that could not be published waits for its next attempt.
var mqttBackoff = awsx.Backoff{First: 100 * time.Millisecond, Most: 30 * time.Second}

// withDefaults also moves a password out of the URL, which is logged.
func (cfg MQTT) withDefaults() MQTT {
	cfg.Topic = cmp.Or(cfg.Topic, DefaultTopic)
	if u, err := url.Parse(cfg.Broker); err == nil && u.User != nil {
		cfg.Username = cmp.Or(cfg.Username, u.User.Username())
		password, _ := u.User.Password()
		cfg.Password = cmp.Or(cfg.Password, password)
		u.User = nil
		cfg.Broker = u.String()
	}
	return cfg
}

// filters are the parsed topic filters of an MQTT.
type filters struct {
	topics   []topicFilter // Topic, and Former after it
	refusals topicFilter   // nil without
}

// device is the device that a topic names.
func (f filters) device(topic string) (string, bool) {
	for _, filter := range f.topics {
		if device, ok := filter.device(topic); ok {
			return device, true
		}
	}
	return "", false
}

func (cfg MQTT) filters() (f filters, err error) {
	var faults []error
	parse := func(name, text string) topicFilter {
		filter, err := parseTopicFilter(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("gateway: MQTT: %s: got %q, want %w", name, text, err))
		}
		return filter
	}
	f.topics = []topicFilter{parse("Topic", cfg.Topic)}
	for _, former := range cfg.Former {
		f.topics = append(f.topics, parse("Former", former))
		if former == cfg.Topic {
			faults = append(faults, fmt.Errorf("gateway: MQTT: Former: got %q, want a filter other than Topic: its subscription would end as soon as it is made", former))
		}
	}
	if cfg.Refusals != "" {
		f.refusals = parse("Refusals", cfg.Refusals)
		if slices.ContainsFunc(f.topics, f.refusals.overlaps) {
			faults = append(faults, fmt.Errorf("gateway: MQTT: Refusals: got %q, want a topic that no other filter matches: what is published there would come back as a message of a device", cfg.Refusals))
		}
	}
	return f, errors.Join(faults...)
}

func (cfg MQTT) validate() error {
	var faults []error
	u, err := url.Parse(cfg.Broker)
	switch {
	case err != nil: // it may hold a password
		faults = append(faults, errors.New("gateway: MQTT: Broker: got a text that is no URL, want one such as tcp://127.0.0.1:1883"))
	case u.Host == "" || !slices.Contains([]string{"tcp", "mqtt", "ssl", "tls", "mqtts", "ws", "wss"}, u.Scheme):
		faults = append(faults, fmt.Errorf("gateway: MQTT: Broker: got %q, want a URL such as tcp://127.0.0.1:1883", redact.URL(cfg.Broker)))
	}
	if cfg.ClientID == "" {
		faults = append(faults, errors.New(`gateway: MQTT: ClientID: got "", want a name that stays the same after a restart`))
	}
	return errors.Join(faults...)
}

// Validate returns every fault of cfg, as [Gateway.Subscribe] does, or nil.
func (cfg MQTT) Validate() error {
	cfg = cfg.withDefaults()
	_, err := cfg.filters()
	return errors.Join(cfg.validate(), err)
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
	cfg = cfg.withDefaults()
	filters, err := cfg.filters()
	if err := errors.Join(cfg.validate(), err); err != nil {
		return err
	}
	g.subscribers.Add(1)
	defer g.subscribers.Add(-1)
	sending, abort := context.WithCancel(context.WithoutCancel(ctx))
	defer abort()
	s := newSubscription(g, cfg, filters, sending)
	s.client = mqtt.NewClient(s.options())
	acknowledged, drained := make(chan struct{}), make(chan struct{})
	go func() { // ends once drained
		defer close(acknowledged)
		s.sendAcks(drained)
	}()
	var refusing sync.WaitGroup
	refusing.Go(func() { s.sendRefusals(drained) }) // ends once drained
	s.client.Connect()                              // goes on by itself until it succeeds, or Disconnect
	s.take(ctx)
	s.drain(g.cfg.DrainTimeout)
	abort()
	s.lanes.close()
	close(drained)
	<-acknowledged
	refusing.Wait()
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
		SetCustomOpenConnectionFn(dial).
		SetWriteTimeout(mqttWriteTimeout). // for a place among what is to be written
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
	o.SetReconnectingHandler(func(mqtt.Client, *mqtt.ClientOptions) { s.reconnecting() })
	o.SetConnectionLostHandler(func(client mqtt.Client, err error) {
		s.setConnected(client.IsConnectionOpen())
		s.connectLog.Do(func() { s.logger.Warn("connection to the broker lost", "err", err) })
	})
	o.SetConnectionNotificationHandler(func(_ mqtt.Client, n mqtt.ConnectionNotification) {
		if failed, ok := n.(mqtt.ConnectionNotificationFailed); ok {
			s.connectLog.Do(func() { s.logger.Warn("no connection to the broker", "err", failed.Reason) })
		}
	})
	return o
}

// parseMessage reads a message as an event of the device that its topic names.
func (f filters) parseMessage(m mqtt.Message) (events.Event, *Problem) {
	device, ok := f.device(m.Topic())
	if !ok {
		return events.Event{}, newProblem(kindForeignTopic, fmt.Sprintf("topic %q matches no filter of this gateway: its session at the broker has a subscription from before; name that in Former (--mqtt-former-topic), and it ends", m.Topic()))
	}
	e, err := events.ParseLine(withDevice(m.Payload(), device))
	if err != nil {
		return e, problemOf(err)
	}
	if e.DeviceID != device {
		return e, newProblem(kindForbidden, fmt.Sprintf("got an event of device %q on topic %q, want one of device %q", e.DeviceID, m.Topic(), device))
	}
	return e, nil
}
