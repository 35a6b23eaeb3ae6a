package gateway

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what a Gateway counts. The package documentation lists them.
type metrics struct {
	registry *prometheus.Registry
	events   *prometheus.CounterVec
	accept   *prometheus.HistogramVec
	streams  prometheus.Gauge
	unacked  prometheus.Gauge
}

// accepted is the result of an event that was accepted; the other results are kinds of problems.
const accepted = "accepted"

func newMetrics(g *Gateway) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fanout_gateway_events_total", Help: "Events by what became of them.",
		}, []string{"transport", "result"}),
		accept: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fanout_gateway_accept_seconds", Help: "Time from an event's arrival to its acceptance or refusal.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 15),
		}, []string{"transport"}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "fanout_gateway_streams", Help: "Streams of lines that are open."}),
		unacked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fanout_gateway_mqtt_unacknowledged", Help: "MQTT messages that wait for their acceptance.",
		}),
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	counter := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value)
	}
	m.registry.MustRegister(
		m.events, m.accept, m.streams, m.unacked,
		gauge("fanout_gateway_mqtt_connected", "1 while connected to the MQTT broker.",
			func() float64 { return float64(g.connected.Load()) }),
		gauge("fanout_gateway_keys", "Keys in use.", func() float64 { return float64(g.keys.Len()) }),
		counter("fanout_gateway_keys_reload_failures_total", "Changes of the file of keys that could not be used.",
			func() float64 { return float64(g.keys.failures.Load()) }),
		gauge("fanout_gateway_producer_buffered", "Events accepted by the producer and not yet confirmed.",
			func() float64 { return float64(g.publisher.Stats().Buffered) }),
		counter("fanout_gateway_producer_confirmed_total", "Events that the topic has confirmed.",
			func() float64 { return float64(g.publisher.Stats().Confirmed) }),
		counter("fanout_gateway_producer_failed_total", "Events that the producer accepted and could not get confirmed.",
			func() float64 { return float64(g.publisher.Stats().Failed) }),
	)
	return m
}

// count counts one event; a nil problem means that it was accepted.
func (m *metrics) count(transport string, p *Problem, took time.Duration) {
	result := accepted
	if p != nil {
		result = string(p.kind)
	}
	m.events.WithLabelValues(transport, result).Inc()
	m.accept.WithLabelValues(transport).Observe(took.Seconds())
}

// Metrics serves the metrics in the text format of Prometheus.
func (g *Gateway) Metrics() http.Handler {
	return promhttp.HandlerFor(g.metrics.registry, promhttp.HandlerOpts{})
}
