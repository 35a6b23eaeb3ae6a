package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/coder/websocket"
)

// upArgs are the arguments of up on free ports.
func upArgs(folder string, more ...string) []string {
	return append([]string{"up", "--addr", "127.0.0.1:0", "--push-addr", "127.0.0.1:0", "--data", folder, "--json"}, more...)
}

func TestUp_HandlesEveryEventOnceAndInOrder(t *testing.T) {
	t.Parallel()
	input := generate(3000)
	want := expect(input)
	folder := t.TempDir()
	done := invoke(t, "", upArgs(folder, "--input", writeFile(t, "input.ndjson", input), "--until-idle", "300ms")...).want(t, exitOK)
	var got upSummary
	done.decode(t, &got)
	want.checkSummary(t, got)
	want.checkHistory(t, folder)
	want.checkState(t, folder)
	for _, key := range []string{
		"in", "rejected", "published", "handled", "dead_lettered", "redelivered", "order_violations", "lost", "seconds",
		"events_per_second", "requests", "latency_ms",
	} {
		var keys map[string]json.RawMessage
		done.decode(t, &keys)
		if keys[key] == nil {
			t.Errorf("summary: got no key %s in %s", key, done.stdout)
		}
	}
	if got.BatchFill <= 1 || got.BatchFill > 10 {
		t.Errorf("batch fill: got %v, want batches of more than one event", got.BatchFill)
	}
}

// The client stands in for a phone: what push has sent is what the phone has seen.
func TestUp_PushSendsExactlyItsTypesInOrder(t *testing.T) {
	t.Parallel()
	input := generate(600)
	reader, writer := io.Pipe()
	t.Cleanup(func() { writer.Close() })
	up := background(t, reader, upArgs(t.TempDir(), "--input", "-", "--until-idle", "100ms")...)
	phone, _, err := websocket.Dial(t.Context(), "ws://"+up.stderr.find(t, `http://(\S+)\ndatabases`)+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer phone.CloseNow()
	phone.SetReadLimit(1 << 20)

	var expected, seen expectation
	var sent strings.Builder
	for i, line := range strings.SplitAfter(strings.TrimSuffix(input, "\n"), "\n") {
		var e entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if forPush(e.Type) {
			sent.WriteString(line)
		}
		if _, err := io.WriteString(writer, line); err != nil {
			t.Fatal(err)
		}
		if i%100 < 99 && i < 599 { // a phone is dropped when it is hundreds of events behind
			continue
		}
		for expected = expect(sent.String()); len(seen.events) < len(expected.events); {
			_, body, err := phone.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got struct {
				entry
				Subject string `json:"subject"`
			}
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatal(err)
			}
			got.DeviceID = got.Subject
			seen.events = append(seen.events, got.entry)
		}
	}
	writer.Close()
	if _, body, err := phone.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("after the last event: got %q, %v, want a close frame that says the service stops", body, err)
	}
	var sum upSummary
	up.wait(t).want(t, exitOK).decode(t, &sum)
	for _, fault := range expected.historyFaults(seen.events) {
		t.Error("phone: " + fault)
	}
	if got, want := sum.Handled["push"], len(expected.events); got != want {
		t.Errorf("push handled: got %d, want %d", got, want)
	}
}

func TestUp_OneRowForAnIDThatComesTwice(t *testing.T) {
	t.Parallel()
	line := func(id, device string, on bool) string {
		return fmt.Sprintf(`{"id":"%s","device_id":"%s","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":%t}}`+"\n", id, device, on)
	}
	input := line("a", "lamp", true) + line("b", "lamp", false) + line("a", "lamp", true) + line("a", "lamp", false) + line("c", "fan", true) +
		strings.Repeat(line("b", "lamp", false), 50) + line("d", "lamp", true)
	folder := t.TempDir()
	var got upSummary
	invoke(t, input, upArgs(folder, "--input", "-", "--until-idle", "100ms")...).want(t, exitOK).decode(t, &got)
	want := expect(input)
	if len(want.events) != 4 || got.In != 56 || got.Published != 56 {
		t.Errorf("in %d, published %d of %d events, want 56, 56 and 4", got.In, got.Published, len(want.events))
	}
	want.checkSummary(t, got)
	want.checkHistory(t, folder)
	want.checkState(t, folder)

	// Another up has another SQS, which remembers nothing; the databases do, and tell that one now says something else.
	invoke(t, line("b", "lamp", false)+line("e", "fan", false)+line("d", "lamp", false), upArgs(folder, "--input", "-", "--until-idle", "100ms")...).
		want(t, exitOK).decode(t, &got)
	if got.Reused != 2 {
		t.Errorf("reused: got %d, want it counted by history and state", got.Reused)
	}
	want = expect(input + line("e", "fan", false))
	want.checkHistory(t, folder)
	want.checkState(t, folder)
}

// Devices and gateways that number their events alike lose none: not at the topic, not in a service, and not in the summary.
func TestUp_SourcesAndDevicesMayNumberAlike(t *testing.T) {
	t.Parallel()
	var input strings.Builder
	for n := range 3 {
		for _, from := range []string{`"device_id":"one"`, `"device_id":"two"`, `"device_id":"three"`, `"device_id":"one","source":"/gateways/b"`} {
			fmt.Fprintf(&input, `{"id":"%d",%s,"type":"device.power.changed.v1","time":"2026-01-31T12:00:0%dZ","data":{"on":true}}`+"\n", n+1, from, n)
		}
	}
	folder := t.TempDir()
	var got upSummary
	invoke(t, input.String(), upArgs(folder, "--input", "-", "--until-idle", "100ms")...).want(t, exitOK).decode(t, &got)
	if got.Handled["history"] != 12 || got.Handled["state"] != 12 || got.Lost != 0 || got.Reused != 0 {
		t.Errorf("summary: got %+v, want 12 handled by history and state, and none lost", got)
	}
	if n := count(t, folder); n != 12 {
		t.Errorf("event_history: got %d rows, want 12", n)
	}
	want := expect(input.String())
	want.checkSummary(t, got)
	want.checkState(t, folder)
}

func TestUp_HouseholdRunsUntilInterruptedAndLosesNothing(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	up := background(t, nil, upArgs(folder, "--rate", "100")...)
	up.stderr.find(t, `(dead letters)`)
	eventually(t, "some rows", func() bool { return count(t, folder) > 40 })
	up.interrupt()
	var got upSummary
	up.wait(t).want(t, exitOK).decode(t, &got)
	if got.In == 0 || got.In != got.Published || got.Handled["history"] != got.In || got.Handled["state"] != got.In || got.Lost != 0 {
		t.Errorf("summary: got %+v, want all that went in published and handled", got)
	}
	if rows := count(t, folder); rows != got.In {
		t.Errorf("event_history: got %d rows, want %d", rows, got.In)
	}
}

// count is the number of rows in history.db, 0 while there is no table yet.
func count(t *testing.T, folder string) int {
	t.Helper()
	if _, err := os.Stat(folder + "/history.db"); err != nil {
		return 0
	}
	db := openDatabase(t, folder, "history")
	defer db.Close()
	n := 0
	if err := db.QueryRow(`SELECT count(*) FROM event_history`).Scan(&n); err != nil {
		return 0
	}
	return n
}

// Standard input that gives nothing must not keep a command from ending.
func TestUp_InterruptedWhileItWaitsForInput(t *testing.T) {
	t.Parallel()
	reader, writer := io.Pipe()
	t.Cleanup(func() { writer.Close() })
	folder := t.TempDir()
	up := background(t, reader, upArgs(folder, "--input", "-", "--until-idle", "1s")...)
	if _, err := io.WriteString(writer, generate(20)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "20 rows", func() bool { return count(t, folder) == 20 })
	up.interrupt()
	done := up.wait(t).want(t, exitFailed)
	contains(t, "standard error", done.stderr, "interrupted: of the input, 20 lines were taken")
	var got upSummary
	done.decode(t, &got)
	if got.In != 20 || got.Published != 20 || got.Handled["history"] != 20 || got.Lost != 0 {
		t.Errorf("summary: got %+v, want 20 in, published and handled", got)
	}
}

// Behind its back, somebody ends the subscription of history: up must notice that events do not arrive there.
func TestUp_SaysWhenEventsAreLost(t *testing.T) {
	t.Parallel()
	reader, writer := io.Pipe()
	t.Cleanup(func() { writer.Close() })
	folder := t.TempDir()
	up := background(t, reader, upArgs(folder, "--input", "-", "--until-idle", "100ms")...)
	g := &globals{app: testApp(), endpoint: up.stderr.find(t, `SNS and SQS   (\S+)`)}
	lines := strings.SplitAfter(generate(15), "\n")
	if _, err := io.WriteString(writer, strings.Join(lines[:10], "")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "10 rows", func() bool { return count(t, folder) == 10 })

	api, err := g.clients(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	subscriptions, err := api.sns.ListSubscriptions(t.Context(), &sns.ListSubscriptionsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range subscriptions.Subscriptions {
		if strings.HasSuffix(*s.Endpoint, ":dev-history.fifo") {
			if _, err := api.sns.Unsubscribe(t.Context(), &sns.UnsubscribeInput{SubscriptionArn: s.SubscriptionArn}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := io.WriteString(writer, strings.Join(lines[10:], "")); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	done := up.wait(t).want(t, exitLost)
	contains(t, "standard error", done.stderr, "fanout: 5 events were lost, 0 came out of order")
	var got struct {
		upSummary
		LostEvents []string `json:"lost_events"`
	}
	done.decode(t, &got)
	if got.Lost != 5 || len(got.LostEvents) != 5 || got.Handled["history"] != 10 || got.Handled["state"] != 15 {
		t.Errorf("summary: got %s, want 5 lost, with their IDs", done.stdout)
	}
}

func TestUp_KeepsToTheRate(t *testing.T) {
	t.Parallel()
	var got upSummary
	invoke(t, generate(50), upArgs(t.TempDir(), "--input", "-", "--until-idle", "50ms", "--rate", "200")...).want(t, exitOK).decode(t, &got)
	if got.Seconds < 49.0/200 { // the first goes out at once; slower is not wrong on a busy machine
		t.Errorf("seconds: got %v for 50 events, want at least %v", got.Seconds, 49.0/200)
	}
}

func TestUp_SummaryForPeople(t *testing.T) {
	t.Parallel()
	args := upArgs(t.TempDir(), "--input", "-", "--until-idle", "50ms")
	done := invoke(t, generate(30)+"rubbish\n", append(args, "--json=false")...).want(t, exitRejected)
	contains(t, "standard output", done.stdout, "in 31, rejected 1, published 30", "SERVICE  HANDLED  DEAD-LETTERED", "history  30       0",
		"lost 0, order violations 0", "databases in ")
	contains(t, "standard error", done.stderr, "SNS and SQS   http://127.0.0.1:", "live events   http://127.0.0.1:", "databases     ",
		"dead letters  fanout dlq ls --endpoint http://127.0.0.1:", "rejected line 31: malformed JSON")
}
