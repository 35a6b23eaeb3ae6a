package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// recordedFolder holds recorded events of real devices, with a script that makes input lines of them. It lies beside the
// repository and is no part of it.
const recordedFolder = "../../../../shared/data"

// TestUp_RecordedData runs the data of real devices through everything and reads the databases back against it.
func TestUp_RecordedData(t *testing.T) {
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
		name, format, file        string
		lines, good, bad, history int
		big                       bool
	}{
		{"mavpad day as published", "mavpad", "mavpad-2005-01-29.raw.txt.gz", 5893, 5889, 4, 5889, false},
		{"casas", "casas", "casas-tm000-2016-07.tsv.gz", 21968, 21968, 0, 21968, false},
		{"lorawan", "lorawan", "helium-lorawan.ndjson.gz", 38416, 38416, 0, 30036, false},
		{"mavpad", "mavpad", "mavpad-2005-01.csv.gz", 219960, 219960, 0, 219960, true},
		{"open smart home", "opensmarthome", "opensmarthome-2017.csv.gz", 285954, 285954, 0, 285954, true},
	} {
		t.Run(set.name, func(t *testing.T) {
			if set.big && os.Getenv("FANOUT_TEST_DATA") != "all" {
				t.Skip("much data: run it with FANOUT_TEST_DATA=all")
			}
			if !set.big {
				t.Parallel() // the big ones one after another, they want much memory
			}
			file := filepath.Join(recordedFolder, set.file)
			if _, err := os.Stat(file); err != nil {
				t.Skipf("no %s", file)
			}
			convert := exec.Command(python, script, set.format, file)
			convert.Stderr = os.Stderr
			input, err := convert.Output()
			if err != nil {
				t.Fatal(err)
			}
			code := exitOK
			if set.bad > 0 {
				code = exitRejected
			}
			folder := t.TempDir()
			up := start(t, bytes.NewReader(input), upArgs(folder, "--input", "-", "--until-idle", "300ms")...)
			var got upSummary
			up.end(t).want(t, code).decode(t, &got)
			want := expect(string(input))
			if want.lines != set.lines || want.good != set.good || len(want.bad) != set.bad || len(want.events) != set.history {
				t.Errorf("input: got %d lines, %d good, %d bad, %d distinct events, want %d, %d, %d, %d: the test reads it wrongly",
					want.lines, want.good, len(want.bad), len(want.events), set.lines, set.good, set.bad, set.history)
			}
			want.checkSummary(t, got)
			want.checkHistory(t, folder)
			want.checkState(t, folder)
			requests := got.Requests["sqs.DeleteMessageBatch"] + got.Requests["sqs.DeleteMessage"]
			perEvent := float64(requests) / float64(got.Handled["history"]+got.Handled["state"]+got.Handled["push"])
			t.Logf("%.0f events/s, batches of %.1f, %.3f delete requests for each event and service, latency p50 %.0f ms, p99 %.0f ms, %d MiB of memory at peak",
				got.EventsPerSecond, got.BatchFill, perEvent, got.LatencyMS.P50, got.LatencyMS.P99, got.MemoryBytes>>20)
		})
	}
}
