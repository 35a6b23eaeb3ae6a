package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/infra/local"
)

func queueURL(t testing.TB, engine *local.Engine, name string) string {
	t.Helper()
	out, err := engine.SQS().GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.QueueUrl)
}

// bury puts events into the dead-letter queue of history as its consumer would, and remembers their deduplication IDs in its queue
// as if they had come from there a moment ago. code tells why the n-th failed.
func bury(t testing.TB, engine *local.Engine, first int, lines []string, code func(n int) string) {
	t.Helper()
	api, dlq, queue := engine.SQS(), queueURL(t, engine, "dev-history-dlq.fifo"), queueURL(t, engine, "dev-history.fifo")
	var entries []types.SendMessageBatchRequestEntry
	for n, line := range lines {
		var event struct {
			DeviceID string `json:"device_id"`
			Type     string `json:"type"`
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprintf("e%05d", first+n)
		record := deadletter.Record{
			Service: "history", Queue: "arn:aws:sqs:eu-central-1:000000000000:dev-history.fifo", Class: deadletter.Exhausted, Code: code(n),
			Error: "refused: " + code(n), Attempts: 4, ReceiveCount: 1, FailedAt: time.Now().UTC(),
		}
		record.Fingerprint = deadletter.FingerprintOf("history", "", record.Code, "")
		body := fmt.Sprintf(`{"specversion":"1.0","id":%q,"subject":%q,"type":%q,"x":%s}`, id, event.DeviceID, event.Type, line)
		entries = append(entries, types.SendMessageBatchRequestEntry{
			Id: aws.String(strconv.Itoa(n % 10)), MessageBody: &body, MessageGroupId: &event.DeviceID, MessageDeduplicationId: &id,
			MessageAttributes: map[string]types.MessageAttributeValue{
				"type":               {DataType: aws.String("String"), StringValue: &event.Type},
				deadletter.Attribute: {DataType: aws.String("String"), StringValue: aws.String(record.Encode())},
			},
		})
		if len(entries) == 10 || n == len(lines)-1 {
			for _, url := range []string{queue, dlq} {
				if out, err := api.SendMessageBatch(t.Context(), &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: entries}); err != nil || len(out.Failed) > 0 {
					t.Fatal(err, out)
				}
			}
			entries = nil
		}
	}
	drain(t, engine, "dev-history.fifo") // SQS goes on remembering for five minutes
}

// waitless makes receives that name no time return at once. The client leaves out a WaitTimeSeconds of 0, and the queue's own would
// make every empty receive take seconds.
func waitless(t testing.TB, engine *local.Engine, url string) {
	t.Helper()
	_, err := engine.SQS().SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{
		QueueUrl: &url, Attributes: map[string]string{"ReceiveMessageWaitTimeSeconds": "0"},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// drain empties a queue, and gives the bodies by message group, in order.
func drain(t testing.TB, engine *local.Engine, name string) map[string][]string {
	t.Helper()
	api, url, got := engine.SQS(), queueURL(t, engine, name), map[string][]string{}
	waitless(t, engine, url)
	for {
		out, err := api.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: &url, MaxNumberOfMessages: 10,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameMessageGroupId},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return got
		}
		var entries []types.DeleteMessageBatchRequestEntry
		for i, m := range out.Messages {
			group := m.Attributes["MessageGroupId"]
			got[group] = append(got[group], aws.ToString(m.Body))
			entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
		}
		if _, err := api.DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: entries}); err != nil {
			t.Fatal(err)
		}
	}
}

func total(byGroup map[string][]string) (n int) {
	for _, list := range byGroup {
		n += len(list)
	}
	return n
}

// inOrder checks that the bodies of every device are in the order in which they were buried.
func inOrder(t *testing.T, what string, byGroup map[string][]string) {
	t.Helper()
	for device, bodies := range byGroup {
		var list []string
		for _, body := range bodies {
			_, id, _ := strings.Cut(body, `"id":"`)
			list = append(list, id[:6])
		}
		if !slices.IsSorted(list) {
			t.Errorf("%s: device %s: got %v, want them in order", what, device, list)
		}
	}
}

func lamps(n, devices int) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf(`{"device_id":"lamp-%d","type":"device.power.changed.v1","data":{"on":true}}`, i%devices)
	}
	return lines
}

func TestDLQ_ExportDropAndPublishAgain(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	bury(t, engine, 0, lamps(90, 2), func(n int) string { return []string{"a", "b", "c"}[n/2%3] })
	state, folder := t.TempDir(), t.TempDir()
	dlq := func(code int, args ...string) finished {
		t.Helper()
		return invoke(t, "", append(append([]string{"dlq"}, args...), "--endpoint", endpoint, "--state", state)...).want(t, code)
	}
	file := filepath.Join(folder, "b.ndjson")
	contains(t, "plan", dlq(exitUsage, "drop", "history", "--code", "b", "--file", file).stdout,
		"would write at least ", "and delete them", "selected: code b", "stand behind the first ten of their device")
	if _, err := os.Stat(file); err == nil {
		t.Error("a plan wrote the file")
	}
	contains(t, "export", dlq(exitOK, "export", "history", "--code", "a", "--yes", "--file", filepath.Join(folder, "a.ndjson")).stdout, "exported 30 of 30")
	contains(t, "drop", dlq(exitOK, "drop", "history", "--code", "b", "--yes", "--file", file).stdout, "dropped 30 of 30")
	contains(t, "drop again", dlq(exitOK, "drop", "history", "--code", "b", "--yes", "--file", filepath.Join(folder, "c.ndjson")).stderr, "selected: code b")
	contains(t, "over a file", dlq(exitFailed, "drop", "history", "--code", "a", "--yes", "--file", file).stderr, "file exists", "hint: --file")
	done := invoke(t, "", "publish", file, "--redrive", "--endpoint", endpoint, "--env", "test").want(t, exitRejected)
	contains(t, "another environment", done.stderr, "line 1", `queue "dev-history.fifo" is not of environment test`)
	newer := filepath.Join(folder, "newer.ndjson")
	if err := os.WriteFile(newer, []byte(`{"version":2}`+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	contains(t, "a newer version", invoke(t, "", "publish", newer, "--redrive", "--endpoint", endpoint).want(t, exitFailed).stderr, newer, "line 1", "version 2")
	contains(t, "publish", invoke(t, "", "publish", file, "--redrive", "--endpoint", endpoint).want(t, exitOK).stdout, "sent 30 back")
	back := drain(t, engine, "dev-history.fifo")
	inOrder(t, "back", back)
	left := drain(t, engine, "dev-history-dlq.fifo")
	inOrder(t, "left", left)
	if total(back) != 30 || total(left) != 60 {
		t.Errorf("%d came back and %d are left, want 30 and 60", total(back), total(left))
	}
}

func TestDLQ_OfDeliveries(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	api, url := engine.SQS(), queueURL(t, engine, "dev-state-delivery-dlq.fifo")
	for i := range 3 {
		_, err := api.SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl: &url, MessageGroupId: aws.String("lamp"), MessageDeduplicationId: aws.String(fmt.Sprint(i)),
			MessageBody: aws.String(fmt.Sprintf(`{"id":"e0000%d","type":"device.power.changed.v1"}`, i)),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	state := []string{"--endpoint", endpoint, "--state", t.TempDir()}
	contains(t, "ls", invoke(t, "", "dlq", "ls", "--endpoint", endpoint).want(t, exitOK).stdout,
		"dev-state-delivery-dlq.fifo", "undelivered", "delivery_failed", "dev-history-dlq.fifo")
	contains(t, "redrive", invoke(t, "", append([]string{"dlq", "redrive", "state", "--delivery", "--yes"}, state...)...).want(t, exitOK).stdout,
		"moved 3 of 3 selected dead letters to dev-state.fifo")
	got := drain(t, engine, "dev-state.fifo")
	inOrder(t, "state", got)
	if total(got) != 3 {
		t.Errorf("%d came back, want 3", total(got))
	}
}

func TestDLQ_Native(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	api, state := engine.SQS(), []string{"--endpoint", endpoint, "--state", t.TempDir()}
	bury(t, engine, 0, lamps(50, 5), func(int) string { return "a" })
	contains(t, "native", invoke(t, "", append([]string{"dlq", "redrive", "history", "--native", "--yes"}, state...)...).want(t, exitOK).stdout,
		"SQS moved about 50 messages to dev-history.fifo")
	if n := total(drain(t, engine, "dev-history.fifo")); n != 50 {
		t.Errorf("%d came back, want 50", n)
	}
	bury(t, engine, 50, lamps(50, 5), func(int) string { return "a" })
	const arn = "arn:aws:sqs:eu-central-1:000000000000:dev-history"
	_, err := api.StartMessageMoveTask(t.Context(), &sqs.StartMessageMoveTaskInput{
		SourceArn: aws.String(arn + "-dlq.fifo"), DestinationArn: aws.String(arn + ".fifo"), MaxNumberOfMessagesPerSecond: aws.Int32(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "moved by SQS meanwhile", invoke(t, "", append([]string{"dlq", "redrive", "history", "--yes"}, state...)...).want(t, exitFailed).stderr,
		"a message move task is under way on dev-history-dlq.fifo", "nothing was moved here")
}

func TestDLQ_Watch(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	bury(t, engine, 0, lamps(20, 5), func(n int) string { return []string{"timeout", "invalid"}[n/5%2] })
	args := func(rules string) []string {
		return []string{"dlq", "watch", "history", "--once", "--endpoint", endpoint, "--state", t.TempDir(), "--rules", writeFile(t, "rules", rules)}
	}
	done := invoke(t, "", args("redrive code=timeout\nredrive code=x after=soon\n\n  levae\n")...).want(t, exitUsage)
	contains(t, "faults", done.stderr, `rules: line 2, column 22: after: got "soon"`, `rules: line 4, column 3: got "levae", want redrive or leave`, "nothing was moved")
	contains(t, "too early", invoke(t, "", args("redrive code=timeout\n")...).want(t, exitOK).stdout, "redriven 0, waiting 10, left for a person 10")
	eventually(t, "a second to pass", func() bool {
		return strings.Contains(invoke(t, "", args("redrive code=timeout after=1s\n")...).want(t, exitOK).stdout, "redriven 10, waiting 0, left for a person 10")
	})
	if n := total(drain(t, engine, "dev-history.fifo")); n != 10 {
		t.Errorf("%d came back, want 10", n)
	}
}

// TestDLQ_AnotherRedriveOnThisMachine is refused, and nothing is moved.
func TestDLQ_AnotherRedriveOnThisMachine(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	bury(t, engine, 0, lamps(5, 5), func(int) string { return "a" })
	folder := t.TempDir()
	args := []string{"dlq", "redrive", "history", "--yes", "--endpoint", endpoint, "--state", folder}
	g := &globals{app: testApp(), streams: streams{err: newOutput()}}
	journal, err := g.journal(folder, deadletter.Source{URL: endpoint + "/000000000000/dev-history-dlq.fifo"})
	if err != nil {
		t.Fatal(err)
	}
	contains(t, "meanwhile", invoke(t, "", args...).want(t, exitFailed).stderr, "another redrive of this queue is under way on this machine")
	if err := journal.Close(); err != nil {
		t.Fatal(err)
	}
	contains(t, "afterwards", invoke(t, "", args...).want(t, exitOK).stdout, "moved 5 of 5")
}

// TestDLQ_RedriveSaysWhatSomebodyElseHolds: what is held, and what is behind it, is left, and that is no secret.
func TestDLQ_RedriveSaysWhatSomebodyElseHolds(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	bury(t, engine, 0, lamps(20, 2), func(int) string { return "a" })
	url := queueURL(t, engine, "dev-history-dlq.fifo")
	held, err := engine.SQS().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 1, VisibilityTimeout: 300})
	if err != nil || len(held.Messages) != 1 {
		t.Fatal(held, err)
	}
	args := []string{"dlq", "redrive", "history", "--yes", "--endpoint", endpoint, "--state", t.TempDir()}
	contains(t, "output", invoke(t, "", args...).want(t, exitOK).stdout, "moved 10 of 10", "10 could not be received")
	if _, err := engine.SQS().ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: &url, ReceiptHandle: held.Messages[0].ReceiptHandle}); err != nil {
		t.Fatal(err)
	}
	if out := invoke(t, "", args...).want(t, exitOK).stdout; !strings.Contains(out, "moved 10 of 10") || strings.Contains(out, "could not be received") {
		t.Errorf("got %q, want the other ten moved, and nothing left", out)
	}
}

// TestDLQ_ManyOfThreeKinds: of 2,000 dead letters with three fingerprints 600 come back, in order, though SQS still remembers their
// deduplication IDs; killed in the midst, and run again. The others stay. With FANOUT_TEST_DATA=all there are 10,000.
func TestDLQ_ManyOfThreeKinds(t *testing.T) {
	t.Parallel()
	many := 2000
	if os.Getenv("FANOUT_TEST_DATA") == "all" {
		many = 10_000
	}
	lines := recorded(t, "mavpad", "mavpad-2005-01.csv.gz", many)
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprint("killed ", kill), func(t *testing.T) {
			t.Parallel()
			engine, endpoint := localEngine(t)
			bury(t, engine, 0, lines, func(n int) string {
				switch n * 7 % 10 {
				case 0, 3, 6:
					return "timeout"
				case 1, 2, 4, 5:
					return "panic"
				}
				return "invalid"
			})
			args := []string{"dlq", "redrive", "history", "--code", "timeout", "--yes", "--json", "--endpoint", endpoint, "--state", t.TempDir()}
			if kill {
				p := start(t, nil, args...)
				api, url, dlq := engine.SQS(), queueURL(t, engine, "dev-history.fifo"), queueURL(t, engine, "dev-history-dlq.fifo")
				var once sync.Once
				eventually(t, "some to be back", func() bool {
					d, err := deadletter.ReadDepth(t.Context(), api, url)
					if err == nil && d.Visible > many/20 {
						once.Do(func() { _ = p.Process.Kill() })
					}
					return d.Visible > many/20
				})
				p.end(t)
				// A minute later. What its last receives have hidden is visible again then, too.
				quiet := 0
				eventually(t, "nothing in flight", func() bool { // for a while: a receive that the dead process has left behind may take some
					if _, err := engine.ExpireVisibility("dev-history-dlq.fifo", ""); err != nil {
						t.Fatal(err)
					}
					quiet++
					if d, err := deadletter.ReadDepth(t.Context(), api, dlq); err != nil || d.InFlight > 0 {
						quiet = 0
					}
					return quiet == 20
				})
			}
			p := start(t, nil, args...)
			var got result
			p.end(t).want(t, exitOK).decode(t, &got)
			t.Logf("moved %d of %d in %.2f s: %.0f/s", got.Moved, got.Seen, got.Seconds, float64(got.Moved)/got.Seconds)
			back, left := drain(t, engine, "dev-history.fifo"), drain(t, engine, "dev-history-dlq.fifo")
			inOrder(t, "back", back)
			inOrder(t, "left", left)
			if total(back) != many*3/10 || total(left) != many*7/10 || got.Failed+got.Broken > 0 {
				t.Errorf("got %+v: %d came back and %d are left, want %d and %d", got, total(back), total(left), many*3/10, many*7/10)
			}
		})
	}
}

// buryOne puts a dead letter into the history service's dead-letter queue.
func buryOne(t *testing.T, engine *local.Engine, device, id, code string, rotation deadletter.Rotation) (messageID string) {
	t.Helper()
	url := queueURL(t, engine, "dev-history-dlq.fifo")
	r := deadletter.Record{
		Service: "history", Queue: "arn:aws:sqs:eu-central-1:000000000000:dev-history.fifo", Class: deadletter.Known, Code: code,
		FailedAt: time.Now().UTC(), Rotation: rotation,
	}
	out, err := engine.SQS().SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: &url, MessageGroupId: &device, MessageDeduplicationId: &id,
		MessageBody:       aws.String(fmt.Sprintf(`{"specversion":"1.0","id":%q,"subject":%q}`, id, device)),
		MessageAttributes: map[string]types.MessageAttributeValue{deadletter.Attribute: {DataType: aws.String("String"), StringValue: aws.String(r.Encode())}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return *out.MessageId
}

// cutOffRun leaves the journal of a run on the history service's dead-letter queue that was cut off.
func cutOffRun(t *testing.T, endpoint, lines string) (folder, journal string) {
	t.Helper()
	folder = t.TempDir()
	from := deadletter.Source{URL: endpoint + "/000000000000/dev-history-dlq.fifo"}
	j, err := openJournal(folder, from)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	journal = filepath.Join(folder, "dlq", from.Name()+"-"+deadletter.FingerprintOf(from.URL, "", "", "")+".journal")
	if err := os.WriteFile(journal, fmt.Appendf(nil, "{\"queue\":%q}\n%s", from.URL, lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return folder, journal
}

// TestDLQ_GoesOnWhereNothingIsSelected with a run that was cut off: its last selected dead letter may have gone before that.
func TestDLQ_GoesOnWhereNothingIsSelected(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	for _, id := range []string{"e00006", "e00007", "e00008"} {
		buryOne(t, engine, "lamp", id, "stay", deadletter.Rotation{})
	}
	for _, id := range []string{"e00001", "e00002", "e00003"} {
		buryOne(t, engine, "lamp", id, "stay", deadletter.Rotation{Origin: "first-" + id, ID: "killed"})
	}
	folder, journal := cutOffRun(t, endpoint, `{"device":"lamp","lap":"killed"}`+"\n")
	invoke(t, "", "dlq", "redrive", "history", "--code", "move", "--yes", "--endpoint", endpoint, "--state", folder).want(t, exitOK)
	if _, err := os.Stat(journal); err == nil {
		t.Error("the journal is still open")
	}
	inOrder(t, "left", drain(t, engine, "dev-history-dlq.fifo"))
}

// TestDLQ_NativeMovesNothingAfterARunThatWasCutOff: SQS knows nothing of what that has sent.
func TestDLQ_NativeMovesNothingAfterARunThatWasCutOff(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	id := buryOne(t, engine, "lamp", "e00001", "a", deadletter.Rotation{})
	folder, _ := cutOffRun(t, endpoint, fmt.Sprintf("{\"sent\":%q}\n", id)) // it is back in its queue, and not yet deleted
	args := []string{"dlq", "redrive", "history", "--yes", "--endpoint", endpoint, "--state", folder}
	done := invoke(t, "", append(args, "--native")...)
	done.want(t, exitFailed)
	contains(t, "hint", done.stderr, "once without --native")
	invoke(t, "", args...).want(t, exitOK)
	if n := total(drain(t, engine, "dev-history.fifo")) + total(drain(t, engine, "dev-history-dlq.fifo")); n != 0 {
		t.Errorf("%d dead letters were moved a second time, or are left", n)
	}
}

// TestDLQ_AnEmptyConditionIsNone: what a variable of a script should have selected must not become everything.
func TestDLQ_AnEmptyConditionIsNone(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	for i := range 3 {
		buryOne(t, engine, fmt.Sprint("lamp-", i), fmt.Sprint("e0000", i), "a", deadletter.Rotation{})
	}
	for _, flag := range []string{"--device", "--type", "--code", "--class", "--fingerprint", "--text"} {
		file := filepath.Join(t.TempDir(), "x")
		done := invoke(t, "", "dlq", "drop", "history", flag, "", "--yes", "--endpoint", endpoint, "--state", t.TempDir(), "--file", file)
		done.want(t, exitUsage)
		contains(t, flag, done.stderr, flag+": got nothing")
	}
	if n := total(drain(t, engine, "dev-history-dlq.fifo")); n != 3 {
		t.Errorf("%d are left of 3", n)
	}
	invoke(t, "", "dlq", "redrive", "history", "--native", "--rate", "0.9", "--yes", "--endpoint", endpoint, "--state", t.TempDir()).want(t, exitUsage)
}

// TestDLQ_DropNamesItsFile in JSON, and makes none while another run works on the queue, so that the same command can be given again.
func TestDLQ_DropNamesItsFile(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	buryOne(t, engine, "lamp", "e00001", "a", deadletter.Rotation{})
	folder, file := t.TempDir(), filepath.Join(t.TempDir(), "x")
	args := []string{"dlq", "drop", "history", "--yes", "--json", "--endpoint", endpoint, "--state", folder, "--file", file}
	j, err := openJournal(folder, deadletter.Source{URL: endpoint + "/000000000000/dev-history-dlq.fifo"})
	if err != nil {
		t.Fatal(err)
	}
	invoke(t, "", args...).want(t, exitFailed)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var got result
	invoke(t, "", args...).want(t, exitOK).decode(t, &got)
	if got.File != file || got.Moved != 1 {
		t.Errorf("got %+v, want one dead letter in %s", got, file)
	}
}
