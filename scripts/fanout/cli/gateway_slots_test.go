package cli

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/producer"
)

// TestGateway_TakesOverTheSlotOfADeadOne: two gateways share a folder, each with a slot of its own, while the topic is away. They are killed, and
// what both had accepted comes out through a third.
func TestGateway_TakesOverTheSlotOfADeadOne(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	engine.Faults().Add(faults.Rule{Kind: faults.Throttle, Action: "PublishBatch", Probability: 1})
	folder := filepath.Join(t.TempDir(), "spool")
	gatewayOf := func() (*program, string) {
		p := start(t, nil, "gateway", "--endpoint", endpoint, "--topic-arn", topicOfDev, "--addr", "127.0.0.1:0", "--no-keys", "--spool", folder, "--spool-slots", "2")
		return p, p.stderr.find(t, `gateway on (\S+)`)
	}
	a, addressA := gatewayOf()
	b, addressB := gatewayOf()
	third := start(t, nil, "gateway", "--endpoint", endpoint, "--topic-arn", topicOfDev, "--addr", "127.0.0.1:0", "--no-keys", "--spool", folder, "--spool-slots", "2")
	contains(t, "a third", third.end(t).want(t, exitFailed).stderr, "each of its 2 slots")

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	want := map[string][]string{}
	for i := range 30 {
		for device, address := range map[string]string{"lamp-a": addressA, "lamp-b": addressB} {
			id := fmt.Sprintf("%s-%02d", device, i)
			if !postOne(client, address, "", fmt.Sprintf(`{"device_id":%q,"id":%q,"type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`, device, id)) {
				t.Fatalf("%s was not accepted", id)
			}
			want[device] = append(want[device], id)
		}
	}
	for _, slot := range []string{"0", "1"} {
		if logs, _ := filepath.Glob(filepath.Join(folder, slot, "*.log")); len(logs) == 0 {
			t.Errorf("slot %s holds nothing: the two share one", slot)
		}
	}
	for _, p := range []*program{a, b} { // both die; one starts anew, takes the slot of one, and empties that of the other
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.end(t)
	}
	engine.Faults().Clear()
	survivor, _ := gatewayOf()
	got := map[string][]string{}
	eventually(t, "what both had accepted", func() bool {
		takeDelivered(t, engine, got)
		return len(got["lamp-a"]) >= 30 && len(got["lamp-b"]) >= 30
	})
	for device, ids := range want {
		if !slices.Equal(got[device], ids) {
			t.Errorf("%s: delivered %q, want %q", device, got[device], ids)
		}
	}
	// What the topic has is deleted a moment later. The survivor's own slot is the first; its log goes when it ends.
	eventually(t, "an empty second slot", func() bool {
		logs, _ := filepath.Glob(filepath.Join(folder, "1", "*.log"))
		return len(logs) == 0
	})
	terminate(t, survivor)
	survivor.end(t).want(t, exitOK)
	if logs, _ := filepath.Glob(filepath.Join(folder, "*", "*.log")); len(logs) > 0 {
		t.Errorf("%q are left", logs)
	}
	if _, err := os.Stat(filepath.Join(folder, "2")); err == nil {
		t.Error("there is a slot 2, want two only")
	}
	invoke(t, "", "gateway", "--addr", "127.0.0.1:0", "--no-keys", "--spool-slots", "2").want(t, exitUsage)
	invoke(t, "", "gateway", "--addr", "127.0.0.1:0", "--no-keys", "--spool", folder, "--spool-slots", "-1").want(t, exitUsage)
}

// TestGateway_LooksForTheDeadOnceAMinute: a living gateway publishes what another one leaves that dies beside it.
func TestGateway_LooksForTheDeadOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		engine := local.New(local.Options{})
		defer func() { _ = engine.Close() }()
		d, err := (&globals{app: testApp(), env: defaultEnvironment}).deployment()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := provision.Apply(t.Context(), engine.SNS(), engine.SQS(), d); err != nil {
			t.Fatal(err)
		}
		folder := t.TempDir()
		inSlot := func() *producer.Producer {
			p, err := gatewayOptions{spoolSlots: 2, topicARN: topicOfDev}.producer(engine.SNS(), producer.Config{Spool: folder})
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		dying, alive := inSlot(), inSlot()
		ctx, stop := context.WithCancel(t.Context())
		looking := make(chan struct{})
		go func() { defer close(looking); emptySlots(ctx, alive, slog.New(slog.DiscardHandler)) }()
		synctest.Wait()
		engine.Faults().Add(faults.Rule{Kind: faults.Throttle, Action: "PublishBatch", Probability: 1})
		e := events.New("lamp-7", device.PowerChanged{On: true})
		if err := dying.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := dying.Close(ended); err != nil {
			t.Fatal(err)
		}
		engine.Faults().Clear()
		delivered := func() map[string][]string {
			got := map[string][]string{}
			takeDelivered(t, engine, got)
			return got
		}
		if got := delivered(); len(got) > 0 {
			t.Errorf("before anybody has looked: got %v", got)
		}
		time.Sleep(time.Minute + time.Second)
		if got := delivered(); !slices.Equal(got["lamp-7"], []string{e.ID}) {
			t.Errorf("a minute later: got %v, want the event %s", got, e.ID)
		}
		stop()
		<-looking
		if err := alive.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
