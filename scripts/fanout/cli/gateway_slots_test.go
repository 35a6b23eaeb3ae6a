package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/device-fanout/fanout/infra/local/faults"
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
