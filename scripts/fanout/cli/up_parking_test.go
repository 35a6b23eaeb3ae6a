package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
)

// picky is a service for tests: it refuses the events whose IDs begin with bad, until there is a file "mended" in its folder, and writes
// down what it has handled.
const picky = "picky"

func openPicky(_ context.Context, o Options) (*Service, error) {
	folder := filepath.Dir(strings.TrimPrefix(o.Database, "sqlite:"))
	handle := func(_ context.Context, e events.Event) error {
		if _, err := os.Stat(filepath.Join(folder, "mended")); err != nil && strings.HasPrefix(e.ID, "bad") {
			return consumers.Known("no_such_lamp", errors.New("no such lamp"))
		}
		f, err := os.OpenFile(filepath.Join(folder, "handled-"+e.DeviceID), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(f, e.ID, " ")
		return errors.Join(err, f.Close())
	}
	return &Service{Handle: handle, Close: func(context.Context) error { return nil }}, nil
}

// TestUp_ParksTheDevicesOfAServiceThatDoes, and what is released from another terminal goes on in order. What an earlier run has parked
// is forgotten, as its dead letters are.
func TestUp_ParksTheDevicesOfAServiceThatDoes(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	store, closeStore, err := openStore(t.Context(), picky, consumers.Park, serviceOptions{data: folder})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore()
	if err := parking.Park(t.Context(), store, picky, "fan", parking.Cause{MessageID: "of an earlier run"}); err != nil {
		t.Fatal(err)
	}
	declared := declaration.Topology()
	declared.Services = append(declared.Services, topology.Service{Name: picky, About: "refuses some", HandlerTimeout: time.Second, GroupPolicy: consumers.Park})
	d, err := declared.In(defaultEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	reader, writer := io.Pipe()
	defer writer.Close()
	out, progress := newOutput(), newOutput()
	g := &globals{app: testApp(), streams: streams{in: reader, out: out, err: progress}, env: defaultEnvironment}
	g.app.Services[picky] = openPicky
	o := upOptions{addr: "127.0.0.1:0", input: "-", format: "ndjson", untilIdle: 100 * time.Millisecond, asJSON: true}
	o.data, o.pushAddr = folder, "127.0.0.1:0"
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := runUp(ctx, g, d, o)
		reader.Close() // nobody will read what the test still writes
		done <- err
	}()
	defer cancel()

	publish := func(device, id string) {
		t.Helper()
		if _, err := fmt.Fprintf(writer, `{"id":%q,"device_id":%q,"type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`+"\n", id, device); err != nil {
			t.Fatal(err)
		}
	}
	handled := func(device string) string {
		text, _ := os.ReadFile(filepath.Join(folder, "handled-"+device))
		return strings.TrimSpace(string(text))
	}
	device := func() parking.Device {
		found, err := store.Find(t.Context(), picky, "lamp")
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			return parking.Device{}
		}
		return found[0]
	}
	for _, id := range []string{"bad-1", "e2", "e3"} {
		publish("lamp", id)
	}
	publish("fan", "x1")
	eventually(t, "the lamp parked with two behind", func() bool { return device().Followers == 2 })
	eventually(t, "the fan's event handled", func() bool { return handled("fan") == "x1" })
	if d := device(); d.State != parking.Parked || d.Cause.EventID != "bad-1" || handled("lamp") != "" {
		t.Errorf("got %+v and %q handled, want it parked for bad-1", d, handled("lamp"))
	}

	api, err := (&globals{app: testApp(), endpoint: progress.find(t, `SNS and SQS   (\S+)`)}).clients(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "mended"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := provision.FindQueues(t.Context(), api.sqs, d, picky)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parking.Release(t.Context(), store, api.sqs, parking.Queues{Service: picky, URL: found.URL, DLQURL: found.DLQURL}, "lamp"); err != nil {
		t.Fatal(err)
	}
	publish("lamp", "e4")
	eventually(t, "the lamp's events handled, and the lamp free", func() bool { return handled("lamp") == "bad-1 e2 e3 e4" && device().State == "" })
	writer.Close()
	if err := <-done; err != nil {
		t.Errorf("got %v; standard error:\n%s", err, progress)
	}
	contains(t, "summary", out.String(), `"`+picky+`":5`, `"order_violations":0`, `"lost":0`)
}

func TestWatch_LeavesServicesAloneThatPark(t *testing.T) {
	t.Parallel()
	declared := declaration.Topology()
	declared.Services = append(declared.Services, topology.Service{Name: picky, About: "refuses some", HandlerTimeout: time.Second, GroupPolicy: consumers.Park})
	d, err := declared.In(defaultEnvironment)
	if err != nil {
		t.Fatal(err)
	}
	says := newOutput()
	left := withoutParking(d, []deadletter.Source{{Service: "history"}, {Service: picky}, {Service: "push"}}, says)
	if len(left) != 2 || left[0].Service != "history" || left[1].Service != "push" {
		t.Errorf("got %+v, want history and push", left)
	}
	contains(t, "what it says", says.String(), "picky parks devices")
}
