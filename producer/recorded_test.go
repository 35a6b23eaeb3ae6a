package producer_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/producer"
)

// recordedFolder holds recorded events of real devices, with a script that makes input lines of them. It lies beside the
// repository and is no part of it.
const recordedFolder = "../../shared/data"

// TestSpool_RecordedData publishes what real devices said to a topic that throttles one request in twenty and loses one answer in a
// hundred, through a spool: all of it arrives, in order.
func TestSpool_RecordedData(t *testing.T) {
	t.Parallel()
	script := filepath.Join(recordedFolder, "to_events.py")
	if _, err := os.Stat(script); err != nil {
		t.Skipf("no recorded data in %s", recordedFolder)
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3, which makes input lines of the recorded data")
	}
	for _, set := range []struct {
		name, file string
		events     int
		big        bool
	}{
		{"casas", "casas-tm000-2016-07.tsv.gz", 21968, false},
		{"lorawan", "helium-lorawan.ndjson.gz", 38416, true},
		{"mavpad", "mavpad-2005-01.csv.gz", 219960, true},
		{"opensmarthome", "opensmarthome-2017.csv.gz", 285954, true},
	} {
		t.Run(set.name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("recorded data are many; run without -short")
			}
			if set.big && os.Getenv("FANOUT_TEST_DATA") != "all" {
				t.Skip("much data: run it with FANOUT_TEST_DATA=all")
			}
			file := filepath.Join(recordedFolder, set.file)
			if _, err := os.Stat(file); err != nil {
				t.Skipf("no %s", file)
			}
			convert := exec.Command(python, script, set.name, file)
			convert.Stderr = os.Stderr
			input, err := convert.Output()
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				for _, r := range []faults.Rule{
					{Kind: faults.Delay, Delay: 5 * time.Millisecond},
					{Kind: faults.Throttle, Probability: 0.05, Seed: 1},
					{Kind: faults.DropReply, Probability: 0.01, Seed: 2},
				} {
					r.Action = "PublishBatch"
					w.Engine.Faults().Add(r)
				}
				p := w.producer(t, w.SNS, producer.Config{Spool: t.TempDir(), SpoolSync: -1})
				want := map[string][]string{}
				seen := map[string]bool{} // a frame that was heard twice is one event
				var accepted atomic.Int64
				for line := range bytes.Lines(input) {
					e, err := events.ParseLine(line)
					if err != nil {
						continue // dirt, for the gateway to reject
					}
					if !seen[e.ID] {
						seen[e.ID] = true
						want[e.DeviceID] = append(want[e.DeviceID], e.ID)
					}
					if err := p.Enqueue(t.Context(), e, func(r producer.Result) {
						if r.Err != nil {
							t.Errorf("event %s: %v", r.Event.ID, r.Err)
						}
						accepted.Add(1)
					}); err != nil {
						t.Fatal(err)
					}
				}
				start := time.Now()
				if err := p.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if n := accepted.Load(); n != int64(set.events) {
					t.Errorf("%d events were accepted, want %d", n, set.events)
				}
				w.expect(t, want)
				t.Logf("%+v in %v of simulated time", p.Stats(), time.Since(start))
			})
		})
	}
}
