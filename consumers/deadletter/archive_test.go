package deadletter_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

// TestDrop_ThenResend sends everything back as it was, in order, with one redrive counted.
func TestDrop_ThenResend(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "letters.ndjson")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		byCode := b.buryMixed(200, 4, "a", "b")
		b.send(b.dlq, "d9", "odd", "no JSON \u2028 <&>\t\"", map[string]types.MessageAttributeValue{
			"blob": {DataType: aws.String("Binary"), BinaryValue: []byte{0, 255}}, deadletter.Attribute: text(record("b").Encode()),
		})
		archive, err := deadletter.CreateArchive(path)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := deadletter.Drop(t.Context(), b.api, b.from, archive, deadletter.Config{Filter: deadletter.Filter{Code: "b"}})
		if err != nil || archive.Close() != nil || sum.Moved != sum.Matched || sum.Failed != 0 {
			t.Fatalf("drop: got %+v, %v", sum, err)
		}
		if _, err := deadletter.CreateArchive(path); !errors.Is(err, os.ErrExist) {
			t.Errorf("an archive over another: got %v", err)
		}
		b.nothingHidden(int64(201 - sum.Moved))
		lines, err := os.ReadFile(path)
		if err != nil || bytes.Count(lines, []byte("\n")) != sum.Moved {
			t.Fatalf("the archive has %d lines, %v, want %d", bytes.Count(lines, []byte("\n")), err, sum.Moved)
		}
		if versions := bytes.Count(lines, []byte(`{"version":1,"service":`)); versions != sum.Moved {
			t.Errorf("%d lines say their version, want all %d", versions, sum.Moved)
		}
		for range 2 { // the second sends no second copy
			sent, failed, err := deadletter.Resend(t.Context(), b.api, bytes.NewReader(lines), deadletter.ResendConfig{})
			if err != nil || sent != sum.Moved || failed != 0 {
				t.Errorf("resend: got %d sent, %d failed, %v", sent, failed, err)
			}
		}
		want := byCode["b"]
		want["d9"] = []string{""}
		for _, m := range b.wantQueue(b.queue, want) {
			r, err := deadletter.ParseRecord(aws.ToString(m.MessageAttributes[deadletter.Attribute].StringValue))
			if err != nil || r.Redrives != 1 || r.Rotation != (deadletter.Rotation{}) {
				t.Errorf("got record %+v, %v, want one redrive counted", r, err)
			}
			if m.Attributes["MessageGroupId"] == "d9" && (aws.ToString(m.Body) != "no JSON \u2028 <&>\t\"" || !bytes.Equal(m.MessageAttributes["blob"].BinaryValue, []byte{0, 255})) {
				t.Errorf("got %q with %v", aws.ToString(m.Body), flat(m))
			}
		}
		b.wantQueue(b.dlq, byCode["a"])
	})
}

func TestDrop_DeletesNothingThatIsNotOnDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "letters.ndjson")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 30 {
			b.bury(fmt.Sprintf("d%d", i), fmt.Sprint(i), record("a"))
		}
		archive, err := deadletter.CreateArchive(path)
		if err != nil {
			t.Fatal(err)
		}
		archive.Close() // a disk that is gone
		sum, err := deadletter.Drop(t.Context(), b.api, b.from, archive, deadletter.Config{})
		if sum.Moved != 0 || sum.Failed == 0 {
			t.Errorf("got %+v, %v, want nothing dropped", sum, err)
		}
		b.nothingHidden(30)
	})
}

func TestExport_LeavesEverything(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for total := 90; total < 102; total++ {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			byCode := b.buryMixed(total, 2, "a", "b", "c")
			path := filepath.Join(folder, fmt.Sprint(total))
			archive, err := deadletter.CreateArchive(path)
			if err != nil {
				t.Fatal(err)
			}
			sum, err := deadletter.Export(t.Context(), b.api, b.from, archive, deadletter.Config{Filter: deadletter.Filter{Code: "b"}})
			if err != nil || archive.Close() != nil {
				t.Fatal(err)
			}
			lines, _ := os.ReadFile(path)
			n := len(byCode["b"]["d0"]) + len(byCode["b"]["d1"])
			if sum.Moved != n || bytes.Count(lines, []byte("\n")) != n {
				t.Errorf("got %+v and %d lines, want %d", sum, bytes.Count(lines, []byte("\n")), n)
			}
			b.nothingHidden(int64(total))
			b.wantQueue(b.dlq, others(byCode, ""))
		})
	}
}

func TestResend_StopsADeviceAtItsFirstBadLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		line := func(device, id, queue string) string {
			return fmt.Sprintf(`{"queue":%q,"device_id":%q,"event_id":%q,"message_group_id":%q,"message_deduplication_id":%q,"body":%q}`+"\n",
				queue, device, id, device, "redrive-"+id, body(device, id))
		}
		in := line("d1", "e1", queueName) + "nonsense\n" + line("d1", "e2", queueName) + line("d1", "e3", queueName) + line("d2", "e4", queueName) +
			line("d3", "e5", "prod-history.fifo") + `{"queue":"x"}` + "\n" +
			strings.Replace(line("d4", "e6", queueName), `"body":`, `"body":"","was":`, 1) + line("d4", "e7", queueName)
		api := &meddler{QueueAPI: b.api, send: func(in *sqs.SendMessageInput) error {
			if strings.Contains(aws.ToString(in.MessageBody), `"e2"`) {
				return errReset
			}
			return nil
		}}
		rejected := map[int]string{}
		start := time.Now()
		sent, failed, err := deadletter.Resend(t.Context(), api, strings.NewReader(in), deadletter.ResendConfig{
			Rate:   1,
			Reject: func(e *deadletter.LineError) { rejected[e.Line] = e.Error() },
			Allow: func(queue string) error {
				if queue != queueName {
					return fmt.Errorf("queue %s is of another environment", queue)
				}
				return nil
			},
		})
		if err != nil || sent != 2 || failed != 7 {
			t.Errorf("got %d sent, %d failed, %v", sent, failed, err)
		}
		for n, want := range map[int]string{2: `line 2: got "nonsense"`, 3: "line 3: send event e2", 4: "waits for line 3", 6: "another environment", 7: "want queue, message_group_id", 8: "want queue, message_group_id", 9: "waits for line 8"} {
			if !strings.Contains(rejected[n], want) {
				t.Errorf("line %d: got %q, want %q", n, rejected[n], want)
			}
		}
		if took := time.Since(start); took < 2*time.Second {
			t.Errorf("took %v at one a second", took)
		}
		got := ids(b.takeAll(b.queue))
		if !slices.Equal(got["d1"], []string{"e1"}) || !slices.Equal(got["d2"], []string{"e4"}) || len(got) != 2 {
			t.Errorf("the queue holds %v", got)
		}
	})
}

// TestResend_StopsAtAVersionItDoesNotKnow, since those behind it may be of the same device. A line without a version is version 1.
func TestResend_StopsAtAVersionItDoesNotKnow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		line := func(version, id string) string {
			return fmt.Sprintf(`{%s"queue":%q,"device_id":"d1","event_id":%q,"message_group_id":"d1","message_deduplication_id":%q,"body":%q}`+"\n",
				version, queueName, id, "redrive-"+id, body("d1", id))
		}
		known := line("", "e1") + line(`"version":1,`, "e2")
		for unknown, want := range map[string]string{
			line(`"version":2,`, "e3"):        "line 3: its format is version 2, and this program knows version 1 only",
			line(`"version":0,`, "e3"):        "line 3: its format is version 0",
			`{"version":2,"queue":[]}` + "\n": "line 3: its format is version 2", // not what the other members then are
		} {
			sent, failed, err := deadletter.Resend(t.Context(), b.api, strings.NewReader(known+unknown+line("", "e4")), deadletter.ResendConfig{})
			if sent != 2 || failed != 0 || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %d sent, %d failed, %v, want %q", unknown, sent, failed, err, want)
			}
		}
		b.wantQueue(b.queue, map[string][]string{"d1": {"e1", "e2"}})
	})
}

func TestRedriveNative_ShowsProgressAndRefusesASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 100 {
			b.bury(fmt.Sprintf("d%d", i%3), fmt.Sprintf("e%02d", i), record("a"))
		}
		var second error
		steps := 0
		done, err := deadletter.RedriveNative(t.Context(), b.api, b.from, b.queue, 20, func(deadletter.MoveTask) {
			if steps++; steps == 2 {
				_, second = deadletter.RedriveNative(t.Context(), b.api, b.from, b.queue, 0, nil)
			}
		})
		if err != nil || done.Moved != 100 || steps < 3 {
			t.Errorf("got %+v, %v after %d reports", done, err, steps)
		}
		if !errors.Is(second, deadletter.ErrMoving) {
			t.Errorf("a second one: got %v", second)
		}
		b.nothingHidden(0)
	})
}

// TestDrop_DeletesNothingThatMayNotBeOnDisk: neither after a sync has failed, though the next one succeeds, nor when the file has lost its
// name.
func TestDrop_DeletesNothingThatMayNotBeOnDisk(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, breaks := range map[string]func(a *deadletter.Archive, path string) error{
		"a sync fails once": func(a *deadletter.Archive, _ string) error { a.FailSync(); return nil },
		"deleted":           func(_ *deadletter.Archive, path string) error { return os.Remove(path) },
		"renamed":           func(_ *deadletter.Archive, path string) error { return os.Rename(path, path+".old") },
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			byCode := b.buryMixed(40, 4, "a")
			path := filepath.Join(folder, name)
			archive, err := deadletter.CreateArchive(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := breaks(archive, path); err != nil {
				t.Fatal(err)
			}
			sum, err := deadletter.Drop(t.Context(), b.api, b.from, archive, deadletter.Config{})
			if sum.Moved > 0 || sum.Failed == 0 && err == nil {
				t.Errorf("%s: got %+v, %v, want that nothing was dropped", name, sum, err)
			}
			_ = archive.Close()
			time.Sleep(time.Hour) // nothing is hidden any more
			b.wantQueue(b.dlq, others(byCode, ""))
		})
	}
}
