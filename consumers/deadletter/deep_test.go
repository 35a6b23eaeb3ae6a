package deadletter_test

import (
	"context"
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

// buryMixed buries n messages over some devices; the codes take turns unevenly. It returns what of each code is where.
func (b *bench) buryMixed(n, devices int, codes ...string) map[string]map[string][]string {
	byCode := map[string]map[string][]string{}
	for i := range n {
		device, id, code := fmt.Sprintf("d%d", i%devices), fmt.Sprintf("e%04d", i), codes[(i/devices+i*i/7)%len(codes)]
		b.bury(device, id, record(code))
		if byCode[code] == nil {
			byCode[code] = map[string][]string{}
		}
		byCode[code][device] = append(byCode[code][device], id)
	}
	return byCode
}

// others are the events of all codes but one, in order.
func others(byCode map[string]map[string][]string, but string) map[string][]string {
	list := map[string][]string{}
	for code, devices := range byCode {
		if code != but {
			for device, ids := range devices {
				list[device] = append(list[device], ids...)
			}
		}
	}
	for _, ids := range list {
		slices.Sort(ids) // they were numbered in the order of their burial
	}
	return list
}

// TestRedrive_ReachesWhatStandsBehindOthers: SQS shows ten messages of a device, and the selected ones are behind many more.
func TestRedrive_ReachesWhatStandsBehindOthers(t *testing.T) {
	t.Parallel()
	for name, devices := range map[string]int{"one device": 1, "some": 7, "many": 60} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				byCode := b.buryMixed(400, devices, "a", "b", "c")
				sum, failures := b.redrive(b.api, deadletter.Filter{Code: "b"})
				want := 0
				for _, ids := range byCode["b"] {
					want += len(ids)
				}
				wantSummary(t, sum, deadletter.Summary{Seen: 400, Matched: want, Moved: want})
				if len(failures) > 0 {
					t.Error(failures)
				}
				b.nothingHidden(int64(400 - want))
				b.wantQueue(b.queue, byCode["b"])
				b.wantQueue(b.dlq, others(byCode, "b"))
			})
		})
	}
}

// TestRedrive_RotationKeepsMessages byte for byte but for the mark in their records, and with their redrive's deduplication ID.
func TestRedrive_RotationKeepsMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		full := map[string]types.MessageAttributeValue{}
		for i := range 10 {
			full[fmt.Sprintf("a%d", i)] = types.MessageAttributeValue{DataType: aws.String("Binary"), BinaryValue: []byte{byte(i), 0xff}}
		}
		want := map[string][]string{}
		for i := range 45 { // some have no room for a record
			id := fmt.Sprintf("e%02d", i)
			if want["d1"] = append(want["d1"], id); i%3 == 0 {
				b.send(b.dlq, "d1", id, body("d1", id), full)
			} else {
				b.bury("d1", id, record("stay"))
			}
		}
		b.bury("d1", "last", record("move"))
		for range 2 {
			sum, _ := b.redrive(b.api, deadletter.Filter{Code: "move"})
			if sum.Broken != 0 {
				t.Errorf("got %+v", sum)
			}
		}
		b.wantQueue(b.queue, map[string][]string{"d1": {"last"}})
		for i, m := range b.wantQueue(b.dlq, want) {
			if i%3 == 0 {
				if len(m.MessageAttributes) != 10 || string(m.MessageAttributes["a7"].BinaryValue) != "\x07\xff" {
					t.Errorf("message %d: got attributes %v", i, flat(m))
				}
				continue
			}
			r, err := deadletter.ParseRecord(aws.ToString(m.MessageAttributes[deadletter.Attribute].StringValue))
			if err != nil || r.Rotation.Origin == "" || r.Redrives != 0 || r.Code != "stay" || len(m.MessageAttributes) != 3 {
				t.Errorf("message %d: got record %+v, %v", i, r, err)
			}
		}
	})
}

// TestRedrive_InterruptedPutsTheOrderBack: after an interrupt or the last message of the limit, a rotation that was begun is completed.
func TestRedrive_InterruptedPutsTheOrderBack(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 5} {
		t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				byCode := b.buryMixed(300, 3, "a", "b", "c")
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				n := 0
				sum, err := deadletter.Redrive(ctx, b.api, b.from, deadletter.Config{
					Filter: deadletter.Filter{Code: "b", Limit: limit},
					Report: func(deadletter.Outcome) {
						if n++; n == 5 && limit == 0 {
							cancel()
						}
					},
				})
				if limit > 0 && (err != nil || sum.Moved != limit) {
					t.Errorf("got %+v, %v, want %d moved", sum, err, limit)
				}
				if sum.Moved >= 50 || sum.Broken > 0 {
					t.Errorf("got %+v", sum)
				}
				b.nothingHidden(int64(300 - sum.Moved))
				// The first of each device went; the rest is in order.
				went := ids(b.takeAll(b.queue))
				for device, list := range went {
					if !slices.Equal(list, byCode["b"][device][:len(list)]) {
						t.Errorf("device %s: moved %v, want the first of %v", device, list, byCode["b"][device])
					}
				}
				left := others(byCode, "")
				for device, list := range left {
					left[device] = slices.DeleteFunc(list, func(id string) bool { return slices.Contains(went[device], id) })
				}
				b.wantQueue(b.dlq, left)
			})
		})
	}
}

// TestJournal_ResumesAnyKill: killed at any request, even in the middle of a rotation, and run again long after SQS has forgotten
// its deduplication IDs, also with another filter: nothing is lost, nothing is sent twice, and the order is kept.
func TestJournal_ResumesAnyKill(t *testing.T) {
	t.Parallel()
	for killAt := 1; killAt < 90; killAt += 4 {
		t.Run(fmt.Sprint("request ", killAt), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "journal")
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t)
				byCode := b.buryMixed(90, 2, "a", "b", "c")
				requests := 0
				step := func() error { // the reply of the last request before the kill is lost
					if requests++; requests > killAt {
						return errReset
					}
					return nil
				}
				api := &meddler{
					QueueAPI: b.api,
					receive:  func(*sqs.ReceiveMessageInput) error { return step() },
					send:     func(*sqs.SendMessageInput) error { return step() },
					delete:   step,
					show:     func(*sqs.ChangeMessageVisibilityBatchInput) error { return step() },
				}
				b.run(path, api, "b")
				for _, code := range []string{"c", "b", "b"} {
					time.Sleep(10 * time.Minute)
					b.run(path, b.api, code)
				}
				b.nothingHidden(int64(len(byCode["a"]["d0"]) + len(byCode["a"]["d1"])))
				got := ids(b.takeAll(b.queue))
				for device, list := range got {
					for _, code := range []string{"b", "c"} {
						var some []string
						for _, id := range list {
							if slices.Contains(byCode[code][device], id) {
								some = append(some, id)
							}
						}
						if !slices.Equal(some, byCode[code][device]) {
							t.Errorf("device %s: of code %s came back %v, want %v", device, code, some, byCode[code][device])
						}
					}
				}
				b.wantQueue(b.dlq, byCode["a"])
			})
		})
	}
}

// TestJournal_EndsARotationInTheMiddleOfABatch: one receive completes the rotation of a killed sweep. What it has just moved to the end is
// behind that, and is handled all the same.
func TestJournal_EndsARotationInTheMiddleOfABatch(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		// The killed sweep had moved e1 and e2 to the end, and not yet e3 and e4.
		b.bury("d1", "e3", record("stay"))
		b.bury("d1", "e4", record("move"))
		for _, id := range []string{"e1", "e2"} {
			r := record("stay")
			r.Rotation = deadletter.Rotation{Origin: "first-" + id, ID: "killed"}
			b.bury("d1", id, r)
		}
		writeFile(t, path, fmt.Sprintf("{\"queue\":%q}\n{\"device\":\"d1\",\"lap\":\"killed\"}\n", b.dlq))
		j, err := deadletter.OpenJournal(path, b.dlq)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := deadletter.Redrive(t.Context(), b.api, b.from, deadletter.Config{Filter: deadletter.Filter{Code: "move"}, Journal: j})
		if err != nil {
			t.Error(err)
		}
		wantSummary(t, sum, deadletter.Summary{Seen: 4, Matched: 1, Moved: 1})
		if messages, devices := j.Open(); messages+devices > 0 {
			t.Errorf("%d messages and %d rotations are open", messages, devices)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		b.wantQueue(b.queue, map[string][]string{"d1": {"e4"}})
		b.wantQueue(b.dlq, map[string][]string{"d1": {"e1", "e2", "e3"}})
	})
}

// TestJournal_SaysWhatASecondCopyHides: a copy that does not count can't be deleted, and hides what is behind it.
func TestJournal_SaysWhatASecondCopyHides(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		r := record("move")
		r.Rotation = deadletter.Rotation{Origin: "first-e1", ID: "killed", Try: "failed"}
		b.bury("d1", "e1", r)
		writeFile(t, path, fmt.Sprintf("{\"queue\":%q}\n{\"try\":\"failed\"}\n", b.dlq))
		j, err := deadletter.OpenJournal(path, b.dlq)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		api := &meddler{QueueAPI: b.api, delete: func() error { return errReset }}
		var failures []string
		sum, err := deadletter.Redrive(t.Context(), api, b.from, deadletter.Config{Journal: j, Report: func(o deadletter.Outcome) {
			failures = append(failures, fmt.Sprint(o.Err))
		}})
		if err != nil {
			t.Error(err)
		}
		wantSummary(t, sum, deadletter.Summary{Failed: 1})
		if len(failures) != 1 || !strings.Contains(failures[0], "a second copy of event e1 of device d1") {
			t.Errorf("got %q", failures)
		}
		b.nothingHidden(1)
		sum, err = deadletter.Redrive(t.Context(), b.api, b.from, deadletter.Config{Journal: j})
		if err != nil {
			t.Error(err)
		}
		wantSummary(t, sum, deadletter.Summary{Cleared: 1})
		b.nothingHidden(0)
	})
}

// run redrives with the journal of a file, as one process.
func (b *bench) run(path string, api deadletter.QueueAPI, code string) {
	b.t.Helper()
	j, err := deadletter.OpenJournal(path, b.dlq)
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = deadletter.Redrive(b.t.Context(), api, b.from, deadletter.Config{Filter: deadletter.Filter{Code: code}, Journal: j, Lanes: 3})
	if api == b.api && err != nil {
		b.t.Errorf("redrive: %v", err)
	}
	if err := j.Close(); err != nil {
		b.t.Error(err)
	}
}

func TestJournal_RefusesWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sub", "journal")
	j, err := deadletter.OpenJournal(path, "http://x/one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := deadletter.OpenJournal(path, "http://x/one"); err == nil || !strings.Contains(err.Error(), "another redrive of this queue is under way") {
		t.Errorf("opened twice: got %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`{"queue":"http://x/two"}` + "\n":                     "is of queue http://x/two, want one of http://x/one",
		`{"queue":"http://x/one"}` + "\nnonsense\n":           `line 2: got "nonsense`,
		`{"version":2,"queue":"http://x/one"}` + "\n":         path + ": line 1: its format is version 2, and this program knows version 1 only",
		`{"version":2,"queue":{"url":"http://x/one"}}` + "\n": "line 1: its format is version 2", // not what the other members then are
		`{"version":0,"queue":"http://x/one"}` + "\n":         "line 1: its format is version 0",
		`{"version":1,"queue":"http://x/one"}` + "\n":         "",
		`{"version":1,"queue":"http://x/o`:                    `line 1: got "{\"version\":1`, // it is put in place whole: somebody else has cut it
		strings.Repeat("\x00", 100):                           "line 1: got",
		`{"queue":"http://x/one"}` + "\n" + `{"sent":"a`:      "", // was being written when the process died
	} {
		writeFile(t, path, text)
		j, err := deadletter.OpenJournal(path, "http://x/one")
		switch {
		case err == nil:
			if err := j.Close(); err != nil || want != "" {
				t.Errorf("%q: got no error, %v, want %q", text, err, want)
			}
		case want == "" || !strings.Contains(err.Error(), want):
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// TestJournal_SaysItsVersion in its first line, also when it goes on with one that was written before there was a number.
func TestJournal_SaysItsVersion(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	old := `{"queue":"http://x/one"}` + "\n" + `{"sent":"a"}` + "\n"
	writeFile(t, path, old)
	j := openJournal(t, path, "http://x/one")
	if got, err := os.ReadFile(path); err != nil || string(got) != strings.Replace(old, "{", `{"version":1,`, 1) {
		t.Errorf("got %q, %v", got, err)
	}
	if messages, devices := j.Open(); messages != 1 || devices != 0 {
		t.Errorf("%d messages and %d devices are open, want one message", messages, devices)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}

// TestRedrive_OfAStandardQueue has no groups, and so nothing that hides anything.
func TestRedrive_OfAStandardQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		create := func(name string) string {
			out, err := b.api.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
			if err != nil {
				t.Fatal(err)
			}
			return aws.ToString(out.QueueUrl)
		}
		b.queue = create("dev-plain")
		b.from = deadletter.Source{Service: "plain", URL: create("dev-plain-dlq"), Queue: "dev-plain"}
		for i := range 60 {
			event := body("d1", fmt.Sprint(i))
			r := record([]string{"a", "b"}[i%2])
			r.Queue = arnPrefix + "dev-plain"
			_, err := b.api.SendMessage(t.Context(), &sqs.SendMessageInput{
				QueueUrl: &b.from.URL, MessageBody: &event,
				MessageAttributes: map[string]types.MessageAttributeValue{deadletter.Attribute: text(r.Encode())},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		sum, failures := b.redrive(b.api, deadletter.Filter{Code: "b", Device: "d1"})
		wantSummary(t, sum, deadletter.Summary{Seen: 60, Matched: 30, Moved: 30})
		if back := b.takeAll(b.queue); len(back) != 30 || len(failures) > 0 {
			t.Errorf("%d came back, %v, want 30", len(back), failures)
		}
		if left := b.takeAll(b.from.URL); len(left) != 30 {
			t.Errorf("%d are left, want 30", len(left))
		}
	})
}
