package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/gateway"
)

const oneEvent = "application/json"

func TestPost_AcceptedOnceTheTopicHasConfirmed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gateway.Config{})
		w.engine.Faults().Add(faults.Rule{Kind: faults.FailEntry, Count: 3})
		w.engine.Faults().Add(faults.Rule{Kind: faults.DropReply, Action: "PublishBatch", Count: 1})
		for i := range 3 {
			a := w.post(t, oneEvent, power("lamp-1", fmt.Sprint("e", i)))
			if a.status != http.StatusAccepted || a.body != fmt.Sprintf("{\"event_id\":\"e%d\"}\n", i) {
				t.Errorf("got %d %s, want 202 with the event's ID", a.status, a.body)
			}
			// Whoever reads the answer finds the event in the queue.
			if got := w.delivered(t); len(got) != 1 || got[0].ID != fmt.Sprint("e", i) || got[0].Source != "gateway/test" {
				t.Errorf("delivered: got %+v, want e%d", got, i)
			}
		}
		w.stop()
	})
}

func TestPost_CloudEventAndNoID(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gateway.Config{})
		text, err := events.Encode(events.Event{
			ID: "ce-1", Source: "hub/7", DeviceID: "lamp-1", Time: time.Now(), Data: device.PowerChanged{On: true},
		})
		if err != nil {
			t.Fatal(err)
		}
		if a := w.post(t, "application/cloudevents+json; charset=utf-8", string(text)); a.status != http.StatusAccepted {
			t.Errorf("got %d %s, want 202", a.status, a.body)
		}
		a := w.post(t, oneEvent, strings.Replace(power("lamp-2", "x"), `"id":"x",`, "", 1))
		id := decode[struct {
			EventID string `json:"event_id"`
		}](t, a.body).EventID
		got := w.delivered(t)
		if len(got) != 2 || got[0].Source != "hub/7" || got[1].ID != id || len(id) != 36 {
			t.Errorf("delivered: got %+v, want ce-1 of hub/7 and the new ID %q", got, id)
		}
		w.stop()
	})
}

func TestPost_RefusalsNameWhatIsWrong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{MaxEventBytes: 2000})
		for _, c := range []struct {
			name, media, body string
			status            int
			kind              string
			want              string // somewhere in the document
		}{
			{"no JSON", oneEvent, `{"device_id":`, 400, "malformed-json", "unexpected end"},
			{"empty", oneEvent, ``, 400, "malformed-json", ""},
			{"binary", oneEvent, "\x00\xff\xfe", 400, "malformed-json", ""},
			{"two events", oneEvent, power("a", "1") + power("a", "2"), 400, "malformed-json", ""},
			{"an array", oneEvent, "[" + power("a", "1") + "]", 400, "malformed-json", ""},
			{
				"out of range", oneEvent, `{"device_id":"a","type":"device.humidity.measured.v1","time":"2026-01-31T12:00:00Z","data":{"percent":140}}`,
				422, "invalid-event", `{"pointer":"/data/percent","detail":"got 140, want a number from 0 to 100"}`,
			},
			{
				"in a list", oneEvent, `{"device_id":"a","type":"device.telemetry.reported.v1","time":"2026-01-31T12:00:00Z","data":{"counter":1,"rssi_dbm":[-1,5000]}}`,
				422, "invalid-event", `{"pointer":"/data/rssi_dbm/1",`,
			},
			{
				"two fields", oneEvent, `{"device_id":"a b","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{}}`,
				422, "invalid-event", `{"pointer":"/data/on","detail":"missing, want a boolean"}`,
			},
			{"unknown field", oneEvent, strings.Replace(power("a", "1"), `"on"`, `"onn"`, 1), 422, "invalid-event", `"/data/onn"`},
			{"unknown type", oneEvent, strings.Replace(power("a", "1"), ".v1", ".v9", 1), 422, "unknown-type", `"/type"`},
			{"too large", oneEvent, power("a", strings.Repeat("x", 2000)), 413, "too-large", "at most 2000 bytes"},
			{"form", "application/x-www-form-urlencoded", "on=1", 415, "unsupported-media-type", "application/x-ndjson"},
			{"no media type", "", power("a", "1"), 415, "unsupported-media-type", `got \"\"`},
		} {
			p := w.post(t, c.media, c.body)
			got := p.wantProblem(t, c.status, c.kind)
			if !strings.Contains(p.body, c.want) {
				t.Errorf("%s: got %s, want it to have %s", c.name, p.body, c.want)
			}
			if got.Line != 0 || got.EventID != "" {
				t.Errorf("%s: got %+v, want no line and no event", c.name, got)
			}
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gateway/v1/events", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+w.key)
		request.Header.Set("Content-Type", oneEvent)
		request.Header.Set("Content-Encoding", "gzip")
		w.do(t, request).wantProblem(t, 415, "unsupported-media-type")
		if a := w.get(t, "/v1/events"); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" {
			t.Errorf("GET: got %d %v, want 405 with Allow: POST", a.status, a.header)
		}
		w.stop()
	})
}

func TestPost_ProducersErrors(t *testing.T) {
	t.Parallel()
	unknown := &producer.PublishError{EventID: "e", DeviceID: "a", Err: producer.ErrUnknownOutcome}
	for _, c := range []struct {
		name    string
		refused error // before acceptance
		failed  error // after
		status  int
		kind    string
		eventID string
	}{
		{"too large", &producer.TooLargeError{EventID: "e", Bytes: 300, MaxBytes: 200}, nil, 413, "too-large", ""},
		{"buffer full", producer.ErrBufferFull, nil, 503, "busy", "e"},
		{"closed", producer.ErrClosed, nil, 503, "closing", "e"},
		{"unknown outcome", nil, unknown, 503, "unconfirmed", "e"},
		{"throttled to the end", nil, &producer.PublishError{EventID: "e", Code: "Throttled"}, 503, "unconfirmed", "e"},
		{"not permitted", nil, &producer.PublishError{EventID: "e", Code: "AuthorizationError"}, 503, "unconfirmed", "e"},
		{"disk full", nil, &producer.SpoolError{EventID: "e", Dir: "/spool", Err: syscall.ENOSPC}, 503, "not-written", "e"},
		{"refused", nil, &producer.PublishError{EventID: "e", Code: "InvalidParameter", Refused: true}, 502, "refused-by-topic", "e"},
		{"blocked", nil, &producer.BlockedError{EventID: "e", BlockedBy: "d", Err: unknown}, 503, "blocked", "e"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newFakeWorld(t, fakePublisher{func(_ context.Context, _ events.Event, done func(producer.Result)) error {
					if c.refused == nil {
						done(producer.Result{Err: c.failed})
					}
					return c.refused
				}}, gateway.Config{})
				a := w.post(t, oneEvent, power("a", "e"))
				if got := a.wantProblem(t, c.status, c.kind).EventID; got != c.eventID {
					t.Errorf("event ID: got %q, want %q", got, c.eventID)
				}
				if got := a.header.Get("Retry-After"); (got != "") != (c.status >= 500) {
					t.Errorf("Retry-After: got %q", got)
				}
				w.stop()
			})
		})
	}
}

// fullPublisher never has room.
type fullPublisher struct{}

func (fullPublisher) Enqueue(ctx context.Context, _ events.Event, _ func(producer.Result)) error {
	<-ctx.Done()
	return ctx.Err()
}

func (fullPublisher) Stats() producer.Stats { return producer.Stats{Full: true} }

func TestPost_FullBuffer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, fullPublisher{}, gateway.Config{})
		a := w.post(t, oneEvent, power("lamp-1", "e1"))
		a.wantProblem(t, 503, "busy")
		if got := a.header.Get("Retry-After"); got != "1" {
			t.Errorf("Retry-After: got %q, want 1", got)
		}
		if a := w.get(t, "/readyz"); a.status != 503 || !strings.Contains(a.body, "buffer full") {
			t.Errorf("/readyz: got %d %s, want 503", a.status, a.body)
		}
		if a := w.get(t, "/readyz?exclude=spool,buffer"); a.status != 200 {
			t.Errorf("/readyz but for the buffer: got %d %s, want 200", a.status, a.body)
		}
		if a := w.get(t, "/healthz"); a.status != 200 {
			t.Errorf("/healthz: got %d, want 200", a.status)
		}
		time.Sleep(time.Minute)
		if a := w.get(t, "/readyz"); a.status != 200 {
			t.Errorf("/readyz later: got %d %s, want 200", a.status, a.body)
		}
		w.stop()
	})
}

// stuckTopic confirms all but what is of the device "stuck", which it throttles.
type stuckTopic struct{}

func (stuckTopic) PublishBatch(_ context.Context, in *sns.PublishBatchInput, _ ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	out := &sns.PublishBatchOutput{}
	for _, e := range in.PublishBatchRequestEntries {
		if aws.ToString(e.MessageGroupId) == "stuck" {
			out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: e.Id, Code: aws.String("Throttled"), SenderFault: true})
			continue
		}
		out.Successful = append(out.Successful, types.PublishBatchResultEntry{Id: e.Id, MessageId: aws.String("m")})
	}
	return out, nil
}

// TestPost_OneStuckDeviceLeavesTheGatewayReady: it has used up its share of the buffer, and the others have not.
func TestPost_OneStuckDeviceLeavesTheGatewayReady(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]producer.Config{
		"in memory": {Buffer: 1000, BufferPerDevice: 1},
		"spool":     {Spool: t.TempDir(), SpoolSync: -1, SpoolBytes: 64 << 10, MaxMessageBytes: 8 << 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			p, err := producer.New(stuckTopic{}, "arn:aws:sns:eu-central-1:000000000000:dev-device-events.fifo", cfg)
			if err != nil {
				t.Fatal(err)
			}
			w := newFakeWorld(t, p, gateway.Config{})
			refused := 0
			for i := range 200 {
				if a := w.post(t, oneEvent, power("stuck", fmt.Sprint("s", i))); a.status == 503 && strings.Contains(a.body, "busy") {
					refused++
					break
				}
			}
			if refused == 0 {
				t.Errorf("%s: nothing was refused", name)
			}
			if a := w.post(t, oneEvent, power("well", "e1")); a.status != 202 {
				t.Errorf("%s: another device: got %d %s, want 202", name, a.status, a.body)
			}
			if a := w.get(t, "/readyz"); a.status != 200 {
				t.Errorf("%s: /readyz: got %d %s, want 200", name, a.status, a.body)
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = p.Close(ctx)
			w.stop()
		})
	}
}

func TestPost_NotConfirmedInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, fakePublisher{func(context.Context, events.Event, func(producer.Result)) error {
			return nil // and never an answer
		}}, gateway.Config{Patience: 3 * time.Second})
		begin := time.Now()
		a := w.post(t, oneEvent, power("lamp-1", "e1"))
		if got := a.wantProblem(t, 503, "unconfirmed"); got.EventID != "e1" {
			t.Errorf("got %+v, want the ID to send it again with", got)
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("got the answer after %v, want it after 3s", took)
		}
		w.stop()
	})
}

func TestPost_Limits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{Limit: gateway.Limit{PerSecond: 2, PerDevicePerSecond: 0.5}})
		status := func(device string) int {
			a := w.post(t, oneEvent, power(device, "e"))
			if a.status == http.StatusTooManyRequests {
				a.wantProblem(t, 429, "too-many-events")
				if got := a.header.Get("Retry-After"); got != "1" && got != "2" {
					t.Errorf("Retry-After: got %q, want the seconds until the next token", got)
				}
			}
			return a.status
		}
		if a, b := status("lamp-1"), status("lamp-2"); a != 202 || b != 202 {
			t.Errorf("two at once: got %d, %d, want 202", a, b)
		}
		if got := status("lamp-3"); got != 429 {
			t.Errorf("the third of the key: got %d, want 429", got)
		}
		time.Sleep(time.Second)
		if got := status("lamp-1"); got != 429 {
			t.Errorf("the device's second within 2 s: got %d, want 429", got)
		}
		time.Sleep(time.Second)
		if got := status("lamp-1"); got != 202 {
			t.Errorf("after 2 s: got %d, want 202", got)
		}
		w.stop()
	})
}

func TestPost_SlowClients(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want string // the answer; empty when the connection is just closed
	}{
		"header that never ends": {"POST /v1/events HTTP/1.1\r\nHost: gateway\r\nX-A: ", ""},
		"body that never comes":  {"POST /v1/events HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer KEY\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", "408 "},
		"line that never ends":   {"POST /v1/events HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer KEY\r\nContent-Type: application/x-ndjson\r\nContent-Length: 100\r\n\r\n{", `"status":408`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newFakeWorld(t, confirming, gateway.Config{})
				conn, in := w.rawRequest(t, strings.Replace(c.text, "KEY", w.key, 1))
				written := make(chan struct{})
				go func() { // one byte every other second, for ever
					defer close(written)
					for {
						time.Sleep(2 * time.Second)
						if _, err := io.WriteString(conn, "x"); err != nil {
							return
						}
					}
				}()
				begin := time.Now()
				got, _ := io.ReadAll(in) // until the gateway closes the connection
				if !strings.Contains(string(got), c.want) {
					t.Errorf("got %q, want %q", got, c.want)
				}
				if took := time.Since(begin); took > 2*gateway.DefaultLineTimeout {
					t.Errorf("it held its connection for %v", took)
				}
				conn.Close()
				<-written
				w.stop()
			})
		})
	}
}

func TestServe_Drains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := newFakeWorld(t, fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
			go func() {
				<-release
				done(producer.Result{Event: e})
			}()
			return nil
		}}, gateway.Config{})
		under := make(chan answer, 1)
		go func() { under <- w.post(t, oneEvent, power("lamp-1", "e1")) }()
		reader, writer := io.Pipe()
		stream := make(chan answer, 1)
		go func() { stream <- w.postAs(t, w.key, ndjson, reader) }()
		if _, err := io.WriteString(writer, power("lamp-2", "e2")+"\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		stopped := make(chan struct{})
		go func() {
			w.stop()
			close(stopped)
		}()
		time.Sleep(time.Second)
		close(release)
		if a := <-under; a.status != http.StatusAccepted {
			t.Errorf("the request under way: got %d %s, want 202", a.status, a.body)
		}
		lines := (<-stream).lines(t)
		if lines[1].Status != http.StatusAccepted || lines[2].Status != 503 || !strings.HasSuffix(lines[2].Type, "closing") {
			t.Errorf("the stream under way: got %+v, want its line accepted and the word that the rest was not read", lines)
		}
		writer.Close()
		if _, err := w.pipe.dial(); err == nil {
			t.Error("got a new connection, want none")
		}
		<-stopped
	})
}
