package gateway_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	broker "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/gateway"
)

// taker confirms everything at once, and writes down what.
type taker struct {
	mu  sync.Mutex
	ids []string
}

func (k *taker) Enqueue(_ context.Context, e events.Event, done func(producer.Result)) error {
	k.mu.Lock()
	k.ids = append(k.ids, e.ID)
	k.mu.Unlock()
	done(producer.Result{Event: e})
	return nil
}

func (k *taker) Stats() producer.Stats { return producer.Stats{} }

func (k *taker) all() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.ids)
}

// Over its limit a device's message is neither lost nor refused: it stays unacknowledged until its turn comes, and with it the
// broker's copy.
func TestSubscribe_OverTheLimitTheAcknowledgementWaits(t *testing.T) {
	t.Parallel()
	var taken taker
	w := newFakeWorld(t, &taken, gateway.Config{Limit: gateway.Limit{PerDevicePerSecond: 1e-6}, DrainTimeout: 1})
	b, url := startBroker(t)
	w.subscribe(t, url)
	device := connect(t, url, "device")
	for i := range 3 {
		publish(t, device, "devices/hot/events", power("hot", fmt.Sprint("h", i)), false)
	}
	publish(t, device, "devices/other/events", power("other", "o"), false)
	eventually(t, "the first of each, with the others waiting at the broker", func() bool {
		return len(taken.all()) == 2 && inFlight(b) == 2
	})
	if got, want := taken.all(), []string{"h0", "o"}; !slices.Equal(got, want) {
		t.Errorf("taken: got %q, want %q", got, want)
	}
	if got := w.scrape(t); !strings.Contains(got, "mqtt_unacknowledged 2\n") || strings.Contains(got, "too-many-events") {
		t.Errorf("metrics: got %s, want two messages that wait, and none refused", got)
	}
}

// What is published with QoS 0 no acknowledgement holds back: while nothing is accepted only so much of it waits in memory, and the rest is
// dropped and counted. What does wait becomes events.
func TestSubscribe_BoundsWhatIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	var taken atomic.Int64
	open := make(chan struct{})
	w := newFakeWorld(t, fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
		taken.Add(1)
		go func() {
			<-open
			done(producer.Result{Event: e})
		}()
		return nil
	}}, gateway.Config{})
	_, url := startBroker(t)
	w.subscribe(t, url)
	device := connect(t, url, "device")
	padded := strings.Replace(power("hot", "h"), "{", "{"+strings.Repeat(" ", 200<<10), 1)
	const count = 200 // 40 MB
	for range count {
		device.Publish("devices/hot/events", 0, false, padded).Wait()
	}
	dropped := func() int {
		_, after, _ := strings.Cut(w.scrape(t), `{result="busy",transport="mqtt"} `)
		n, _ := strconv.Atoi(strings.TrimSpace(strings.SplitN(after, "\n", 2)[0]))
		return n
	}
	eventually(t, "messages to be dropped", func() bool { return dropped() > 0 })
	publish(t, device, "devices/other/events", power("other", "o"), false) // with QoS 1, behind all the others
	eventually(t, "the other device's", func() bool { return taken.Load() == 2 })
	close(open)
	eventually(t, "all that waited", func() bool { return strings.Contains(w.scrape(t), "mqtt_unacknowledged 0\n") })
	if n, most := int(taken.Load())-1, 16<<20/(200<<10); n < most/2 || n > most {
		t.Errorf("%d of %d messages waited, want those that fit into 16 MiB: at most %d", n, count, most)
	}
	full, before := dropped(), taken.Load() // what was waiting has made room
	device.Publish("devices/hot/events", 0, false, padded).Wait()
	publish(t, device, "devices/other/events", power("other", "o2"), false)
	eventually(t, "two more", func() bool { return taken.Load() == before+2 && dropped() == full })
}

// readable lets clients subscribe only while it is open.
type readable struct {
	auth.AllowHook
	open *atomic.Bool
}

func (r *readable) ID() string { return "readable" }

func (r *readable) OnACLCheck(_ *broker.Client, _ string, write bool) bool {
	return write || r.open.Load()
}

// A broker that refuses the subscription looks to an MQTT client like one that grants it. The gateway is not ready until it does.
func TestSubscribe_IsNotReadyWhileTheBrokerRefuses(t *testing.T) {
	t.Parallel()
	var open, told atomic.Bool
	var taken taker
	w := newFakeWorld(t, &taken, gateway.Config{Logger: slog.New(onLog{slog.DiscardHandler, func(message string) {
		if message == "the broker refused the subscription" {
			told.Store(true)
		}
	}})})
	url := startBrokerWith(t, &broker.Options{}, &readable{open: &open})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Subscribe(ctx, gateway.MQTT{Broker: url, ClientID: "gateway-1"}) }()
	eventually(t, "the refusal", told.Load)
	if a := w.get(t, "/readyz"); a.status != 503 || !strings.Contains(a.body, "broker") {
		t.Errorf("while the broker refuses: got %d %s, want 503", a.status, a.body)
	}
	if a := w.get(t, "/readyz?exclude=mqtt"); a.status != 200 {
		t.Errorf("/readyz but for the broker: got %d %s, want 200", a.status, a.body)
	}
	open.Store(true)
	eventually(t, "the subscription", func() bool { return w.get(t, "/readyz").status == 200 })
	publish(t, connect(t, url, "device"), "devices/lamp-1/events", power("lamp-1", "e"), false)
	eventually(t, "the event", func() bool { return len(taken.all()) == 1 })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A broker that grants no acknowledgements would lose messages.
func TestSubscribe_IsNotReadyWithoutAcknowledgements(t *testing.T) {
	t.Parallel()
	var told atomic.Bool
	w := newFakeWorld(t, confirming, gateway.Config{Logger: slog.New(onLog{slog.DiscardHandler, func(message string) {
		if message == "the broker refused the subscription" {
			told.Store(true)
		}
	}})})
	least := broker.NewDefaultServerCapabilities()
	least.MaximumQos = 0
	url := startBrokerWith(t, &broker.Options{Capabilities: least}, &auth.AllowHook{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Subscribe(ctx, gateway.MQTT{Broker: url, ClientID: "gateway-1"}) }()
	eventually(t, "the complaint", told.Load)
	if a := w.get(t, "/readyz"); a.status != 503 {
		t.Errorf("got %d %s, want 503", a.status, a.body)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
