package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2"
	cehttp "github.com/cloudevents/sdk-go/v2/protocol/http"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/gateway"
)

// batchType is the content type of a batch of CloudEvents.
const batchType = "application/cloudevents-batch+json"

// cloudEvent is an event as the official SDK makes it.
func cloudEvent(t *testing.T, device, id string, data any) cloudevents.Event {
	t.Helper()
	e := cloudevents.NewEvent()
	e.SetID(id)
	e.SetSource("hub/7")
	e.SetSubject(device)
	e.SetType("device.power.changed.v1")
	e.SetTime(time.Date(2026, 1, 31, 12, 0, 0, 123456789, time.UTC))
	if err := e.SetData(cloudevents.ApplicationJSON, data); err != nil {
		t.Fatal(err)
	}
	return e
}

var on = map[string]any{"on": true}

// TestCloudEvents_OfficialSDK: what its client sends, in binary mode, structured and as a batch, arrives as the same events.
func TestCloudEvents_OfficialSDK(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gateway.Config{})
	client, err := cloudevents.NewClientHTTP(cehttp.WithTarget("http://gateway/v1/events"), cehttp.WithHeader("Authorization", "Bearer "+w.key),
		cehttp.WithRoundTripper(w.client.Transport))
	if err != nil {
		t.Fatal(err)
	}
	for mode, in := range map[string]func(context.Context) context.Context{"binary": cloudevents.WithEncodingBinary, "structured": cloudevents.WithEncodingStructured} {
		ctx := in(t.Context())
		if result := client.Send(ctx, cloudEvent(t, "lamp-1%\"", mode, on)); !cloudevents.IsACK(result) {
			t.Errorf("%s: got %v, want it accepted", mode, result)
		}
		result := client.Send(ctx, cloudEvent(t, "lamp-1%\"", mode+"-bad", map[string]any{"on": 7}))
		var answer *cehttp.Result
		if !cloudevents.ResultAs(result, &answer) || answer.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: a bad event: got %v, want 422", mode, result)
		}
	}
	batch := []cloudevents.Event{cloudEvent(t, "lamp-2", "b1", on), cloudEvent(t, "lamp-3", "b2", on), cloudEvent(t, "lamp-2", "b3", on)}
	request, err := cehttp.NewHTTPRequestFromEvents(t.Context(), "http://gateway/v1/events", batch)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+w.key)
	if a := w.do(t, request); a.status != http.StatusAccepted || a.body != `[{"status":202,"event_id":"b1"},{"status":202,"event_id":"b2"},{"status":202,"event_id":"b3"}]`+"\n" {
		t.Errorf("the batch: got %d %s", a.status, a.body)
	}
	got := w.delivered(t)
	for _, e := range got {
		if e.Source != "hub/7" || !e.Time.Equal(time.Date(2026, 1, 31, 12, 0, 0, 123456789, time.UTC)) || e.Type() != "device.power.changed.v1" {
			t.Errorf("arrived as %+v", e)
		}
	}
	ids := byDevice(got)
	slices.Sort(ids[`lamp-1%"`])
	if fmt.Sprint(ids) != fmt.Sprint(map[string][]string{`lamp-1%"`: {"binary", "structured"}, "lamp-2": {"b1", "b3"}, "lamp-3": {"b2"}}) {
		t.Errorf("delivered: %v", ids)
	}
	w.stop()
}

// TestBinary_Refusals name the attribute or the field as in structured mode.
func TestBinary_Refusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{MaxEventBytes: 200})
		for _, c := range []struct {
			name, media, body string
			header            map[string][]string // in place of a good one; nil removes it
			status            int
			kind, want        string // want is somewhere in the document
		}{
			{"good", "application/json", `{"on":true}`, nil, 202, "", `"event_id":"e1"`},
			{"good, as another JSON", "application/vnd.x+json; charset=utf-8", " {\"on\":true}\n", nil, 202, "", ""},
			{"no content type", "", `{"on":true}`, nil, 202, "", ""},
			{"quoted and encoded", "application/json", `{"on":true}`, map[string][]string{"Ce-Subject": {`"lamp\"%25%41"`}}, 202, "", ""},
			{"no JSON", "text/plain", `on`, nil, 415, "unsupported-media-type", `the data of an event is JSON`},
			{"bad data", "application/json", `{"on":7}`, nil, 422, "invalid-event", `{"pointer":"/data/on","detail":"got 7, want a boolean"}`},
			{"no data", "application/json", "", nil, 422, "invalid-event", `{"pointer":"/data","detail":"missing, want an object"}`},
			{"torn data", "application/json", `{"on":`, nil, 400, "malformed-json", "the data of the event: unexpected end"},
			{"data that breaks out", "application/json", `{"on":true},"id":"e2"`, nil, 400, "malformed-json", "the data of the event"},
			{"data that is none", "application/json", "{\"on\":\xff}", nil, 400, "malformed-json", ""},
			{"too large", "application/json", `{"on":true}` + strings.Repeat(" ", 200), nil, 413, "too-large", "want at most 200 bytes"},
			{"no subject", "application/json", `{"on":true}`, map[string][]string{"Ce-Subject": nil}, 422, "invalid-event", `"pointer":"/subject","detail":"missing`},
			{"no version", "application/json", `{"on":true}`, map[string][]string{"Ce-Specversion": nil}, 422, "invalid-event", `"pointer":"/specversion","detail":"got null`},
			{"another version", "application/json", `{"on":true}`, map[string][]string{"Ce-Specversion": {"0.3"}}, 422, "invalid-event", `"pointer":"/specversion"`},
			{"two IDs", "application/json", `{"on":true}`, map[string][]string{"Ce-Id": {"e1", "e2"}}, 422, "invalid-event", `{"pointer":"/id","detail":"got two values, want one"}`},
			{"bad time", "application/json", `{"on":true}`, map[string][]string{"Ce-Time": {"now"}}, 422, "invalid-event", `"pointer":"/time"`},
			{"an extension", "application/json", `{"on":true}`, map[string][]string{"Ce-Colour": {"red"}}, 422, "invalid-event", `"pointer":"/colour"`},
			{"no UTF-8", "application/json", `{"on":true}`, map[string][]string{"Ce-Id": {"%FF"}}, 422, "invalid-event", `{"pointer":"/id","detail":"got \"\\xff\", want UTF-8"}`},
			{"a second content type", "application/json", `{"on":true}`, map[string][]string{"Ce-Datacontenttype": {"text/xml"}}, 422, "invalid-event", `"pointer":"/datacontenttype"`},
		} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://gateway/v1/events", strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range map[string]string{
				"Authorization": "Bearer " + w.key, "Ce-Specversion": "1.0", "Ce-Id": "e1", "Ce-Source": "hub/7", "Ce-Subject": "lamp-1",
				"Ce-Type": "device.power.changed.v1", "Ce-Time": "2026-01-31t12:00:00z",
			} {
				request.Header.Set(name, value)
			}
			if c.media != "" {
				request.Header.Set("Content-Type", c.media)
			}
			for name, values := range c.header {
				request.Header[name] = values
			}
			a := w.do(t, request)
			if c.kind != "" {
				a.wantProblem(t, c.status, c.kind)
			}
			if a.status != c.status || !strings.Contains(a.body, c.want) {
				t.Errorf("%s: got %d %s, want %d with %s", c.name, a.status, a.body, c.status, c.want)
			}
		}
		w.stop()
	})
}

// TestBatch_EveryEventHasItsAnswer, in its place, with pointers into the list.
func TestBatch_EveryEventHasItsAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gateway.Config{MaxEventBytes: 300, Window: 8})
		short := func(device, id string) string { return power(device, id) }
		list := []string{
			short("lamp-1", "e1"), strings.Replace(short("lamp-2", "e2"), "true", "7", 1), "null", short("lamp-1", "e3"),
			strings.Replace(short("lamp-3", "e4"), "true", `true,"a/b":[1]`, 1), short("lamp-4", strings.Repeat("x", 300)), `"text"`, short("lamp-2", "e5"),
		}
		a := w.post(t, batchType, "["+strings.Join(list, ",")+"]")
		if a.status != http.StatusMultiStatus || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("got %d %v", a.status, a.header)
		}
		answers := decode[[]gateway.Problem](t, a.body)
		want := []int{202, 422, 400, 202, 422, 413, 400, 202}
		for i, p := range answers {
			if p.Status != want[i] || p.Line != 0 || p.Status == 202 && p.EventID == "" {
				t.Errorf("event %d: got %+v, want status %d", i, p, want[i])
			}
		}
		if got := fmt.Sprint(answers[1].Errors, answers[4].Errors); got != "[{/1/data/on got 7, want a boolean}] [{/4/data/a~1b got an unknown field, want one of on, level_percent}]" {
			t.Errorf("bad fields: %s", got)
		}
		if got := fmt.Sprint(byDevice(w.delivered(t))); got != "map[lamp-1:[e1 e3] lamp-2:[e5]]" {
			t.Errorf("delivered: %s", got)
		}
		if a := w.post(t, batchType, "[]"); a.status != http.StatusAccepted || a.body != "[]\n" {
			t.Errorf("an empty batch: got %d %s", a.status, a.body)
		}
		if a := w.post(t, batchType, "["+list[1]+","+list[1]+"]"); a.status != http.StatusUnprocessableEntity || len(decode[[]gateway.Problem](t, a.body)) != 2 {
			t.Errorf("all of a kind: got %d %s", a.status, a.body)
		}
		for _, body := range []string{"", "null", short("lamp-1", "e9"), "[1", `[{}]x`, "\xff"} {
			w.post(t, batchType, body).wantProblem(t, http.StatusBadRequest, "malformed-json")
		}
		w.post(t, batchType, "["+strings.Repeat("{},", 8)+"{}]").wantProblem(t, http.StatusRequestEntityTooLarge, "too-large")
		w.post(t, batchType, strings.Repeat(" ", 8<<20)+"[]").wantProblem(t, http.StatusRequestEntityTooLarge, "too-large")
		if a := w.postAs(t, "nobody.x", batchType, strings.NewReader("[]")); a.status != http.StatusUnauthorized {
			t.Errorf("without a key: got %d", a.status)
		}
		w.stop()
	})
}

// TestBatch_KeepsTheOrderOfADevice: behind an event that was not accepted for a reason that may pass, none of its device is.
func TestBatch_KeepsTheOrderOfADevice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var taken []string
		p := fakePublisher{func(_ context.Context, e events.Event, done func(producer.Result)) error {
			var err error
			if e.ID == "e2" {
				err = &producer.SpoolError{EventID: e.ID, DeviceID: e.DeviceID, Err: io.ErrShortWrite}
			} else {
				taken = append(taken, e.ID)
			}
			done(producer.Result{Event: e, Err: err})
			return nil
		}}
		w := newFakeWorld(t, p, gateway.Config{})
		a := w.post(t, batchType, "["+strings.Join([]string{power("d1", "e1"), power("d1", "e2"), power("d2", "e3"), power("d1", "e4")}, ",")+"]")
		var kinds []string
		for _, one := range decode[[]gateway.Problem](t, a.body) {
			kinds = append(kinds, fmt.Sprint(one.Status, strings.TrimPrefix(one.Type, gateway.ProblemBase), one.EventID))
		}
		if got := strings.Join(kinds, " "); got != "202e1 503not-writtene2 202e3 503blockede4" || fmt.Sprint(taken) != "[e1 e3]" || a.status != http.StatusMultiStatus {
			t.Errorf("got %d %s, taken %v", a.status, got, taken)
		}
		if a.header.Get("Retry-After") == "" {
			t.Error("it does not say when to send them again")
		}
		for _, want := range []string{`{result="accepted",transport="batch"} 2`, `{result="not-written",transport="batch"} 1`, `{result="blocked",transport="batch"} 1`} {
			if got := w.scrape(t); !strings.Contains(got, want) {
				t.Errorf("metrics: got no %s in\n%s", want, got)
			}
		}
		w.stop()
	})
}

// TestBatch_IsAnsweredInTime: what has no outcome by then may have been accepted, and nothing behind it of its device is sent.
func TestBatch_IsAnsweredInTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var offered []string
		p := fakePublisher{func(ctx context.Context, e events.Event, done func(producer.Result)) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			offered = append(offered, e.ID)
			if e.DeviceID != "stuck" {
				done(producer.Result{Event: e})
			}
			return nil
		}}
		w := newFakeWorld(t, p, gateway.Config{Patience: time.Second})
		begin := time.Now()
		a := w.post(t, batchType, "["+strings.Join([]string{power("stuck", "e1"), power("stuck", "e2"), power("d2", "e3")}, ",")+"]")
		answers := decode[[]gateway.Problem](t, a.body)
		if took := time.Since(begin); took != time.Second || a.status != http.StatusMultiStatus {
			t.Errorf("answered %d after %v", a.status, took)
		}
		for i, want := range []int{503, 503, 202} {
			if answers[i].Status != want || answers[i].EventID != fmt.Sprint("e", i+1) {
				t.Errorf("event %d: %+v, want %d", i, answers[i], want)
			}
		}
		if fmt.Sprint(offered) != "[e1 e3]" {
			t.Errorf("offered to the producer: %v, want e2 to stay behind e1", offered)
		}
		w.stop()
	})
}

// TestBatch_HasTheLimitsOfAStream: its events wait for their turn, as far as the time of the request goes; and it counts as an open stream.
func TestBatch_HasTheLimitsOfAStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newFakeWorld(t, confirming, gateway.Config{Patience: 3 * time.Second, MaxStreams: 1, Limit: gateway.Limit{PerSecond: 1, Burst: 1}})
		var list []string
		for i := range 6 {
			list = append(list, power("d", fmt.Sprint("e", i)))
		}
		body := "[" + strings.Join(list, ",") + "]"
		var accepted int
		for _, one := range decode[[]gateway.Problem](t, w.post(t, batchType, body).body) {
			if one.Status == http.StatusAccepted {
				accepted++
			} else if one.Status != http.StatusServiceUnavailable {
				t.Errorf("got %+v", one)
			}
		}
		if accepted < 3 || accepted > 4 {
			t.Errorf("%d accepted in three seconds at one a second", accepted)
		}
		second := make(chan answer)
		go func() { second <- w.post(t, batchType, body) }()
		synctest.Wait()
		w.post(t, batchType, body).wantProblem(t, http.StatusTooManyRequests, "too-many-streams")
		<-second
		w.stop()
	})
}
