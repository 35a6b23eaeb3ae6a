package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/internal/door"
	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/gateway"
	"github.com/device-fanout/fanout/producer/telemetry"
)

// gatewayOptions are the flags of gateway.
type gatewayOptions struct {
	addr, metricsAddr string
	exposed           bool // the metrics
	encryption        encryption
	keys, keysSecret  string
	noKeys            bool
	spool             string
	spoolSlots        int
	source, topicARN  string
	mqtt              mqttOptions
	limit             gateway.Limit
	maxFuture         time.Duration
	shutdownDelay     time.Duration
}

func newGateway(g *globals) *cobra.Command {
	var o gatewayOptions
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Take events from devices over HTTP and MQTT, and publish them",
		Long: `Takes events over HTTP (one, a batch or a stream of lines) and from an MQTT broker, and publishes them:

  ` + g.app.Name + ` gateway key hall --file keys.json        # shows the key of a client named hall, once
  ` + g.app.Name + ` gateway --keys keys.json --spool /var/lib/fanout/spool

  curl http://127.0.0.1:4568/v1/events -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \
    -d '` + exampleLine() + `'

An event is answered with 202 once the topic has confirmed it or, with --spool, once it is on disk. Everything else is
answered with a problem document that names what is wrong, and a batch whose events have different answers with 207 and
all of these. A message from the broker is acknowledged when a 202 would be sent. The file of keys may be changed while
the gateway runs. A request's header traceparent goes along with its messages.

SIGTERM drains: requests under way are answered, and what is in the buffer is published. Behind a load balancer give
--shutdown-delay, as long as it takes to notice that /readyz says 503: requests, also by new connections, are served
for so long before the gateway drains. It is gone within 110 s at the latest, which AWS Fargate allows for. A second
signal ends it at once. Its subscription to a broker ends with the first: the broker keeps what comes for the next.

/healthz and /readyz are beside /v1/events; metrics for Prometheus are at --metrics-addr, at /metrics.
The password for the broker is taken from $` + mqttPassword + `.

Several gateways can share the folder of --spool, as tasks do that mount the same file system: --spool-slots says how
many there may be at once, during a deploy too. Each takes a place of its own, and publishes once a minute what those
that are gone have left in theirs; a device's newer events may have gone ahead of it meanwhile.`,
		Args: exactly(0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(o.check(g.app.Name), o.mqtt.checkLone(cmd.Flags())); err != nil {
				return &exitError{exitUsage, err}
			}
			return runGateway(cmd.Context(), g, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.addr, "addr", gatewayAddress, "`HOST:PORT` where to listen")
	f.StringVar(&o.metricsAddr, "metrics-addr", "", "`HOST:PORT` where metrics are served (default: nowhere)")
	addExpose(cmd, &o.exposed, "--metrics-addr, which asks for no key")
	o.encryption.add(cmd)
	f.StringVar(&o.keys, "keys", "", "`FILE` of API keys")
	f.StringVar(&o.keysSecret, "keys-secret", "", "`SECRET` of AWS Secrets Manager that holds the text of such a file")
	f.BoolVar(&o.noKeys, "no-keys", false, "let everyone in; only on an address that only this machine can reach")
	f.StringVar(&o.spool, "spool", "", "`FOLDER` that keeps accepted events until they are published (default: in memory)")
	f.IntVar(&o.spoolSlots, "spool-slots", 0, "share the folder of --spool with others, which take one of `N` places in it each")
	f.StringVar(&o.source, "source", "fanout/gateway", "CloudEvents `SOURCE` of events that name none")
	f.StringVar(&o.topicARN, "topic-arn", "", "`ARN` of the topic (default: looked up by its name)")
	o.mqtt.bind(f)
	f.Float64Var(&o.limit.PerSecond, "rate", 0, "take `N` events per second from a key without a limit of its own, and from the broker")
	f.Float64Var(&o.limit.PerDevicePerSecond, "device-rate", 0, "take `N` events per second from each of its devices")
	maxFutureFlag(cmd, &o.maxFuture)
	f.DurationVar(&o.shutdownDelay, "shutdown-delay", 0, "after SIGTERM, serve for this `TIME` more while /readyz says 503, such as 20s")
	cmd.MarkFlagsMutuallyExclusive("keys", "keys-secret", "no-keys")
	cmd.MarkFlagsOneRequired("keys", "keys-secret", "no-keys")
	cmd.AddCommand(newGatewayKey(g))
	return cmd
}

func newGatewayKey(g *globals) *cobra.Command {
	var file, secret string
	cmd := &cobra.Command{
		Use:   "key NAME",
		Short: "Make an API key and add it to the file of keys",
		Long: `Makes an API key with a new random secret, adds its hash to the file of keys, or to the text of a secret in AWS Secrets
Manager, and prints the key. It is shown this once only. A running gateway knows it after a moment, or a minute. To
confine it to devices or to a source, or to limit it, edit its entry in the file:

  {"name": "hall", "sha256": "…", "devices": ["hall-*"], "source": "gateway/hall",
   "per_second": 100, "per_device_per_second": 5}`,
		Args: exactly(1, "the name of a key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			add := func() (string, error) { return gateway.AddKey(file, args[0]) }
			if cmd.Flags().Changed("secret") {
				api, err := g.clients(cmd.Context())
				if err != nil {
					return err
				}
				add = func() (string, error) { return gateway.AddSecretKey(cmd.Context(), api.secrets(), secret, args[0]) }
			}
			key, err := add()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(g.out, key)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "file", "keys.json", "`FILE` of API keys; it is made if it is not there")
	cmd.Flags().StringVar(&secret, "secret", "", "name or ARN of a `SECRET` of AWS Secrets Manager that holds the text of such a file")
	cmd.MarkFlagsMutuallyExclusive("file", "secret")
	return cmd
}

func (o gatewayOptions) check(program string) error {
	if err := errors.Join(checkRate(o.limit.PerSecond), checkRate(o.limit.PerDevicePerSecond), checkMaxFuture(o.maxFuture), checkShutdownDelay(o.shutdownDelay)); err != nil {
		return err
	}
	if o.spoolSlots < 0 || o.spoolSlots > 0 && o.spool == "" {
		return fmt.Errorf("--spool-slots %d: want a number from 1 on, and --spool", o.spoolSlots)
	}
	host, _, err := net.SplitHostPort(o.addr)
	if err != nil {
		return fmt.Errorf("--addr: got %q, want HOST:PORT", o.addr)
	}
	if ip := net.ParseIP(host); o.noKeys && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return &hinted{fmt.Errorf("--no-keys with --addr %s: others could reach it", o.addr), "make keys with `" + program + " gateway key`, or listen on 127.0.0.1"}
	}
	return nil
}

func runGateway(ctx context.Context, g *globals, o gatewayOptions) (err error) {
	logger := loggerFrom(g.err, slog.LevelInfo)
	keys := gateway.Anyone()
	if !o.noKeys && o.keysSecret == "" {
		if keys, err = gateway.LoadKeys(o.keys); err != nil {
			return &hinted{err, "make the file with `" + g.app.Name + " gateway key NAME --file FILE`"}
		}
	}
	mqtt, err := o.mqtt.config(o.spool)
	if err != nil {
		return err
	}
	listener, err := o.listen(logger)
	if err != nil {
		return err
	}
	defer listener.Close() // Serve closes it too
	d, err := g.deployment()
	if err != nil {
		return err
	}
	api, err := g.clients(ctx)
	if err != nil {
		return err
	}
	if o.keysSecret != "" {
		if keys, err = gateway.LoadSecretKeys(ctx, api.secrets(), o.keysSecret); err != nil {
			return &hinted{err, "its text must be that of a file of keys, such as {\"keys\":[]}; add to it with `" + g.app.Name + " gateway key NAME --secret SECRET`"}
		}
	}
	if o.topicARN == "" {
		if o.topicARN, err = provision.FindTopic(ctx, api.sns, d); err != nil {
			return err
		}
	}
	watch, err := telemetry.New(telemetry.Config{TopicARN: o.topicARN}) // no exporter: it only passes a client's trace on
	if err != nil {
		return err
	}
	p, err := o.producer(api.sns, producer.Config{Source: o.source, Spool: o.spool, Hooks: watch.Hooks(), Logger: newLogger(g.err)})
	if err != nil {
		return err
	}
	gw, err := gateway.New(p, keys, gateway.Config{
		Limit: o.limit, MaxFuture: maxFuture(o.maxFuture), Trace: telemetry.Continue, ShutdownDelay: o.shutdownDelay, Logger: logger,
	})
	if err != nil {
		return errors.Join(err, p.Close(ctx))
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	serving, served := context.WithCancel(context.WithoutCancel(ctx)) // goes on while requests are served
	parts := []func() error{
		func() error { defer served(); return gw.Serve(ctx, listener) },
		func() error { keys.Watch(serving, 0, logger); return nil },
	}
	if o.spoolSlots > 0 {
		parts = append(parts, func() error { emptySlots(serving, p, logger); return nil })
	}
	if mqtt.Broker != "" {
		parts = append(parts, func() error { return gw.Subscribe(ctx, mqtt) })
	}
	if o.metricsAddr != "" {
		metrics, err := listen(o.metricsAddr, "--metrics-addr", o.exposed)
		if err != nil {
			served()
			return errors.Join(err, p.Close(ctx))
		}
		fmt.Fprintf(g.err, "metrics on http://%s/metrics\n", metrics.Addr())
		parts = append(parts, func() error { return serveMetrics(serving, metrics, gw, logger) })
	}
	fmt.Fprintf(g.err, "gateway on %s\n", listener.Addr())
	err = together(stop, parts)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closePatience(o.spool, o.shutdownDelay))
	defer cancel()
	return errors.Join(err, p.Close(closing))
}

// producer makes the producer, in a slot if there are any.
func (o gatewayOptions) producer(api producer.TopicAPI, cfg producer.Config) (*producer.Producer, error) {
	if o.spoolSlots > 0 {
		return producer.NewInSlot(api, o.topicARN, cfg, o.spoolSlots)
	}
	return producer.New(api, o.topicARN, cfg)
}

// emptySlots publishes what other gateways have left in their slots, now and once a minute, until ctx ends.
func emptySlots(ctx context.Context, p *producer.Producer, logger *slog.Logger) {
	tick := time.Tick(time.Minute)
	for {
		if err := p.EmptySlots(ctx); err != nil {
			logger.Error("what another gateway has left could not be published; trying again in a minute", "err", err)
		}
		select {
		case <-tick:
		case <-ctx.Done():
			return
		}
	}
}

// stopWithin is how long a gateway takes at most to end. AWS Fargate waits for 120 s at most before it kills.
const stopWithin = 110 * time.Second

// closePatience is how long a gateway goes on publishing after its last answer. What a spool holds by then goes out after the next start. Without
// one, what is in the buffer by then has not been answered with 202, nor acknowledged at the broker: whoever sent it sends it again.
func closePatience(spool string, shutdownDelay time.Duration) time.Duration {
	if spool != "" {
		return interruptPatience
	}
	return stopWithin - gateway.DefaultDrainTimeout - shutdownDelay
}

func (o gatewayOptions) listen(logger *slog.Logger) (net.Listener, error) {
	encryption, err := o.encryption.config(logger)
	if err != nil {
		return nil, err
	}
	listener, err := listen(o.addr, "--addr", !o.noKeys)
	if err != nil || encryption == nil {
		return listener, err
	}
	return tls.NewListener(listener, encryption), nil
}

// together runs parts at the same time. When one fails, stop ends the others.
func together(stop func(), parts []func() error) error {
	ended := make(chan error, len(parts))
	for _, part := range parts {
		go func() { ended <- part() }()
	}
	var all error
	for range parts {
		if err := <-ended; err != nil {
			all = errors.Join(all, err)
			stop()
		}
	}
	return all
}

func serveMetrics(ctx context.Context, listener net.Listener, gw *gateway.Gateway, logger *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", gw.Metrics())
	server := door.New(door.Config{Name: "metrics", Handler: mux, Guard: door.Loopback(listener), Logger: logger, Always: []string{"/metrics"}})
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	return server.Serve(listener)
}
