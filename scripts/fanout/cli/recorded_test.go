package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// recordedFolder holds recorded events of real devices, with a script that makes input lines of them. It lies beside the
// repository and is no part of it.
const recordedFolder = "../../../../shared/data"

// skipMuch skips a test with much data unless such are asked for.
func skipMuch(t *testing.T) {
	t.Helper()
	if os.Getenv("FANOUT_TEST_DATA") != "all" {
		t.Skip("much data: run it with FANOUT_TEST_DATA=all")
	}
}

// recorded makes input lines of a file with recorded data: the first of them, or all if atMost is 0.
func recorded(t *testing.T, format, file string, atMost int) []string {
	t.Helper()
	if testing.Short() {
		t.Skip("recorded data are many; run without -short")
	}
	script, path := filepath.Join(recordedFolder, "to_events.py"), filepath.Join(recordedFolder, file)
	for _, needed := range []string{script, path} {
		if _, err := os.Stat(needed); err != nil {
			t.Skipf("no recorded data: there is no %s", needed)
		}
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3, which makes input lines of the recorded data")
	}
	convert := exec.Command(python, script, format, path)
	if atMost == 0 {
		convert.Stderr = os.Stderr
	}
	out, err := convert.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := convert.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for in := bufio.NewReader(out); atMost == 0 || len(lines) < atMost; {
		line, err := in.ReadString('\n')
		if line != "" {
			lines = append(lines, line)
		}
		if err != nil {
			if err := convert.Wait(); err != nil {
				t.Fatal(err)
			}
			return lines
		}
	}
	_ = convert.Process.Kill() // it has more, which nobody wants
	_ = convert.Wait()
	return lines
}

// sampledLines is how many lines of each file are used unless all are asked for.
const sampledLines = 3000

// TestUp_RecordedData runs the data of real devices through everything and reads the databases back against it: the first lines of
// every file, and all of them with FANOUT_TEST_DATA=all.
func TestUp_RecordedData(t *testing.T) {
	t.Parallel()
	for _, set := range []struct {
		name, format, file        string
		lines, good, bad, history int
	}{
		{"mavpad day as published", "mavpad", "mavpad-2005-01-29.raw.txt.gz", 5893, 5889, 4, 5889},
		{"casas", "casas", "casas-tm000-2016-07.tsv.gz", 21968, 21968, 0, 21968},
		{"lorawan", "lorawan", "helium-lorawan.ndjson.gz", 38416, 38416, 0, 30036},
		{"mavpad", "mavpad", "mavpad-2005-01.csv.gz", 219960, 219960, 0, 219960},
		{"open smart home", "opensmarthome", "opensmarthome-2017.csv.gz", 285954, 285954, 0, 285954},
	} {
		t.Run(set.name, func(t *testing.T) {
			t.Parallel()
			throughUp(t, recorded(t, set.format, set.file, sampledLines))
		})
		t.Run(set.name+", all of it", func(t *testing.T) { // one after another, since they want much memory
			skipMuch(t)
			want := throughUp(t, recorded(t, set.format, set.file, 0))
			if want.lines != set.lines || want.good != set.good || len(want.bad) != set.bad || len(want.events) != set.history {
				t.Errorf("input: got %d lines, %d good, %d bad, %d distinct events, want %d, %d, %d, %d: the test reads it wrongly",
					want.lines, want.good, len(want.bad), len(want.events), set.lines, set.good, set.bad, set.history)
			}
		})
	}
}

func throughUp(t *testing.T, lines []string) expectation {
	t.Helper()
	input := strings.Join(lines, "")
	want := expect(input)
	code := exitOK
	if len(want.bad) > 0 {
		code = exitRejected
	}
	folder := t.TempDir()
	up := start(t, strings.NewReader(input), upArgs(folder, "--input", "-", "--until-idle", "300ms")...)
	var got upSummary
	up.end(t).want(t, code).decode(t, &got)
	if want.good == 0 {
		t.Error("input: got no event")
	}
	want.checkSummary(t, got)
	want.checkHistory(t, folder)
	want.checkState(t, folder)
	requests := got.Requests["sqs.DeleteMessageBatch"] + got.Requests["sqs.DeleteMessage"]
	perEvent := float64(requests) / float64(got.Handled["history"]+got.Handled["state"]+got.Handled["push"])
	t.Logf("%.0f events/s, batches of %.1f, %.3f delete requests for each event and service, latency p50 %.0f ms, p99 %.0f ms, %d MiB of memory at peak",
		got.EventsPerSecond, got.BatchFill, perEvent, got.LatencyMS.P50, got.LatencyMS.P99, got.MemoryBytes>>20)
	return want
}

// A frame that several receivers have heard is one event, with other times and signal strengths each time. What comes of it when SQS has
// forgotten the first one is a duplicate as well, and is counted.
func TestUp_FramesHeardBySeveralReceivers(t *testing.T) {
	t.Parallel()
	first, again := map[string]string{}, map[string]string{}
	for _, line := range recorded(t, "lorawan", "helium-lorawan.ndjson.gz", sampledLines) {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if key := e.DeviceID + " " + e.ID; first[key] == "" {
			first[key] = line
		} else {
			again[key] = line
		}
	}
	if len(again) == 0 {
		t.Fatal("no frame was heard by several receivers")
	}
	differ := 0
	for key, line := range again {
		var a, b entry
		if err := errors.Join(json.Unmarshal([]byte(first[key]), &a), json.Unmarshal([]byte(line), &b)); err != nil {
			t.Fatal(err)
		}
		if a.Type != b.Type || !sameJSON(a.Data, b.Data) {
			differ++
		}
	}
	folder := t.TempDir()
	args := upArgs(folder, "--input", "-", "--until-idle", "300ms")
	invoke(t, strings.Join(slices.Collect(maps.Values(first)), ""), args...).want(t, exitOK)
	rows := count(t, folder)
	var got upSummary
	invoke(t, strings.Join(slices.Collect(maps.Values(again)), ""), args...).want(t, exitOK).decode(t, &got)
	if after := count(t, folder); rows != len(first) || after != rows {
		t.Errorf("event_history: got %d rows, and %d after the repeats, want %d", rows, after, len(first))
	}
	if want := 2 * differ; got.Reused != want || differ == 0 {
		t.Errorf("reused: got %d, want %d, those of history and state", got.Reused, want)
	}
	t.Logf("%d of %d frames were heard by several receivers, %d of them with another payload", len(again), len(first), differ)
}
