package gateway_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/gateway"
)

const ndjson = "application/x-ndjson"

func TestStream_KeepsTheOrderOfEveryDeviceThroughFaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gateway.Config{Window: 50})
		w.engine.Faults().Add(faults.Rule{Kind: faults.FailEntry, Probability: 0.05, Seed: 1})
		w.engine.Faults().Add(faults.Rule{Kind: faults.Throttle, Action: "PublishBatch", Probability: 0.05, Seed: 2})
		w.engine.Faults().Add(faults.Rule{Kind: faults.DropReply, Action: "PublishBatch", Probability: 0.02, Seed: 3})
		random := rand.New(rand.NewPCG(4, 4))
		var body strings.Builder
		want := map[string][]string{}
		const lines = 600
		for i := range lines {
			device, id := fmt.Sprint("lamp-", random.IntN(1+random.IntN(12))), fmt.Sprint("e", i)
			want[device] = append(want[device], id)
			body.WriteString(power(device, id) + "\n")
		}
		answers := w.post(t, ndjson, body.String()).lines(t)
		for n := 1; n <= lines; n++ {
			if a := answers[n]; a.Status != 202 || a.EventID != fmt.Sprint("e", n-1) {
				t.Fatalf("line %d: got %+v, want 202", n, a)
			}
		}
		w.engine.Faults().Clear()
		got := byDevice(w.delivered(t))
		for device, ids := range want {
			if !slices.Equal(got[device], ids) {
				t.Errorf("%s: got %q, want %q", device, got[device], ids)
			}
		}
		w.stop()
	})
}

func TestStream_BadLinesAreAnsweredAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{MaxEventBytes: 40_000})
		body := strings.Join([]string{
			power("lamp-1", "e1"),
			"",
			"{broken",
			strings.Repeat("x", 100_000),
			strings.Replace(power("lamp-1", "e5"), `"on":true`, `"on":7`, 1),
			power("lamp-1", "e6") + "\r",
			power("lamp-1", strings.Repeat("y", 39_000)),
			power("lamp-1", "e8"), // without an end
		}, "\n")
		got := w.post(t, ndjson, body).lines(t)
		for line, want := range map[int]string{
			1: "202", 3: "400 malformed-json", 4: "413 too-large", 5: "422 invalid-event", 6: "202", 7: "422 invalid-event", 8: "202",
		} {
			status, kind, _ := strings.Cut(want, " ")
			if a := got[line]; fmt.Sprint(a.Status) != status || !strings.HasSuffix(a.Type, kind) {
				t.Errorf("line %d: got %+v, want %s", line, a, want)
			}
		}
		if len(got) != 7 {
			t.Errorf("got %d answers, want 7: an empty line gets none", len(got))
		}
		if bad := got[5].Errors; len(bad) != 1 || bad[0].Pointer != "/data/on" {
			t.Errorf("line 5: got %+v, want the bad field", bad)
		}
		w.stop()
	})
}

// After a line that was not accepted for a reason that may pass, no later line of its device is, and other devices go on.
func TestStream_NothingOvertakesAFailedLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var taken []string
		w := newFakeWorld(t, fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
			taken = append(taken, e.ID)
			go func() {
				time.Sleep(time.Second)
				r := producer.Result{Event: e}
				if e.ID == "e2" {
					r.Err = &producer.PublishError{EventID: e.ID, DeviceID: e.DeviceID, Code: "Throttled"}
				}
				done(r)
			}()
			return nil
		}}, gateway.Config{})
		reader, writer := io.Pipe()
		done := make(chan answer, 1)
		go func() { done <- w.postAs(t, w.key, ndjson, reader) }()
		for i, device := range []string{"lamp-1", "lamp-1", "lamp-1", "lamp-2", "lamp-1"} {
			fmt.Fprintln(writer, power(device, fmt.Sprint("e", i+1)))
		}
		time.Sleep(20 * time.Second) // all of that is answered
		fmt.Fprintln(writer, power("lamp-1", "e6"))
		fmt.Fprintln(writer, power("lamp-2", "e7"))
		writer.Close()
		got := (<-done).lines(t)
		for line, want := range []string{"", "", "unconfirmed", "blocked", "", "blocked", "blocked", ""} {
			if line == 0 {
				continue
			}
			a := got[line]
			if want == "" && a.Status != 202 || want != "" && (a.Status != 503 || !strings.HasSuffix(a.Type, "/"+want)) {
				t.Errorf("line %d: got %+v, want %q", line, a, want)
			}
			if a.EventID != fmt.Sprint("e", line) {
				t.Errorf("line %d: got event ID %q", line, a.EventID)
			}
		}
		w.stop()
		slices.Sort(taken)
		if want := []string{"e1", "e2", "e4", "e7"}; !slices.Equal(taken, want) {
			t.Errorf("handed to the producer: got %q, want %q", taken, want)
		}
	})
}

// A device whose events are not answered does not hold up the answers of the others.
func TestStream_AnswersComeAsTheyAreKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		w := newFakeWorld(t, fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
			go func() {
				if e.DeviceID == "stuck" {
					<-release
				}
				done(producer.Result{Event: e})
			}()
			return nil
		}}, gateway.Config{})
		body := power("stuck", "e1") + "\n" + power("lamp-1", "e2") + "\n" + power("stuck", "e3") + "\n" + power("lamp-1", "e4") + "\n"
		_, in := w.rawRequest(t, fmt.Sprintf("POST /v1/events HTTP/1.1\r\nHost: g\r\nConnection: close\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			w.key, ndjson, len(body), body))
		seen := ""
		for !strings.Contains(seen, `"line":2`) || !strings.Contains(seen, `"line":4`) { // in either order: each is confirmed by a goroutine
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatalf("%v after %q", err, seen)
			}
			seen += line
		}
		if strings.Contains(seen, `"line":1`) || strings.Contains(seen, `"line":3`) {
			t.Errorf("got %q, want lines 2 and 4 answered first", seen)
		}
		close(release)
		rest, err := io.ReadAll(in)
		if err != nil || !strings.Contains(string(rest), `"line":1`) || !strings.Contains(string(rest), `"line":3`) {
			t.Errorf("got %q, %v, want lines 1 and 3", rest, err)
		}
		w.stop()
	})
}

// A limit slows a stream down and refuses nothing.
func TestStream_LimitsSlowItDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{Limit: gateway.Limit{PerSecond: 5}})
		var body strings.Builder
		for i := range 21 {
			body.WriteString(power("lamp-1", fmt.Sprint("e", i)) + "\n")
		}
		begin := time.Now()
		for n, a := range w.post(t, ndjson, body.String()).lines(t) {
			if a.Status != 202 {
				t.Errorf("line %d: got %+v, want 202", n, a)
			}
		}
		if took := time.Since(begin).Round(time.Millisecond); took != 3200*time.Millisecond { // 5 at once, 16 at 5 a second
			t.Errorf("took %v, want 3.2s", took)
		}
		w.stop()
	})
}

// A client that does not read its answers is dropped, and the window bounds what waits for it.
func TestStream_ClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		taken := 0
		w := newFakeWorld(t, fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
			taken++
			done(producer.Result{Event: e})
			return nil
		}}, gateway.Config{Window: 10})
		conn, _ := w.rawRequest(t, fmt.Sprintf("POST /v1/events HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n",
			w.key, ndjson))
		line := power("lamp-1", strings.Repeat("i", 100)) + "\n"
		for {
			if _, err := fmt.Fprintf(conn, "%x\r\n%s\r\n", len(line), line); err != nil {
				break // the gateway has closed the connection
			}
		}
		w.stop()
		if taken > 500 {
			t.Errorf("took %d lines of a client that reads nothing, want no more than the window and what buffers hold", taken)
		}
	})
}
