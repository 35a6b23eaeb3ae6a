package cli

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

// lampMessage is a message about the lamp.
type lampMessage struct{ id, eventType, body string }

// awsCLI publishes as somebody would who knows nothing of this project.
func awsCLI(t *testing.T, endpoint string, messages ...lampMessage) {
	t.Helper()
	var entries []map[string]any
	for _, l := range messages {
		entries = append(entries, map[string]any{
			"Id": l.id, "Message": l.body, "MessageGroupId": "lamp", "MessageDeduplicationId": l.id,
			"MessageAttributes": map[string]any{"type": map[string]string{"DataType": "String", "StringValue": l.eventType}},
		})
	}
	text, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("aws", "--endpoint-url", endpoint, "--region", "eu-central-1", "sns", "publish-batch",
		"--topic-arn", "arn:aws:sns:eu-central-1:000000000000:dev-device-events.fifo", "--publish-batch-request-entries", string(text))
	cmd.Env = append(cmd.Environ(), "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("aws sns publish-batch: %v\n%s", err, out)
	}
	var result struct{ Successful []any }
	if err := json.Unmarshal(out, &result); err != nil || len(result.Successful) != len(messages) {
		t.Fatalf("aws sns publish-batch: got %s, %v, want %d published", out, err, len(messages))
	}
}

// cloudEvent is an event of the lamp as it is on the wire.
func cloudEvent(id, eventType, data string) string {
	return `{"specversion":"1.0","id":"` + id + `","source":"test","type":"` + eventType + `","subject":"lamp",` +
		`"time":"2026-01-31T12:00:00Z","datacontenttype":"application/json","sequence":"1","data":` + data + `}`
}

// shown is a dead letter as dlq show --json prints it.
type shown struct {
	EventID  string `json:"event_id"`
	DeviceID string `json:"device_id"`
	Body     string `json:"body"`
	Record   struct {
		Service  string `json:"service"`
		Class    string `json:"class"`
		Code     string `json:"code"`
		Error    string `json:"error"`
		Redrives int    `json:"redrives"`
		Attempts int    `json:"attempts"`
	} `json:"deadletter"`
}

// show reads a dead-letter queue with dlq show.
func show(t *testing.T, endpoint, service string, more ...string) []shown {
	t.Helper()
	done := invoke(t, "", append([]string{"dlq", "show", service, "--json", "--endpoint", endpoint}, more...)...).want(t, exitOK)
	var messages []shown
	for line := range strings.Lines(done.stdout) {
		var s shown
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("dlq show: got %q, want JSON: %v", line, err)
		}
		messages = append(messages, s)
	}
	return messages
}

func TestDeadLetters_OfTheAWSCLI(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the AWS CLI is slow to start; run without -short")
	}
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("no AWS CLI (command aws) to publish with")
	}
	folder := t.TempDir()
	up := background(t, nil, upArgs(folder, "--rate", "0.001")...)
	endpoint := up.stderr.find(t, `SNS and SQS   (\S+)`)
	up.stderr.find(t, `(dead letters)`)

	const power, humidity, tea = "device.power.changed.v1", "device.humidity.measured.v1", "device.tea.brewed.v1"
	stray := strings.Replace(cloudEvent("bad-2", tea, `{}`), `"lamp"`, `"kettle"`, 1) // another device's than its group
	awsCLI(t, endpoint,
		lampMessage{"bad-1", power, "this is no JSON"},
		lampMessage{"bad-2", tea, stray},
		lampMessage{"strange", tea, cloudEvent("strange", tea, `{}`)},
		lampMessage{"bad-3", humidity, cloudEvent("bad-3", humidity, `{"percent":140}`)},
		lampMessage{"good", power, cloudEvent("good", power, `{"on":true}`)})

	// Behind the bad ones of its device, the good one is handled.
	history := openDatabase(t, folder, "history")
	eventually(t, "the good event in history", func() bool {
		return len(rows(t, history, historyQuery+" LIMIT 10")) > 0 && has(rows(t, history, historyQuery), "good")
	})
	eventually(t, "the good event in state", func() bool {
		return has(rows(t, openDatabase(t, folder, "state"), `SELECT event_id, device_id, type, time, data FROM device_state`), "good")
	})

	// An event of a type that nobody here knows is kept as it is by those that hear all types.
	if !has(rows(t, history, historyQuery), "strange") {
		t.Error("history lacks the event of an unknown type")
	}

	noJSON := []string{"this is no JSON", "malformed_json", "invalid character"}
	mismatch := []string{stray, "group_mismatch", "kettle"}
	invalid := []string{cloudEvent("bad-3", humidity, `{"percent":140}`), "invalid_data", "data.percent: got 140, want a number from 0 to 100"}
	for service, want := range map[string][][]string{
		"history": {noJSON, mismatch, invalid},
		"state":   {noJSON, mismatch, invalid},
		"push":    {noJSON}, // it hears of power, and of no other of these types
	} {
		got := show(t, endpoint, service)
		if len(got) != len(want) {
			t.Fatalf("dead letters of %s: got %+v, want %d", service, got, len(want))
		}
		for i, l := range got { // in the order of the device
			if l.Body != want[i][0] || l.Record.Code != want[i][1] || !strings.Contains(l.Record.Error, want[i][2]) ||
				l.Record.Class != "known" || l.Record.Service != service || l.DeviceID != "lamp" || l.Record.Attempts != 0 {
				t.Errorf("dead letter of %s: got %+v, want class known and %q", service, l, want[i])
			}
		}
	}
	// Looking has changed nothing: they are there at every further look. One look takes a second, so there are few.
	if got := show(t, endpoint, "history", "--code", "invalid_data", "--text", "percent", "--limit", "1"); len(got) != 1 || got[0].EventID != "bad-3" {
		t.Errorf("selected dead letters of history: got %+v, want bad-3", got)
	}
	text := invoke(t, "", "dlq", "show", "history", "--code", "invalid_data", "--endpoint", endpoint).want(t, exitOK)
	contains(t, "dlq show", text.stdout, "event     bad-3\n", "device    lamp\n", "class     known, code invalid_data, fingerprint ",
		"\n          it can never succeed as it is: ",
		"data.percent: got 140", `"percent":140`)
	checkLs(t, endpoint)
	checkRedrive(t, endpoint)

	up.interrupt()
	var sum upSummary
	up.wait(t).want(t, exitOK).decode(t, &sum)
	if sum.DeadLettered["history"] != 3 || sum.DeadLettered["state"] != 3 || sum.DeadLettered["push"] != 1 || sum.Lost != 0 {
		t.Errorf("summary: got %+v, want 3, 3 and 1 dead letters and nothing lost", sum)
	}
}

func has(rows []entry, id string) bool {
	for _, row := range rows {
		if row.ID == id {
			return true
		}
	}
	return false
}

func TestSelection_TakesEveryFlag(t *testing.T) {
	t.Parallel()
	var got selection
	var cmd cobra.Command
	got.addTo(&cmd)
	if err := cmd.ParseFlags(strings.Fields("--device a --type b --code c --class known --fingerprint 0123abcd --text e --older-than 1h --newer-than 2h --limit 3")); err != nil {
		t.Fatal(err)
	}
	if err := got.check(); err != nil {
		t.Fatal(err)
	}
	want := deadletter.Filter{
		Device: "a", Type: "b", Code: "c", Class: deadletter.Known, Fingerprint: "0123abcd", Text: "e",
		OlderThan: time.Hour, NewerThan: 2 * time.Hour, Limit: 3,
	}
	if got.filter != want {
		t.Errorf("filter: got %+v, want %+v", got.filter, want)
	}
}

func checkLs(t *testing.T, endpoint string) {
	t.Helper()
	var groups []struct {
		Service, Fingerprint, Class, Code, Type, Example string
		Count, Devices                                   int
	}
	invoke(t, "", "dlq", "ls", "--json", "--endpoint", endpoint).want(t, exitOK).decode(t, &groups)
	codes := map[string]int{}
	prints := map[string]bool{}
	for _, g := range groups {
		codes[g.Code]++
		prints[g.Fingerprint] = true
		if g.Count != 1 || g.Devices != 1 || g.Class != "known" || g.Example == "" {
			t.Errorf("dlq ls: got %+v, want one known failure of one device", g)
		}
	}
	if len(groups) != 7 || len(prints) != 7 || codes["malformed_json"] != 3 || codes["group_mismatch"] != 2 || codes["invalid_data"] != 2 {
		t.Errorf("dlq ls: got codes %v and %d fingerprints, want 3 malformed_json, 2 group_mismatch, 2 invalid_data, all distinct", codes, len(prints))
	}
	contains(t, "dlq ls", invoke(t, "", "dlq", "ls", "state", "--endpoint", endpoint).want(t, exitOK).stdout,
		"dev-state-dlq.fifo  3 ", "FINGERPRINT", "malformed_json", "data.percent: got 140")
}

func checkRedrive(t *testing.T, endpoint string) {
	t.Helper()
	redrive := func(code int, more ...string) finished {
		t.Helper()
		return invoke(t, "", append([]string{"dlq", "redrive", "history", "--state", t.TempDir(), "--endpoint", endpoint}, more...)...).want(t, code)
	}
	const plan = "environment dev: would send 3 dead letters of 1 devices from dev-history-dlq.fifo back to dev-history.fifo"
	var result struct{ Matched, Moved, Failed, Held int }
	redrive(exitOK, "--dry-run", "--json").decode(t, &result)
	if result.Matched != 3 || result.Moved != 0 {
		t.Errorf("dry run: got %+v, want 3 matched and none moved", result)
	}
	done := redrive(exitUsage)
	contains(t, "without --yes", done.stdout, plan)
	contains(t, "without --yes", done.stderr, "nothing was moved", "hint: add --yes")
	redrive(exitOK, "--yes", "--json", "--code", "malformed_json").decode(t, &result)
	if result.Matched != 1 || result.Moved != 1 || result.Failed != 0 {
		t.Errorf("redrive of one: got %+v, want it moved", result)
	}
	contains(t, "redrive of the rest", redrive(exitOK, "--yes", "--text", "t").stdout, "moved ")
	// The cause is not mended, so they all come back, and their records go on counting.
	eventually(t, "all three back with a redrive counted", func() bool {
		back := show(t, endpoint, "history")
		for _, l := range back {
			if l.Record.Redrives == 0 || l.Record.Class != "known" {
				return false
			}
		}
		return len(back) == 3
	})
}
