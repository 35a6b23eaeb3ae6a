package gateway_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	broker "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/gateway"
)

// patience is how long a test waits for something that must come. It is no measure of speed.
const patience = time.Minute

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// startBroker starts an MQTT broker on a free port of this machine.
func startBroker(t testing.TB) (*broker.Server, string) {
	t.Helper()
	b := broker.New(&broker.Options{Logger: slog.New(slog.DiscardHandler)})
	return b, serveBroker(t, b, new(auth.AllowHook))
}

// startBrokerWith starts one with a mind of its own.
func startBrokerWith(t testing.TB, o *broker.Options, hook broker.Hook) string {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	return serveBroker(t, broker.New(o), hook)
}

func serveBroker(t testing.TB, b *broker.Server, hook broker.Hook) string {
	t.Helper()
	url, _ := serveBrokerAt(t, b, hook, "127.0.0.1:0")
	return url
}

func serveBrokerAt(t testing.TB, b *broker.Server, hook broker.Hook, address string) (url string, stop func()) {
	t.Helper()
	if err := b.AddHook(hook, nil); err != nil {
		t.Fatal(err)
	}
	tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: address})
	if err := b.AddListener(tcp); err != nil {
		t.Fatal(err)
	}
	if err := b.Serve(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return "tcp://" + tcp.Address(), stop
}

// inFlight is how many messages a broker keeps for the gateway, which has not acknowledged them; -1 where it does not know it.
func inFlight(b *broker.Server) int {
	client, ok := b.Clients.Get("gateway-1")
	if !ok {
		return -1
	}
	return client.State.Inflight.Len()
}

// subscribe runs the gateway on a broker until the test ends or stop is called, and waits until it has subscribed.
func (w *world) subscribe(t *testing.T, url string) (stop func()) {
	t.Helper()
	return w.subscribeAs(t, gateway.MQTT{Broker: url, ClientID: "gateway-1"})
}

// subscribeAs is subscribe with a configuration of the test's own.
func (w *world) subscribeAs(t *testing.T, cfg gateway.MQTT) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Subscribe(ctx, cfg) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("subscribe: %v", err)
		}
	})
	t.Cleanup(stop)
	eventually(t, "the subscription", func() bool {
		return w.get(t, "/readyz").status == 200 && strings.Contains(w.scrape(t), "\nfanout_gateway_mqtt_connected 1\n") // not the help text
	})
	return stop
}

// scrape reads the metrics.
func (w *world) scrape(t *testing.T) string {
	t.Helper()
	r := httptest.NewRecorder()
	w.Metrics().ServeHTTP(r, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	return r.Body.String()
}

// publish sends a message to the broker as a device does, and returns once the broker has it.
func publish(t *testing.T, client paho.Client, topic, payload string, retained bool) {
	t.Helper()
	token := client.Publish(topic, 1, retained, payload)
	if !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("publish to %s: %v", topic, token.Error())
	}
}

func connect(t testing.TB, url, name string) paho.Client {
	t.Helper()
	client := paho.NewClient(paho.NewClientOptions().AddBroker(url).SetClientID(name))
	if token := client.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
		t.Fatalf("connect: %v", token.Error())
	}
	t.Cleanup(func() { client.Disconnect(100) })
	return client
}

func TestSubscribe_KeepsTheOrderOfEveryDeviceThroughFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Config{})
	w.engine.Faults().Add(faults.Rule{Kind: faults.FailEntry, Probability: 0.02, Seed: 1})
	w.engine.Faults().Add(faults.Rule{Kind: faults.DropReply, Action: "PublishBatch", Probability: 0.02, Seed: 2})
	_, url := startBroker(t)
	w.subscribe(t, url)
	device := connect(t, url, "device")
	const each = 30
	var tokens []paho.Token
	for i := range each {
		for d := range 8 {
			topic := fmt.Sprintf("devices/lamp-%d/events", d)
			// The topic says which device it is.
			payload := strings.Replace(power("x", fmt.Sprintf("e%d-%d", d, i)), `"device_id":"x",`, "", 1)
			tokens = append(tokens, device.Publish(topic, 1, false, payload))
		}
	}
	for _, token := range tokens {
		if !token.WaitTimeout(patience) || token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	eventually(t, "all acceptances", func() bool {
		return strings.Contains(w.scrape(t), fmt.Sprintf(`fanout_gateway_events_total{result="accepted",transport="mqtt"} %d`, 8*each))
	})
	w.engine.Faults().Clear()
	got := byDevice(w.delivered(t))
	for d := range 8 {
		var want []string
		for i := range each {
			want = append(want, fmt.Sprintf("e%d-%d", d, i))
		}
		if ids := got[fmt.Sprint("lamp-", d)]; !slices.Equal(ids, want) {
			t.Errorf("lamp-%d: got %q, want %q", d, ids, want)
		}
	}
}

func TestSubscribe_RefusesWhatIsNoEventAndGoesOn(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var taken []string
	w := newFakeWorld(t, fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
		mu.Lock()
		taken = append(taken, e.DeviceID+" "+e.ID)
		mu.Unlock()
		done(producer.Result{Event: e})
		return nil
	}}, gateway.Config{MaxEventBytes: 5000})
	b, url := startBroker(t)
	device := connect(t, url, "device")
	publish(t, device, "devices/lamp-0/events", power("lamp-0", "kept"), true) // no event for who subscribes later
	publish(t, device, "done/with/that", "", false)                            // the broker may answer before it passes on
	w.subscribe(t, url)
	for _, message := range []struct{ topic, payload string }{
		{"devices/lamp-1/events", "{broken"},
		{"devices/lamp-1/events", ""},
		{"devices/lamp-1/events", power("lamp-2", "forged")},
		{"devices/lamp-1/events", strings.Repeat("x", 6000)},
		{"devices/lamp-1/events", strings.Replace(power("lamp-1", "e"), "power", "teleport", 1)},
		{"devices/lamp-1/other", power("lamp-1", "elsewhere")},
		{"devices/lamp-1/events", power("lamp-1", "good")},
	} {
		publish(t, device, message.topic, message.payload, false)
	}
	eventually(t, "the good one", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(taken) > 0
	})
	mu.Lock()
	if want := []string{"lamp-1 good"}; !slices.Equal(taken, want) {
		t.Errorf("taken: got %q, want %q", taken, want)
	}
	mu.Unlock()
	eventually(t, "everything acknowledged", func() bool { return inFlight(b) == 0 })
	for _, want := range []string{
		`{result="malformed-json",transport="mqtt"} 2`, `{result="forbidden-device",transport="mqtt"} 1`, `{result="too-large",transport="mqtt"} 1`,
		`{result="unknown-type",transport="mqtt"} 1`, `{result="accepted",transport="mqtt"} 1`, `mqtt_unacknowledged 0`,
	} {
		if got := w.scrape(t); !strings.Contains(got, want) {
			t.Errorf("metrics: got %s, want them to have %s", got, want)
		}
	}
}

// An event that is not accepted for a reason that may pass is tried again, unacknowledged, with its followers behind it, while
// other devices go on.
func TestSubscribe_AcknowledgesAfterAcceptanceOnly(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var taken []string
	open := false
	w := newFakeWorld(t, fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
		mu.Lock()
		defer mu.Unlock()
		r := producer.Result{Event: e}
		if e.DeviceID == "stuck" && !open {
			r.Err = &producer.PublishError{EventID: e.ID, DeviceID: e.DeviceID, Code: "Throttled"}
		} else {
			taken = append(taken, e.ID)
		}
		go done(r)
		return nil
	}}, gateway.Config{})
	b, url := startBroker(t)
	stop := w.subscribe(t, url)
	device := connect(t, url, "device")
	for i := range 3 {
		publish(t, device, "devices/stuck/events", power("stuck", fmt.Sprint("s", i)), false)
		publish(t, device, "devices/lamp-1/events", power("lamp-1", fmt.Sprint("e", i)), false)
	}
	eventually(t, "three acknowledgements", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(taken) == 3 && inFlight(b) == 3
	})
	mu.Lock()
	if want := []string{"e0", "e1", "e2"}; !slices.Equal(taken, want) {
		t.Errorf("taken: got %q, want %q", taken, want)
	}
	open = true
	mu.Unlock()
	eventually(t, "all acknowledgements", func() bool { return inFlight(b) == 0 })
	mu.Lock()
	if want := []string{"e0", "e1", "e2", "s0", "s1", "s2"}; !slices.Equal(taken, want) {
		t.Errorf("taken: got %q, want %q", taken, want)
	}
	mu.Unlock()
	stop()
}

// When the connection breaks, the broker delivers again what was not acknowledged. That is no second event, also without an ID.
func TestSubscribe_ReconnectsWithoutASecondEvent(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var taken []string
	held := map[string]func(){}
	w := newFakeWorld(t, fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
		mu.Lock()
		defer mu.Unlock()
		taken = append(taken, e.DeviceID)
		held[e.DeviceID] = func() { done(producer.Result{Event: e}) }
		return nil
	}}, gateway.Config{Logger: slog.New(onLog{slog.DiscardHandler, func(message string) {
		if message == "connection to the broker lost" {
			mu.Lock()
			early := held["early"]
			mu.Unlock()
			early() // accepted while there is no connection to acknowledge it on, most likely
		}
	}})})
	b, url := startBroker(t)
	w.subscribe(t, url)
	device := connect(t, url, "device")
	withoutID := strings.Replace(power("x", "e"), `"device_id":"x","id":"e",`, "", 1)
	publish(t, device, "devices/early/events", withoutID, false)
	publish(t, device, "devices/late/events", withoutID, false)
	eventually(t, "both events", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(held) == 2
	})
	client, _ := b.Clients.Get("gateway-1")
	client.Stop(io.ErrUnexpectedEOF)
	eventually(t, "the early acknowledgement", func() bool {
		again, ok := b.Clients.Get("gateway-1")
		return ok && again != client && again.State.Inflight.Len() == 1
	})
	held["late"]()
	eventually(t, "the late acknowledgement", func() bool {
		again, ok := b.Clients.Get("gateway-1")
		return ok && again.State.Inflight.Len() == 0
	})
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"early", "late"}; !slices.Equal(taken, want) {
		t.Errorf("taken: got %q, want %q", taken, want)
	}
}

// A broker that comes back and has forgotten everything is subscribed to again. Under the packet IDs that it gives anew, new messages
// are no second deliveries of those that the gateway still holds.
func TestSubscribe_OutlivesABrokerThatForgets(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var taken []string
	var waits []func()
	w := newFakeWorld(t, fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
		mu.Lock()
		defer mu.Unlock()
		taken = append(taken, e.ID)
		waits = append(waits, func() { done(producer.Result{Event: e}) })
		return nil
	}}, gateway.Config{})
	all := func(n int) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(taken) == n
		}
	}
	newBroker := func() *broker.Server { return broker.New(&broker.Options{Logger: slog.New(slog.DiscardHandler)}) }
	url, stop := serveBrokerAt(t, newBroker(), new(auth.AllowHook), "127.0.0.1:0")
	w.subscribe(t, url)
	publish(t, connect(t, url, "device"), "devices/lamp-1/events", power("lamp-1", "e1"), false)
	eventually(t, "the first event", all(1))
	stop()
	eventually(t, "the gateway to notice", func() bool { return w.get(t, "/readyz").status == 503 })
	b := newBroker()
	serveBrokerAt(t, b, new(auth.AllowHook), strings.TrimPrefix(url, "tcp://"))
	eventually(t, "the subscription", func() bool { return w.get(t, "/readyz").status == 200 })
	publish(t, connect(t, url, "device-2"), "devices/lamp-2/events", power("lamp-2", "e2"), false)
	eventually(t, "the second event", all(2))
	for _, accept := range waits {
		accept()
	}
	eventually(t, "its acknowledgement", func() bool { return inFlight(b) == 0 })
	if got := w.scrape(t); !strings.Contains(got, `{result="accepted",transport="mqtt"} 2`) || !strings.Contains(got, "mqtt_unacknowledged 0\n") {
		t.Errorf("metrics: got %s, want both accepted and none waiting", got)
	}
}

// What is not accepted when the gateway ends stays with the broker.
func TestSubscribe_EndsWithoutAcknowledgingWhatIsNotAccepted(t *testing.T) {
	t.Parallel()
	var tried, taken atomic.Int64
	var open atomic.Bool
	w := newFakeWorld(t, fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
		tried.Add(1)
		if !open.Load() {
			return &producer.PublishError{EventID: e.ID, DeviceID: e.DeviceID, Code: "Throttled"}
		}
		taken.Add(1)
		done(producer.Result{Event: e})
		return nil
	}}, gateway.Config{DrainTimeout: time.Millisecond})
	b, url := startBroker(t)
	stop := w.subscribe(t, url)
	device := connect(t, url, "device")
	publish(t, device, "devices/lamp-1/events", power("lamp-1", "e1"), false)
	publish(t, device, "devices/lamp-1/events", power("lamp-1", "e2"), false)
	eventually(t, "an attempt", func() bool { return tried.Load() > 0 })
	eventually(t, "the broker to keep both", func() bool { return inFlight(b) == 2 }) // it confirms a message before that
	stop()
	open.Store(true)
	w.subscribe(t, url)
	eventually(t, "both events", func() bool { return taken.Load() == 2 })
}

// What the topic refuses for what it is would be refused again: it is acknowledged, and holds nobody back.
func TestSubscribe_WhatTheTopicRefusesDoesNotComeAgain(t *testing.T) {
	t.Parallel()
	var tried, taken atomic.Int64
	w := newFakeWorld(t, fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
		if e.ID == "e1" {
			tried.Add(1)
			return &producer.PublishError{EventID: e.ID, DeviceID: e.DeviceID, Code: "InvalidParameter", Refused: true}
		}
		taken.Add(1)
		done(producer.Result{Event: e})
		return nil
	}}, gateway.Config{})
	b, url := startBroker(t)
	w.subscribe(t, url)
	device := connect(t, url, "device")
	publish(t, device, "devices/lamp-1/events", power("lamp-1", "e1"), false)
	publish(t, device, "devices/lamp-1/events", power("lamp-1", "e2"), false)
	eventually(t, "the second event", func() bool { return taken.Load() == 1 })
	eventually(t, "both acknowledgements", func() bool { return inFlight(b) == 0 })
	if n := tried.Load(); n != 1 {
		t.Errorf("the refused event was tried %d times, want once", n)
	}
}

// What comes while the gateway is away the broker keeps.
func TestSubscribe_GetsWhatCameWhileItWasAway(t *testing.T) {
	t.Parallel()
	t.Run("in process", func(t *testing.T) {
		t.Parallel()
		b, url := startBroker(t)
		// It confirms a message before it keeps it.
		got := away(t, url, func() bool { return inFlight(b) == awayEvents })
		slices.Sort(got) // this broker does not keep the order of messages of one second that it has kept for a client
		checkAway(t, got)
	})
	t.Run("mosquitto", func(t *testing.T) {
		t.Parallel()
		checkAway(t, away(t, startMosquitto(t), func() bool { return true }))
	})
}

// away publishes while the gateway is not there, and returns what is delivered once it is. kept tells whether the broker keeps it all.
func away(t *testing.T, url string, kept func() bool) []string {
	t.Helper()
	w := newWorld(t, gateway.Config{})
	w.subscribe(t, url)()
	device := connect(t, url, "device")
	for i := range awayEvents {
		publish(t, device, "devices/lamp-1/events", power("lamp-1", fmt.Sprintf("e%02d", i)), false)
	}
	eventually(t, "the broker to keep the messages", kept)
	w.subscribe(t, url)
	eventually(t, "all acceptances", func() bool {
		return strings.Contains(w.scrape(t), fmt.Sprintf(`{result="accepted",transport="mqtt"} %d`, awayEvents))
	})
	return byDevice(w.delivered(t))["lamp-1"]
}

const awayEvents = 50 // more than Mosquitto lets wait for their acknowledgement

func checkAway(t *testing.T, got []string) {
	t.Helper()
	var want []string
	for i := range awayEvents {
		want = append(want, fmt.Sprintf("e%02d", i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("delivered: got %q, want %q", got, want)
	}
}

// startMosquitto starts Mosquitto on a free port of this machine, where it is installed.
func startMosquitto(t *testing.T) (url string) {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		t.Skip("no mosquitto; Debian's package mosquitto has it")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().(*net.TCPAddr)
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, "listener %d 127.0.0.1\nallow_anonymous true\n", address.Port), 0o600); err != nil {
		t.Fatal(err)
	}
	broker := exec.Command(path, "-c", file)
	if err := broker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = broker.Process.Kill()
		_ = broker.Wait()
	})
	eventually(t, "mosquitto", func() bool {
		conn, err := net.Dial("tcp", address.String())
		return err == nil && conn.Close() == nil
	})
	return "tcp://" + address.String()
}

// onLog calls a func with every message that is logged.
type onLog struct {
	slog.Handler
	call func(message string)
}

func (h onLog) Enabled(context.Context, slog.Level) bool { return true }
func (h onLog) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h onLog) Handle(_ context.Context, r slog.Record) error {
	h.call(r.Message)
	return nil
}

func TestSubscribe_NamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	g, err := gateway.New(confirming, gateway.Anyone(), gateway.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]gateway.MQTT{
		`Broker: got ""`:                    {ClientID: "g"},
		`Broker: got "http://x"`:            {Broker: "http://x", ClientID: "g"},
		`ClientID: got "", want a name`:     {Broker: "tcp://x:1"},
		`want a topic with one +`:           {Broker: "tcp://x:1", ClientID: "g", Topic: "devices/#"},
		`got "devices/+/+", want a topic`:   {Broker: "tcp://x:1", ClientID: "g", Topic: "devices/+/+"},
		`want no shared subscription`:       {Broker: "tcp://x:1", ClientID: "g", Topic: "$share/a/devices/+/events"},
		`got "devices/a+/ev", want a topic`: {Broker: "tcp://x:1", ClientID: "g", Topic: "devices/a+/ev"},
	} {
		if err := g.Subscribe(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
