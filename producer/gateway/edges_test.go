package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/gateway"
	"github.com/device-fanout/fanout/producer/telemetry"
)

// TestStream_EndsWithItsKey: a key that is taken away ends the streams that were opened with it, at their next line.
func TestStream_EndsWithItsKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{})
		body, client := io.Pipe()
		stream := make(chan answer, 1)
		go func() { stream <- w.postAs(t, w.key, ndjson, body) }()
		line := func(id string) {
			if _, err := io.WriteString(client, power("hall-1", id)+"\n"); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		line("e1")
		editKeys(t, w.keyFile, func(entry map[string]any) { entry["devices"] = []string{"attic-*"} })
		w.reload(t)
		line("e2") // the key is confined now
		editKeys(t, w.keyFile, func(entry map[string]any) { entry["name"] = "other" })
		w.reload(t)
		line("e3")
		begin := time.Now()
		lines := (<-stream).lines(t)
		if lines[1].Status != 202 || lines[2].Status != 403 || lines[3].Status != 401 || len(lines) != 3 {
			t.Errorf("got %+v, want the first accepted, the second refused and the third to end the stream", lines)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the stream ended %v later, want at once", took)
		}
		client.Close()
		w.stop()
	})
}

// TestStream_WaitsNoLongerThanTheGatewayLives for its limit.
func TestStream_WaitsNoLongerThanTheGatewayLives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{Limit: gateway.Limit{PerSecond: 0.001}})
		stream := make(chan answer, 1)
		go func() { stream <- w.post(t, ndjson, power("a", "e1")+"\n"+power("a", "e2")+"\n") }()
		time.Sleep(time.Second)
		w.stop()
		if lines := (<-stream).lines(t); lines[1].Status != 202 || lines[2].Status != 503 || !strings.HasSuffix(lines[2].Type, "closing") {
			t.Errorf("got %+v, want the second line answered: the gateway is closing", lines)
		}
	})
}

// TestStream_BoundsTheBytesThatWait as well as the lines.
func TestStream_BoundsTheBytesThatWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const padding = 200 << 10
		var held atomic.Int64
		release := make(chan struct{})
		w := newFakeWorld(t, fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
			held.Add(1)
			go func() {
				<-release
				done(producer.Result{Event: e})
			}()
			return nil
		}}, gateway.Config{})
		var body strings.Builder
		for i := range 100 {
			body.WriteString(power(fmt.Sprint("d", i), "e") + strings.Repeat(" ", padding) + "\n")
		}
		stream := make(chan answer, 1)
		go func() { stream <- w.post(t, ndjson, body.String()) }()
		synctest.Wait()
		if n := held.Load(); n == 0 || n*padding > 8<<20 {
			t.Errorf("%d lines of %d bytes wait, want at most 8 MiB of them", n, padding)
		}
		close(release)
		if lines := (<-stream).lines(t); len(lines) != 100 {
			t.Errorf("%d lines are answered, want 100", len(lines))
		}
		w.stop()
	})
}

// TestStream_SaysGoOnBeforeItAnswers to a client that asks before it sends its lines, as curl does with a large file.
func TestStream_SaysGoOnBeforeItAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{})
		line := power("lamp-1", "e") + "\n"
		conn, in := w.rawRequest(t, fmt.Sprintf("POST /v1/events HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n"+
			"Expect: 100-continue\r\n\r\n", w.key, ndjson, len(line)))
		if first, err := in.ReadString('\n'); err != nil || first != "HTTP/1.1 100 Continue\r\n" {
			t.Errorf("got %q, %v, want to be told to go on", first, err)
		}
		go func() {
			if _, err := io.WriteString(conn, line); err != nil {
				t.Error(err)
			}
		}()
		for text := ""; !strings.Contains(text, `"status":202`); {
			var err error
			if text, err = in.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		conn.Close()
		w.stop()
	})
}

// TestPost_ClientThatDoesNotRead its answer loses its connection.
func TestPost_ClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{})
		text := power("lamp-1", "e")
		conn, _ := w.rawRequest(t, fmt.Sprintf("POST /v1/events HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			w.key, oneEvent, len(text), text))
		time.Sleep(time.Minute)
		if _, err := io.WriteString(conn, "GET /healthz HTTP/1.1\r\n"); err == nil {
			t.Error("the connection is open after a minute, want it closed")
		}
		conn.Close()
		w.stop()
	})
}

func TestHandler_SaysWhatIsThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{})
		w.get(t, "/v2/events").wantProblem(t, http.StatusNotFound, "not-found")
		a := w.get(t, "/v1/events")
		a.wantProblem(t, http.StatusMethodNotAllowed, "method-not-allowed")
		if got := a.header.Get("Allow"); got != "POST" {
			t.Errorf("Allow: got %q, want POST", got)
		}
		w.stop()
	})
}

// TestKeys_SpeakForTheirSource: it is that of events that name none, and no other may be named.
func TestKeys_SpeakForTheirSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var sources []string
		w := newFakeWorld(t, fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
			sources = append(sources, e.Source)
			done(producer.Result{Event: e})
			return nil
		}}, gateway.Config{})
		from := func(source string) string {
			return strings.Replace(power("a", "e"), `"id"`, fmt.Sprintf(`"source":%q,"id"`, source), 1)
		}
		if a := w.post(t, oneEvent, from("gateway/attic")); a.status != 202 {
			t.Errorf("a key without a source: got %d %s, want 202", a.status, a.body)
		}
		editKeys(t, w.keyFile, func(entry map[string]any) { entry["source"] = "gateway/hall" })
		w.reload(t)
		p := w.post(t, oneEvent, from("gateway/attic")).wantProblem(t, http.StatusForbidden, "forbidden-source")
		if !strings.Contains(p.Detail, "gateway/hall") || !strings.Contains(p.Detail, "gateway/attic") {
			t.Errorf("detail: got %q, want both sources", p.Detail)
		}
		lines := w.post(t, ndjson, power("a", "e")+"\n"+from("gateway/attic")+"\n"+from("gateway/hall")+"\n").lines(t)
		if lines[1].Status != 202 || lines[2].Status != 403 || lines[3].Status != 202 {
			t.Errorf("got %+v, want the second line refused only", lines)
		}
		if got, want := fmt.Sprint(sources), "[gateway/attic gateway/hall gateway/hall]"; got != want {
			t.Errorf("sources: got %s, want %s", got, want)
		}
		editKeys(t, w.keyFile, func(entry map[string]any) { entry["source"] = "not a URI" })
		if _, err := w.keys.Reload(); err == nil || !strings.Contains(err.Error(), `source: got "not a URI"`) {
			t.Errorf("got %v, want the bad source named", err)
		}
		w.stop()
	})
}

// TestKeys_CountsAMissingFileOnce, however often it is looked for.
func TestKeys_CountsAMissingFileOnce(t *testing.T) {
	t.Parallel()
	w := newFakeWorld(t, confirming, gateway.Config{})
	if err := os.Remove(w.keyFile); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := w.keys.Reload(); err == nil {
			t.Error("got no error without a file")
		}
	}
	if got := w.scrape(t); !strings.Contains(got, "keys_reload_failures_total 1\n") {
		t.Errorf("metrics: got %s, want one failure", got)
	}
}

// TestTrace_GoesOn from the client's header to what is published.
func TestTrace_GoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var traces []string
		w := newFakeWorld(t, fakePublisher{func(ctx context.Context, e events.Event, done func(producer.Result)) error {
			traces = append(traces, fmt.Sprint(trace.SpanContextFromContext(ctx).TraceID(), " ", e.ID))
			done(producer.Result{Event: e})
			return nil
		}}, gateway.Config{Trace: telemetry.Continue})
		const none, some = "00000000000000000000000000000000", "4bf92f3577b34da6a3ce929d0e0e4736"
		for _, c := range []struct{ header, media, want string }{
			{"", oneEvent, none},
			{"00-" + some + "-00f067aa0ba902b7-01", oneEvent, some},
			{"00-" + some + "-00f067aa0ba902b7-01", ndjson, some},
			{"00-nonsense-01", oneEvent, none},
		} {
			traces = nil
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gateway/v1/events", strings.NewReader(power("a", "e")))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", c.media)
			request.Header.Set("Authorization", "Bearer "+w.key)
			request.Header.Set("Traceparent", c.header)
			w.do(t, request)
			if want := "[" + c.want + " e]"; fmt.Sprint(traces) != want {
				t.Errorf("header %q, %s: got %s, want %s", c.header, c.media, traces, want)
			}
		}
		w.stop()
	})
}
