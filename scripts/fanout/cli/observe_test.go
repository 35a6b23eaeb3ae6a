package cli

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers"
)

func TestConsumerView_ShowsWhoIsBlockedAndWhy(t *testing.T) {
	t.Parallel()
	view := strings.Join(consumerView("acme", "lights", consumers.Stats{Handled: 12, Held: 3, Open: true}, []consumers.Blocked{{
		DeviceID: "lamp-7", Reason: consumers.BlockedBreaker, EventID: "0197-event", Attempts: 4, Behind: 2,
		Since: time.Now().Add(-90 * time.Second), Error: "database is down\nstack",
	}}, time.Minute), "\n")
	for _, want := range []string{"acme consume lights", "circuit breaker open", "lamp-7", "breaker", "0197-event", "1m30s", "database is down"} {
		if !strings.Contains(view, want) {
			t.Errorf("got\n%s\nwant it to say %q", view, want)
		}
	}
	if strings.Contains(view, "stack") {
		t.Errorf("got\n%s\nwant one line for each device", view)
	}
}

// TestObserve_AnswersOverHTTP with the metrics of a consumer that is not running.
func TestObserve_AnswersOverHTTP(t *testing.T) {
	t.Parallel()
	var cfg consumers.Config
	server, err := serveHealth("127.0.0.1:0")
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
