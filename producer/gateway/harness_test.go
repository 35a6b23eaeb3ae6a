package gateway_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.uber.org/goleak"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/gateway"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(together{m}) }

// together runs more tests at once than there are cores: most of them wait for a broker or a connection.
type together struct{ m *testing.M }

func (t together) Run() int {
	flag.Parse()
	chosen := false // it is also the number of workers of a fuzz target
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" || f.Name == "test.fuzz" })
	if !chosen {
		_ = flag.Set("test.parallel", "8")
	}
	return t.m.Run()
}

// world is a gateway in front of a local topic, reached by connections in memory, so that it works inside testing/synctest.
type world struct {
	*gateway.Gateway
	engine   *local.Engine
	sqs      *sqs.Client
	queue    string
	producer *producer.Producer
	keyFile  string
	keys     *gateway.Keys
	key      string // of a client that may do everything
	client   *http.Client
	pipe     *pipeListener
	stop     func() // ends Serve and waits for it
}

// newWorld starts everything. It stops at the test's end.
func newWorld(t *testing.T, cfg gateway.Config) *world {
	t.Helper()
	w := &world{}
	l := local.Start(t, local.Options{})
	w.engine, w.sqs = l.Engine, l.SQS
	d, err := declaration.Topology().In("dev")
	if err != nil {
		t.Fatal(err)
	}
	resources, err := provision.Apply(t.Context(), l.SNS, l.SQS, d)
	if err != nil {
		t.Fatal(err)
	}
	w.queue = resources.Queues["history"].URL
	if w.producer, err = producer.New(l.SNS, resources.TopicARN, producer.Config{Source: "gateway/test"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.producer.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	w.serve(t, w.producer, cfg)
	return w
}

// newFakeWorld starts a gateway in front of a publisher that the test drives.
func newFakeWorld(t *testing.T, p gateway.Publisher, cfg gateway.Config) *world {
	t.Helper()
	w := &world{}
	w.serve(t, p, cfg)
	return w
}

func (w *world) serve(t *testing.T, p gateway.Publisher, cfg gateway.Config) {
	t.Helper()
	w.keyFile = filepath.Join(t.TempDir(), "keys.json")
	var err error
	if w.key, err = gateway.AddKey(w.keyFile, "test"); err != nil {
		t.Fatal(err)
	}
	if w.keys, err = gateway.LoadKeys(w.keyFile); err != nil {
		t.Fatal(err)
	}
	if w.Gateway, err = gateway.New(p, w.keys, cfg); err != nil {
		t.Fatal(err)
	}
	w.pipe = newPipeListener()
	w.client = &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return w.pipe.dial() },
	}}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- w.Serve(ctx, w.pipe) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
		w.client.CloseIdleConnections()
	})
	t.Cleanup(w.stop)
}

// post sends a body with the world's key and reads the whole answer.
func (w *world) post(t *testing.T, contentType, body string) answer {
	t.Helper()
	return w.postAs(t, w.key, contentType, strings.NewReader(body))
}

// answer is an answer to a request.
type answer struct {
	status int
	header http.Header
	body   string
}

func (w *world) postAs(t *testing.T, key, contentType string, body io.Reader) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gateway/v1/events", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Authorization", "Bearer "+key)
	return w.do(t, request)
}

func (w *world) get(t *testing.T, path string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://gateway"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.do(t, request)
}

func (w *world) do(t *testing.T, request *http.Request) answer {
	t.Helper()
	response, err := w.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("read the answer: %v", err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

// problem reads the answer as a problem document.
func (a answer) problem(t *testing.T) gateway.Problem {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type: got %q, want that of a problem; body %s", got, a.body)
	}
	return decode[gateway.Problem](t, a.body)
}

// wantProblem fails the test unless the answer is a problem of the kind with the status.
func (a answer) wantProblem(t *testing.T, status int, kind string) gateway.Problem {
	t.Helper()
	p := a.problem(t)
	if a.status != status || p.Status != status || p.Type != gateway.ProblemBase+kind || p.Title == "" {
		t.Errorf("got %d %s, want %d %s", a.status, a.body, status, kind)
	}
	return p
}

// lineAnswer is the answer to one line of a stream.
type lineAnswer struct {
	gateway.Problem
}

// lines reads the answer to a stream, by line.
func (a answer) lines(t *testing.T) map[int]lineAnswer {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("got %d %s, want 200 with an answer for every line", a.status, a.body)
	}
	answers := map[int]lineAnswer{}
	for text := range strings.Lines(a.body) {
		one := decode[lineAnswer](t, text)
		if _, twice := answers[one.Line]; twice {
			t.Errorf("line %d is answered twice", one.Line)
		}
		answers[one.Line] = one
	}
	return answers
}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var into T
	if err := json.Unmarshal([]byte(text), &into); err != nil {
		t.Fatalf("got %q, want JSON: %v", text, err)
	}
	return into
}

// delivered takes all messages out of the history queue, in their order.
func (w *world) delivered(t *testing.T) []events.Event {
	t.Helper()
	var all []events.Event
	for {
		out, err := w.sqs.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &w.queue, MaxNumberOfMessages: 10})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return all
		}
		for _, m := range out.Messages {
			e, err := events.Decode([]byte(aws.ToString(m.Body)))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
			if _, err := w.sqs.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &w.queue, ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// power is an event in the short form.
func power(device, id string) string {
	return fmt.Sprintf(`{"device_id":%q,"id":%q,"type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`, device, id)
}

// byDevice sorts events into the IDs of every device.
func byDevice(all []events.Event) map[string][]string {
	ids := map[string][]string{}
	for _, e := range all {
		ids[e.DeviceID] = append(ids[e.DeviceID], e.ID)
	}
	return ids
}

// fakePublisher accepts what the test lets it accept.
type fakePublisher struct {
	enqueue func(ctx context.Context, e events.Event, done func(producer.Result)) error
}

func (f fakePublisher) Enqueue(ctx context.Context, e events.Event, done func(producer.Result)) error {
	return f.enqueue(ctx, e, done)
}

func (f fakePublisher) Stats() producer.Stats { return producer.Stats{Buffered: 7} }

// confirming confirms everything at once.
var confirming = fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
	done(producer.Result{Event: e})
	return nil
}}

// pipeListener is a listener whose connections are pipes in memory.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipeListener() *pipeListener {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return l
}

func (l *pipeListener) dial() (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, errors.New("the gateway does not listen any more")
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.close()
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// rawRequest dials, writes text and returns the connection with a reader for answers.
func (w *world) rawRequest(t *testing.T, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := w.pipe.dial()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}
