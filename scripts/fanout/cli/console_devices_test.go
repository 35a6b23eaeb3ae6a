package cli

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/health"
	"github.com/device-fanout/fanout/consumers/parking/parkingdb"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/console"
)

// troubled is a service that blocks devices and one that parks them, both with a cause that can be mended.
type troubled struct {
	data   string // folder of the record of parked devices
	health string // address of the consumer that blocks
	mended atomic.Bool

	mu      sync.Mutex
	handled []string // event IDs, of the service that parks
}

// runConsumer runs a consumer of a service until the test ends.
func runConsumer(t *testing.T, engine *local.Engine, service string, handle consumers.Handler, cfg consumers.Config) *consumers.Consumer {
	t.Helper()
	cfg.WaitTime = time.Second
	c, err := consumers.New(engine.SQS(), consumers.Queue{
		Service: service, URL: queueURL(t, engine, "dev-"+service+".fifo"), DLQURL: queueURL(t, engine, "dev-"+service+"-dlq.fifo"),
	}, handle, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return c
}

// makeTrouble blocks hub-3 of push, and parks door-1 of state with four dead letters.
func makeTrouble(t *testing.T, engine *local.Engine) *troubled {
	t.Helper()
	m := &troubled{data: t.TempDir()}
	db, err := database.Open(t.Context(), filepath.Join(m.data, "state-parking.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	store, err := parkingdb.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"hub-1", "hub-2", "hub-3"} {
		e := events.New("hub-3", device.ConnectivityChanged{Online: true})
		e.ID, e.Time = id, time.Now()
		deliverAt(t, engine, "push", e)
	}
	for _, id := range []string{"door-a", "door-b", "door-c", "door-d"} {
		e := events.New("door-1", device.ContactChanged{Open: true})
		e.ID, e.Time = id, time.Now()
		deliverAt(t, engine, "state", e)
	}
	runConsumer(t, engine, "state", func(_ context.Context, e events.Event) error {
		if !m.mended.Load() {
			return consumers.Known("no_such_door", errors.New("door-1 was not imported"))
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.handled = append(m.handled, e.ID)
		return nil
	}, consumers.Config{GroupPolicy: consumers.Park, Parking: store})
	blocking := runConsumer(t, engine, "push", func(context.Context, events.Event) error {
		return errors.New("the phones' gateway is down <again>")
	}, consumers.Config{GroupPolicy: consumers.Block})
	server := httptest.NewServer(health.Handler(blocking))
	t.Cleanup(server.Close)
	m.health = server.URL
	eventually(t, "hub-3 to be blocked", func() bool {
		list, err := blocking.Blocked(t.Context())
		return err == nil && len(list) == 1 && list[0].Reason == consumers.BlockedPolicy
	})
	eventually(t, "door-1 to be parked with its dead letters", func() bool {
		d, err := deadletter.ReadDepth(t.Context(), engine.SQS(), queueURL(t, engine, "dev-state-dlq.fifo"))
		return err == nil && d.Visible == 4
	})
	return m
}

// parkingConsole is the console of an environment where state parks devices. It returns the address with the token.
func parkingConsole(t *testing.T, engine *local.Engine, o consoleOptions) string {
	t.Helper()
	g := &globals{app: testApp(), streams: streams{out: newOutput(), err: newOutput()}, env: defaultEnvironment}
	d, err := g.deployment()
	if err != nil {
		t.Fatal(err)
	}
	d.Services = slices.Clone(d.Services)
	for i := range d.Services {
		if d.Services[i].Name == "state" {
			d.Services[i].GroupPolicy = consumers.Park
		}
	}
	for i, address := range o.consumers {
		if o.consumers[i], err = console.ParseConsumer(address); err != nil {
			t.Fatal(err)
		}
	}
	o.state, o.folder = t.TempDir(), t.TempDir()
	api := clients{sqs: engine.SQS()}
	cfg, err := g.consoleConfig(t.Context(), api, d, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.findStores(t.Context(), &cfg, o.services))
	server := httptest.NewUnstartedServer(nil)
	host := server.Listener.Addr().String()
	cfg.Hosts = []string{host}
	c := console.New(api.sqs, cfg)
	server.Config.Handler = c
	server.Start()
	t.Cleanup(func() {
		server.Close()
		c.Close()
	})
	return "http://" + host + "/?token=" + c.Token()
}

// cardOf is the part of the overview with that ID.
func cardOf(body, id string) string {
	_, card, _ := strings.Cut(body, `id="`+id+`"`)
	card, _, _ = strings.Cut(card, "</section>")
	return card
}

// TestConsole_SaysHowToSeeDevices that can't go on, when it was not told where to ask.
func TestConsole_SaysHowToSeeDevices(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	_, body := request(t, browserless(t), "GET", consoleOf(t, endpoint), nil, nil)
	contains(t, "blocked", cardOf(body, "blocked"), "start the console with <code>--consumer</code>")
	if card := cardOf(body, "parked"); card != "" { // no service parks devices
		t.Errorf("parked: got %s", card)
	}
	client := browserless(t)
	address := parkingConsole(t, engine, consoleOptions{})
	_, body = request(t, client, "GET", address, nil, nil)
	contains(t, "parked", cardOf(body, "parked"), "state parks devices", "<code>--data</code> or <code>--database</code>")
	base, _, _ := strings.Cut(address, "/?")
	status, body := request(t, client, "GET", base+"/plan/redrive/dev-state-dlq.fifo", nil, nil)
	if status != http.StatusConflict {
		t.Errorf("plan: got %d", status)
	}
	contains(t, "plan", body, "start the console with --data or --database as `fanout consume state` has it")

	// A folder without the record: it is told of, and nothing is made there.
	data := t.TempDir()
	_, body = request(t, browserless(t), "GET", parkingConsole(t, engine, consoleOptions{services: serviceOptions{data: data}}), nil, nil)
	contains(t, "parked", cardOf(body, "parked"), "parked devices of state", "state-parking.db", "no such file")
	if made, err := os.ReadDir(data); err != nil || len(made) > 0 {
		t.Errorf("the folder has %v, %v, want nothing", made, err)
	}
}

// TestConsole_ShowsDevicesThatCannotGoOn and releases one that is parked, with the plan shown first.
func TestConsole_ShowsDevicesThatCannotGoOn(t *testing.T) {
	t.Parallel()
	engine, _ := localEngine(t)
	m := makeTrouble(t, engine)
	silent := "http://" + unusedAddress(t)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`[{"service": "push", "device_id": "hub-9", "reason": "stuck", "attempts": 3, "behind": 17, "since": "2026-01-31T12:00:00Z",
			"waits_for": "its handler to <end>", "until": "2026-01-31T13:00:00Z"}]`))
	}))
	defer other.Close()
	client := browserless(t)
	address := parkingConsole(t, engine, consoleOptions{consumers: []string{silent, m.health, other.URL}, services: serviceOptions{data: m.data}})
	base, _, _ := strings.Cut(address, "/?")
	status, body := request(t, client, "GET", address, nil, nil)
	if status != http.StatusOK {
		t.Fatalf("got %d %s", status, body)
	}
	eventually(t, "the consumer to answer that it waits, and the silent one to refuse, in time", func() bool {
		_, body = request(t, client, "GET", base+"/", nil, nil)
		card := cardOf(body, "blocked")
		return strings.Contains(card, "hub-3") && strings.Contains(card, "the group policy is block") && strings.Contains(card, "connection refused")
	})
	contains(t, "blocked", cardOf(body, "blocked"), "Consumer "+silent+" can’t be asked", "connection refused",
		"hub-3", `<span class="chip">push</span>`, "hub-1", "device.connectivity.changed.v1", "gateway is down &lt;again&gt;",
		"waits for its event to be handled: the group policy is block", `data-label="Until"`,
		"hub-9", "waits for its handler to &lt;end&gt;", `title="2026-01-31 13:00:00 UTC">now<`, `data-label="Attempts" class="r num">3<`, `data-label="Behind it" class="r num">17<`, "2026-01-31 12:00:00 UTC")
	if card := cardOf(body, "blocked"); strings.Index(card, "hub-9") > strings.Index(card, "hub-3") {
		t.Errorf("blocked: want the longest first, got %s", card)
	}
	contains(t, "parked", cardOf(body, "parked"), "door-1", `<span class="chip">state</span>`, "door-a", "device.contact.changed.v1", "no_such_door",
		`data-label="Dead letters seen" class="r num">4<`, "/plan/redrive/dev-state-dlq.fifo?device=door-1")

	// Parked devices are released as a whole.
	plan := base + "/plan/redrive/dev-state-dlq.fifo"
	for _, query := range []string{"?code=no_such_door", "?letter=x", "?device=door-1&limit=1"} {
		if status, body := request(t, client, "GET", plan+query, nil, nil); status != http.StatusConflict || !strings.Contains(body, "selected by device alone") {
			t.Errorf("%s: got %d %s", query, status, body)
		}
	}
	_, body = request(t, client, "GET", plan+"?device=door-1", nil, nil)
	contains(t, "plan", body, "Redrive 4 dead letters of 1 device?", "Nothing has been moved yet", "Release <b>door-1</b>", "dev-state.fifo")
	_, secret, _ := strings.Cut(body, `name="csrf" value="`)
	secret, _, _ = strings.Cut(secret, `"`)
	m.mended.Store(true)
	_, body = request(t, client, "POST", base+"/do/redrive/dev-state-dlq.fifo", url.Values{"csrf": {secret}, "device": {"door-1"}, "planned": {"4"}}, nil)
	contains(t, "job", body, "redrive of dev-state-dlq.fifo")
	eventually(t, "the job's end", func() bool {
		_, body = request(t, client, "GET", base+"/jobs/1", nil, nil)
		return strings.Contains(body, "data-ended")
	})
	contains(t, "job", body, "Sent back 4 dead letters", "Done.")
	eventually(t, "door-1 to be free", func() bool {
		_, body = request(t, client, "GET", base+"/live", nil, nil)
		return !strings.Contains(cardOf(body, "parked"), "door-1")
	})
	contains(t, "parked", cardOf(body, "parked"), "None.")
	m.mu.Lock()
	defer m.mu.Unlock()
	if want := []string{"door-a", "door-b", "door-c", "door-d"}; !slices.Equal(m.handled, want) {
		t.Errorf("handled %v, want %v", m.handled, want)
	}
}
