package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/health"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/consumers/parking/parkingdb"
	"github.com/device-fanout/fanout/consumers/telemetry"
	"github.com/device-fanout/fanout/internal/door"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/terminal"
)

// healthServer serves health, blocked devices and metrics of consumers over HTTP. The zero value serves nothing.
type healthServer struct {
	process  health.Process
	registry *prometheus.Registry
	watch    *telemetry.Telemetry
	server   *door.Server
	address  string
}

// serveHealth begins to listen at addr and returns; with an empty addr it serves nothing. The process is alive from then on, and starting:
// what opens a database that is down may take its time, and nobody is to replace it for that.
func serveHealth(addr string, exposed bool, logger *slog.Logger) (*healthServer, error) {
	o := &healthServer{}
	if addr == "" {
		return o, nil
	}
	listener, err := listen(addr, "--health-addr", exposed)
	if err != nil {
		return nil, err
	}
	o.registry = prometheus.NewRegistry()
	mux := http.NewServeMux()
	mux.Handle("/", &o.process)
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.registry, promhttp.HandlerOpts{}))
	o.address = listener.Addr().String()
	o.server = door.New(door.Config{
		Name: "health", Handler: mux, Guard: door.Loopback(listener), Logger: logger,
		Always: []string{"/livez", "/healthz", "/startupz", "/readyz", "/metrics"},
	})
	go o.server.Serve(listener) // ends with close
	return o, nil
}

// hook sets the hooks of a consumer that is to be served.
func (o *healthServer) hook(queue string, cfg *consumers.Config) error {
	if o.server == nil {
		return nil
	}
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(o.registry))
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	o.watch, err = telemetry.New(telemetry.Config{Queue: queue, MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter))})
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	cfg.Hooks = o.watch.Hooks()
	return nil
}

// add adds the consumer, which has the hooks, to what is served.
func (o *healthServer) add(c *consumers.Consumer) error {
	if o.server == nil {
		return nil
	}
	if _, err := o.watch.Observe(c); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	o.process.Add("", c)
	return nil
}

func (o *healthServer) close(ctx context.Context) error {
	if o.server == nil {
		return nil
	}
	return o.server.Shutdown(ctx)
}

// openStore opens the parking store of a service whose group policy is park: in the given database, or in a file beside the service's
// own. It is nil for other services.
func openStore(ctx context.Context, service string, policy consumers.GroupPolicy, o serviceOptions) (parking.Store, func() error, error) {
	if policy != consumers.Park {
		return nil, func() error { return nil }, nil
	}
	store, db, err := parkingdb.OpenService(ctx, o.url(service+"-parking"), o.logger)
	if err != nil {
		return nil, nil, err
	}
	return store, db.Close, nil
}

// openEmptyStore is openStore for new queues: it forgets the devices that an earlier run parked, whose dead letters are gone.
func openEmptyStore(ctx context.Context, service string, policy consumers.GroupPolicy, o serviceOptions) (parking.Store, func() error, error) {
	store, closeStore, err := openStore(ctx, service, policy, o)
	if err != nil || store == nil {
		return store, closeStore, err
	}
	old, err := store.Find(ctx, service)
	for _, d := range old {
		if err == nil {
			_, err = store.Swap(ctx, d, parking.Device{})
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, closeStore())
	}
	return store, closeStore, nil
}

// showConsumer keeps a view of a consumer on the terminal until the returned func is called. Elsewhere it shows nothing.
func showConsumer(view *terminal.Screen, program, service string, c *consumers.Consumer) (stop func()) {
	if !view.Live() {
		return func() {}
	}
	start := time.Now()
	return inBackground(context.Background(), func(done context.Context) {
		tick := time.Tick(drawEvery)
		for {
			ctx, cancel := context.WithTimeout(context.Background(), drawEvery)
			blocked, err := c.Blocked(ctx)
			cancel()
			if err == nil {
				view.Draw(consumerView(program, service, c.Stats(), c.Health().Ready, blocked, time.Since(start)))
			}
			select {
			case <-tick:
			case <-done.Done():
				view.Leave()
				return
			}
		}
	})
}

// consumerView is what the view of a consumer says. ready says why events can't be received or handled, if that is so.
func consumerView(program, service string, s consumers.Stats, ready error, blocked []consumers.Blocked, running time.Duration) []string {
	state := "Ctrl-C ends it"
	switch {
	case s.Draining:
		state = "draining"
	case s.Open:
		state = "circuit breaker open: nothing is started but one event now and then, until one can be handled"
	case s.Paused:
		state = "paused"
	case s.Running && ready != nil: // also when no device is blocked, as nothing is received until its check passes
		state = firstLine(ready.Error())
	}
	lines := []string{
		"",
		fmt.Sprintf("%s consume %s · %s · %s", program, service, running.Round(time.Second), state),
		"",
		fmt.Sprintf("%10s %10s %13s %11s %8s %8s", "HANDLED", "RETRIES", "DEAD LETTERS", "REDELIVERED", "HELD", "DEVICES"),
		fmt.Sprintf("%10d %10d %13d %11d %8d %8d", s.Handled, s.Retries, s.DeadLettered, s.Redelivered, s.Held, s.Devices),
	}
	if len(blocked) > 0 {
		lines = append(append(lines, ""), blockedLines(blocked, time.Now())...)
	}
	return append(lines, "")
}

// blockedLines is what a view says of blocked devices: one line for each, under one that says what they wait for.
func blockedLines(blocked []consumers.Blocked, now time.Time) []string {
	row := func(device, why, attempts, behind, since, until, failure, event string) string {
		return strings.TrimRight(fmt.Sprintf("%-20s %-11s %8s %6s %7s %9s  %-44s %s", device, why, attempts, behind, since, until, failure, event), " ")
	}
	lines := []string{row("BLOCKED DEVICE", "WHY", "ATTEMPTS", "BEHIND", "SINCE", "UNTIL", "ERROR", "EVENT")}
	var above string
	for _, b := range blocked {
		if waits := fmt.Sprintf("%s waits for %s", b.Service, firstLine(b.WaitsFor)); waits != above {
			lines, above = append(lines, waits), waits
		}
		until := "open"
		if !b.Until.IsZero() {
			until = "in " + max(0, b.Until.Sub(now)).Round(time.Second).String()
		}
		lines = append(lines, row(terminal.Shorten("  "+firstLine(b.DeviceID), 20), string(b.Reason), strconv.Itoa(b.Attempts), strconv.Itoa(b.Behind),
			now.Sub(b.Since).Round(time.Second).String(), until, lastOf(firstLine(b.Error), 44), firstLine(b.EventID)))
	}
	return lines
}

// lastOf cuts text to its last n characters, the first of which is then an ellipsis: an error says at its end what caused it.
func lastOf(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return "…" + string(r[len(r)-n+1:])
	}
	return text
}

// firstLine is the first line of a text from elsewhere.
func firstLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return terminal.Line(first)
}
