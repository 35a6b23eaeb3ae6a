package cli

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers"
)

func TestConsumerView_ShowsWhoIsBlockedAndWhy(t *testing.T) {
	t.Parallel()
	view := strings.Join(consumerView("acme", "lights", consumers.Stats{Handled: 12, Held: 3, Open: true}, nil, []consumers.Blocked{{
		Service: "lights", DeviceID: "lamp-7", Reason: consumers.BlockedBreaker, EventID: "0197-event", Attempts: 4, Behind: 2,
		Since: time.Now().Add(-90 * time.Second), Error: "database is down\nstack", WaitsFor: "the service's check to pass, which says: refused\nmore",
	}}, time.Minute), "\n")
	for _, want := range []string{
		"acme consume lights", "circuit breaker open", "lamp-7", "breaker", "0197-event", "1m30s", "database is down",
		"lights waits for the service's check to pass, which says: refused",
	} {
		if !strings.Contains(view, want) {
			t.Errorf("got\n%s\nwant it to say %q", view, want)
		}
	}
	if strings.Contains(view, "stack") || strings.Contains(view, "more") {
		t.Errorf("got\n%s\nwant one line for each device", view)
	}
}

// TestConsumerView_SaysWhyNothingIsReceived, which leaves no device blocked.
func TestConsumerView_SaysWhyNothingIsReceived(t *testing.T) {
	t.Parallel()
	ready := errors.New("events can't be handled: the service's check says: refused\nmore")
	for state, s := range map[string]consumers.Stats{
		"check says: refused": {Running: true}, "paused": {Running: true, Paused: true}, "draining": {Running: true, Draining: true}, "Ctrl-C ends it": {},
	} {
		if view := consumerView("acme", "lights", s, ready, nil, time.Minute); !strings.HasSuffix(view[1], state) {
			t.Errorf("got %q, want it to end in %q", view[1], state)
		}
	}
}

// TestBlockedLines_SayWhatIsWaitedFor once for all that wait for the same, since when and until when.
func TestBlockedLines_SayWhatIsWaitedFor(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	const check, another = "the service's check to pass", "another event of its type to be handled"
	got := strings.Join(blockedLines([]consumers.Blocked{
		{Service: "lights", DeviceID: "lamp-1", Reason: consumers.BlockedEvidence, Since: now.Add(-time.Hour), WaitsFor: check, Attempts: 9, Error: "refused", EventID: "e-1"},
		{Service: "lights", DeviceID: "lamp-2", Reason: consumers.BlockedEvidence, Since: now.Add(-time.Minute), WaitsFor: check, Attempts: 4, Behind: 3, Error: `lights: record event "0197" of device "lamp-2": connection refused`},
		{Service: "bells", DeviceID: "bell\x1b[2J", Reason: consumers.BlockedEvidence, Since: now, Until: now.Add(5 * time.Minute), WaitsFor: another},
		{Service: "bells", DeviceID: "bell-2", Reason: consumers.BlockedPolicy, Since: now, Until: now.Add(-time.Second), WaitsFor: another},
	}, now), "\n")
	want := `
BLOCKED DEVICE       WHY         ATTEMPTS BEHIND   SINCE     UNTIL  ERROR                                        EVENT
lights waits for the service's check to pass
  lamp-1             evidence           9      0  1h0m0s      open  refused                                      e-1
  lamp-2             evidence           4      3    1m0s      open  …197" of device "lamp-2": connection refused
bells waits for another event of its type to be handled
  bell\u001b[2J      evidence           0      0      0s   in 5m0s
  bell-2             block              0      0      0s     in 0s`
	if want = want[1:]; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestObserve_AnswersOverHTTP with the metrics of a consumer that is not running.
func TestObserve_AnswersOverHTTP(t *testing.T) {
	t.Parallel()
	var cfg consumers.Config
	server, err := serveHealth("127.0.0.1:0", false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer server.close(t.Context())
	look := func(path, want string) {
		t.Helper()
		response, err := http.Get("http://" + server.address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if !strings.Contains(string(body), want) {
			t.Errorf("%s: got %s, want it to say %s", path, body, want)
		}
	}
	look("/livez", `"ok"`) // while the service opens its database
	look("/readyz", `"starting"`)
	if err := server.hook("http://127.0.0.1/000000000000/dev-lights.fifo", &cfg); err != nil {
		t.Fatal(err)
	}
	queue := consumers.Queue{Service: "lights", URL: "u", DLQURL: "d"}
	c, err := consumers.New(&consumers.Client{}, queue, (&consumers.Mux{}).Dispatch, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.add(c); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/livez": "ok", "/healthz": "ok", "/startupz": "starting", "/readyz": "is not running", "/blocked": "[]",
		"/metrics": `fanout_consumer_received_total{messaging_destination_name="dev-lights.fifo",messaging_system="aws_sqs"`,
	} {
		look(path, want)
	}
}
