package cli

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/producer/gateway"
)

// fetch gets a page and returns its status, or 0 without an answer, and its text.
func fetch(client *http.Client, url string) (status int, text string) {
	response, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

func terminate(t *testing.T, p *program) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// diedBySignal fails the test unless the program ended by SIGTERM itself.
func diedBySignal(t *testing.T, p *program) {
	t.Helper()
	p.end(t)
	if status := p.ProcessState.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGTERM {
		t.Errorf("after a second signal: got %v, want the end by it", p.ProcessState)
	}
}

// TestGateway_ShutdownDelay: after SIGTERM it is not ready and takes events all the same, by new connections; a second SIGTERM ends it.
func TestGateway_ShutdownDelay(t *testing.T) {
	t.Parallel()
	_, endpoint := localEngine(t)
	p := start(t, nil, "gateway", "--endpoint", endpoint, "--addr", "127.0.0.1:0", "--no-keys", "--metrics-addr", "127.0.0.1:0", "--shutdown-delay", "1m")
	address, metrics := p.stderr.find(t, `gateway on (\S+)`), p.stderr.find(t, `metrics on (\S+)`)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if status, text := fetch(client, "http://"+address+"/readyz"); status != http.StatusOK {
		t.Errorf("before the signal: /readyz: got %d %s, want 200", status, text)
	}
	terminate(t, p)
	eventually(t, "readiness gone", func() bool {
		status, text := fetch(client, "http://"+address+"/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, "shutting down")
	})
	if !postOne(client, address, "", `{"device_id":"lamp-7","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`) {
		t.Error("an event was not accepted after the signal")
	}
	if status, text := fetch(client, metrics); status != http.StatusOK || !strings.Contains(text, `result="accepted",transport="http"} 1`) {
		t.Errorf("metrics after the signal: got %d\n%s\nwant the event counted", status, text)
	}
	terminate(t, p)
	diedBySignal(t, p)
}

func TestGateway_EndsAfterItsShutdownDelay(t *testing.T) {
	t.Parallel()
	_, endpoint := localEngine(t)
	p := background(t, nil, "gateway", "--endpoint", endpoint, "--addr", "127.0.0.1:0", "--no-keys", "--shutdown-delay", "1ms")
	p.stderr.find(t, `gateway on (\S+)`)
	p.interrupt()
	p.wait(t).want(t, exitOK)
	invoke(t, "", "gateway", "--addr", "127.0.0.1:0", "--no-keys", "--shutdown-delay", "61s").want(t, exitUsage)
	invoke(t, "", "gateway", "--addr", "127.0.0.1:0", "--no-keys", "--shutdown-delay", "-1s").want(t, exitUsage)
}

// TestGateway_EndsWithinWhatFargateAllows, however its time is divided, with half a minute at least for what is in its buffer.
func TestGateway_EndsWithinWhatFargateAllows(t *testing.T) {
	t.Parallel()
	const fargate = 2 * time.Minute
	for _, delay := range []time.Duration{0, time.Second, 20 * time.Second, maxShutdownDelay} {
		for _, spool := range []string{"", "spool"} {
			patience := closePatience(spool, delay)
			if all := delay + gateway.DefaultDrainTimeout + patience; all > fargate-5*time.Second {
				t.Errorf("delay %v, spool %q: got %v in all, want 5s less than %v at most", delay, spool, all, fargate)
			}
			if spool == "" && patience < 30*time.Second {
				t.Errorf("delay %v: got %v to publish what is in the buffer, want 30s at least", delay, patience)
			}
		}
	}
}

// TestConsume_PushShutdownDelay: after SIGTERM its load balancer hears that it is not healthy, while clients go on hearing of events.
func TestConsume_PushShutdownDelay(t *testing.T) {
	t.Parallel()
	_, endpoint := localEngine(t)
	p := start(t, nil, "consume", "push", "--endpoint", endpoint, "--push-addr", "127.0.0.1:0", "--shutdown-delay", "1m")
	address := p.stderr.find(t, `http://(\S+)\n`)
	phone, _, err := websocket.Dial(t.Context(), "ws://"+address+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer phone.CloseNow()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if status, text := fetch(client, "http://"+address+"/healthz"); status != http.StatusOK {
		t.Errorf("before the signal: /healthz: got %d %s, want 200", status, text)
	}
	terminate(t, p)
	eventually(t, "health gone", func() bool {
		status, text := fetch(client, "http://"+address+"/healthz")
		return status == http.StatusServiceUnavailable && strings.Contains(text, "shutting down")
	})
	invoke(t, `{"device_id":"lamp-7","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`+"\n", "publish", "-", "--endpoint", endpoint).want(t, exitOK)
	if _, body, err := phone.Read(t.Context()); err != nil || !strings.Contains(string(body), "lamp-7") {
		t.Errorf("after the signal the client got %s, %v, want the event", body, err)
	}
	terminate(t, p)
	diedBySignal(t, p)
	invoke(t, "", "consume", "history", "--endpoint", endpoint, "--shutdown-delay", "1s").want(t, exitUsage)
}

// TestConsume_EndsAfterItsShutdownDelay, and then tells its clients that it goes.
func TestConsume_EndsAfterItsShutdownDelay(t *testing.T) {
	t.Parallel()
	_, endpoint := localEngine(t)
	p := background(t, nil, "consume", "push", "--endpoint", endpoint, "--push-addr", "127.0.0.1:0", "--shutdown-delay", "1ms")
	phone, _, err := websocket.Dial(t.Context(), "ws://"+p.stderr.find(t, `http://(\S+)\n`)+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer phone.CloseNow()
	p.interrupt()
	if _, _, err := phone.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("at the end: got %v, want a close frame that says the service stops", err)
	}
	p.wait(t).want(t, exitOK)
}
