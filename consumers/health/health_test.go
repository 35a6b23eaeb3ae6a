package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/health"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
)

// bench is a queue with its dead-letter queue, and what serves the health of its consumers.
type bench struct {
	*testing.T
	engine  *local.Engine
	api     *sqs.Client
	queue   consumers.Queue
	process http.Handler
}

func newBench(t *testing.T, process http.Handler) *bench {
	t.Helper()
	engine := local.New(local.Options{})
	b := &bench{T: t, engine: engine, api: engine.SQS(), process: process}
	create := func(name string) string {
		out, err := b.api.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{"FifoQueue": "true"}})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(out.QueueUrl)
	}
	b.queue = consumers.Queue{Service: "test", URL: create("test.fifo"), DLQURL: create("test-dlq.fifo")}
	return b
}

// consumer makes one whose handler gives err.
func (b *bench) consumer(err error, logger *slog.Logger) *consumers.Consumer {
	b.Helper()
	handle := func(context.Context, events.Event) error { return err }
	c, wrong := consumers.New(b.api, b.queue, handle, consumers.Config{WaitTime: time.Second, Logger: logger})
	if wrong != nil {
		b.Fatal(wrong)
	}
	return c
}

func (b *bench) run(c *consumers.Consumer) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
}

func (b *bench) send(id string) {
	b.Helper()
	e := events.New("d1", device.MotionChanged{Detected: true})
	e.ID, e.Source = id, "test"
	body, err := events.Encode(e)
	if err != nil {
		b.Fatal(err)
	}
	_, err = b.api.SendMessage(b.Context(), &sqs.SendMessageInput{
		QueueUrl: &b.queue.URL, MessageBody: aws.String(string(body)), MessageGroupId: aws.String("d1"), MessageDeduplicationId: &id,
	})
	if err != nil {
		b.Fatal(err)
	}
}

// want is the status of a path and a part of its reason, as in "paused: is paused".
func (b *bench) want(paths map[string]string) {
	b.Helper()
	for path, want := range paths {
		word, reason, _ := strings.Cut(want, ": ")
		w := httptest.NewRecorder()
		b.process.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		var got struct{ Status, Reason string }
		code := http.StatusServiceUnavailable
		if word == "ok" {
			code = http.StatusOK
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != code || got.Status != word ||
			!strings.Contains(got.Reason, reason) || (got.Reason == "") != (word == "ok") {
			b.Errorf("%s: got %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
}

// TestPaths tell apart what a process is replaced for, what is waited for, and what somebody is called for.
func TestPaths(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		process := new(health.Process)
		b := newBench(t, process)
		b.want(map[string]string{"/livez": "ok", "/healthz": "ok", "/startupz": "starting: no consumer yet", "/readyz": "starting: no consumer yet"})
		c := b.consumer(consumers.Unavailable(errors.New("database is down")), nil)
		process.Add("", c)
		b.want(map[string]string{"/livez": "ok", "/healthz": "ok", "/startupz": "starting: has not begun", "/readyz": "stopped: is not running"})
		stop := b.run(c)
		time.Sleep(time.Second)
		b.want(map[string]string{"/livez": "ok", "/healthz": "ok", "/startupz": "ok", "/readyz": "ok"})
		c.Pause()
		time.Sleep(time.Hour) // a loop that has nothing to do turns when it is asked
		b.want(map[string]string{"/livez": "ok", "/healthz": "ok", "/startupz": "ok", "/readyz": "paused: is paused"})
		c.Resume()
		b.send("e1")
		time.Sleep(10 * time.Second)
		b.want(map[string]string{"/livez": "ok", "/healthz": "ok", "/startupz": "ok", "/readyz": "breaker: can't be handled"})
		stop()
		b.want(map[string]string{"/livez": "ok", "/healthz": "ok", "/readyz": "stopped: is not running"})
	})
}

// TestPaths_AReceiveThatFails makes not ready, and says why. The next process could not receive either, so that this one lives on.
func TestPaths_AReceiveThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		process := new(health.Process)
		b := newBench(t, process)
		c := b.consumer(nil, nil)
		process.Add("", c)
		stop := b.run(c)
		time.Sleep(10 * time.Second)
		if _, err := b.api.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &b.queue.URL}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		b.want(map[string]string{"/livez": "ok", "/healthz": "ok", "/startupz": "ok", "/readyz": "not_ready: nothing can be received"})
		if s := c.Stats(); s.ReceivesFailed == 0 || s.ReceivesFailed > s.Receives {
			t.Errorf("got %+v, want the receives that failed counted", s)
		}
		stop()
	})
}

// TestPaths_AStuckLoop is what a process is replaced for.
func TestPaths_AStuckLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		process := new(health.Process)
		b := newBench(t, process)
		c := b.consumer(consumers.Unavailable(errors.New("database is down")), slog.New(stuckLog{slog.DiscardHandler, release}))
		process.Add("", c)
		stop := b.run(c)
		b.send("e1")
		time.Sleep(10 * time.Second)
		b.want(map[string]string{"/livez": "stuck: does not respond", "/healthz": "stuck: does not respond"})
		time.Sleep(5 * time.Minute)
		b.want(map[string]string{"/livez": "stuck: does not respond", "/readyz": "stuck: has not turned"})
		close(release)
		time.Sleep(10 * time.Second)
		b.want(map[string]string{"/livez": "ok"})
		stop()
	})
}

// stuckLog is a log that does not take what the consumer's loop has to say about its breaker, until it is released.
type stuckLog struct {
	slog.Handler
	release <-chan struct{}
}

func (stuckLog) Enabled(context.Context, slog.Level) bool { return true }

func (l stuckLog) WithAttrs([]slog.Attr) slog.Handler { return l }

func (l stuckLog) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "circuit breaker opens") {
		<-l.release
	}
	return nil
}

// TestProcess_OfSeveral is alive, has started and is ready when all are.
func TestProcess_OfSeveral(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		process := new(health.Process)
		b := newBench(t, process)
		first, second := b.consumer(nil, nil), b.consumer(nil, nil)
		process.Add("lights", first)
		process.Add("blinds", second)
		stop := b.run(first)
		time.Sleep(time.Second)
		b.want(map[string]string{"/livez": "ok", "/startupz": "starting: blinds: ", "/readyz": "stopped: blinds: "})
		first.Pause()
		b.want(map[string]string{"/livez": "ok", "/readyz": "paused: lights: the consumer is paused; blinds: the consumer is not running"})
		first.Resume()
		stopSecond := b.run(second)
		time.Sleep(time.Second)
		b.want(map[string]string{"/livez": "ok", "/startupz": "ok", "/readyz": "ok"})
		b.send("e1")
		time.Sleep(time.Second)
		w := httptest.NewRecorder()
		process.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/stats", nil))
		var stats map[string]consumers.Stats
		if err := json.Unmarshal(w.Body.Bytes(), &stats); err != nil || stats["lights"].Handled+stats["blinds"].Handled != 1 {
			t.Errorf("/stats: got %s, want those of both, by name", w.Body)
		}
		w = httptest.NewRecorder()
		process.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/blocked", nil))
		if strings.TrimSpace(w.Body.String()) != "[]" {
			t.Errorf("/blocked: got %s, want none", w.Body)
		}
		stop()
		stopSecond()
	})
}
