package before_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/gofrs/flock"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/producer"
)

const topicARN = "arn:aws:sns:eu-central-1:111122223333:dev-device-events.fifo"

// published is a message as a topic gets it.
type published struct {
	DeduplicationID string            `json:"message_deduplication_id"`
	Attributes      map[string]string `json:"message_attributes"`
	Body            string            `json:"body"`
}

// topic confirms everything and remembers it by device.
type topic map[string][]published

func (t topic) PublishBatch(_ context.Context, in *sns.PublishBatchInput, _ ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	out := &sns.PublishBatchOutput{}
	for _, e := range in.PublishBatchRequestEntries {
		m := published{aws.ToString(e.MessageDeduplicationId), map[string]string{}, aws.ToString(e.Message)}
		for name, value := range e.MessageAttributes {
			m.Attributes[name] = aws.ToString(value.StringValue)
		}
		t[aws.ToString(e.MessageGroupId)] = append(t[aws.ToString(e.MessageGroupId)], m)
		out.Successful = append(out.Successful, types.PublishBatchResultEntry{Id: e.Id, MessageId: aws.String("m")})
	}
	return out, nil
}

// TestSpool_SendsWhatWasNotConfirmed, in order and under its old IDs, before what is new, and nothing else. Of the spool's devices four wait
// with four events behind two that were confirmed, one waits with two behind some that were refused and set aside, and one does not wait.
func TestSpool_SendsWhatWasNotConfirmed(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"closed", "killed"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			all := unpack(t, "spools.zip", ".")
			dir := filepath.Join(all, end)
			text, err := os.ReadFile(filepath.Join(all, end+".json"))
			if err != nil {
				t.Fatal(err)
			}
			var want map[string][]published
			decodeJSON(t, text, &want)
			refused := filepath.Join(dir, "aside", "refused.ndjson")
			before, err := os.ReadFile(refused)
			if err != nil {
				t.Fatal(err)
			}

			got := topic{}
			p, err := producer.New(got, topicARN, producer.Config{Spool: dir, MaxBatches: 1})
			if err != nil {
				t.Fatal(err)
			}
			if s := p.Stats(); s.Accepted != 18 || s.SetAside != 0 || s.Failed != 0 {
				t.Errorf("got %+v, want 18 events that wait", s)
			}
			fresh := event(t, lines(t, "events.ndjson")[2])
			fresh.DeviceID, fresh.Sequence = "device-2", ""
			if err := p.Publish(t.Context(), fresh); err != nil {
				t.Error(err)
			}
			if err := p.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}

			last := got["device-2"][len(got["device-2"])-1]
			got["device-2"] = got["device-2"][:len(got["device-2"])-1]
			if !reflect.DeepEqual(map[string][]published(got), want) {
				t.Errorf("published %v, want %v", got, want)
			}
			old := event(t, []byte(want["device-2"][3].Body))
			if e := event(t, []byte(last.Body)); e.ID != fresh.ID || e.Sequence <= old.Sequence {
				t.Errorf("last of device-2: got %+v, want event %s with a sequence after %s", e, fresh.ID, old.Sequence)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "0*")); err != nil || len(left) > 0 {
				t.Errorf("segments are left: %v, %v", left, err)
			}
			if after, err := os.ReadFile(refused); err != nil || !bytes.Equal(after, before) {
				t.Errorf("what was set aside has changed: %v", err)
			}
		})
	}
}

// TestSpool_WhatWasSetAsideCanBePublished: the member event of each line is an event on the wire.
func TestSpool_WhatWasSetAsideCanBePublished(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(unpack(t, "spools.zip", "closed"), "aside", "refused.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	var sequences []string
	for line := range bytes.Lines(text) {
		var aside struct {
			Time  time.Time       `json:"time"`
			Error string          `json:"error"`
			Event json.RawMessage `json:"event"`
		}
		decodeJSON(t, line, &aside)
		e, err := events.ParseLine(aside.Event)
		if err != nil || e.DeviceID != "device-5" || aside.Error == "" || aside.Time.IsZero() {
			t.Errorf("got %+v, %v", aside, err)
		}
		sequences = append(sequences, e.Sequence)
	}
	if len(sequences) != 3 {
		t.Errorf("got %d lines, want 3", len(sequences))
	}
}

// TestSpool_IsLeftToAProcessOfBefore that still runs and has it open.
func TestSpool_IsLeftToAProcessOfBefore(t *testing.T) {
	t.Parallel()
	dir := unpack(t, "spools.zip", "killed")
	hold(t, filepath.Join(dir, "lock"))
	if _, err := producer.New(topic{}, topicARN, producer.Config{Spool: dir}); !errors.Is(err, producer.ErrSpoolLocked) {
		t.Errorf("got %v, want %v", err, producer.ErrSpoolLocked)
	}
}

// hold locks a file until the test ends, as the version before did it for its spool and its journals.
func hold(t *testing.T, path string) {
	t.Helper()
	lock := flock.New(path)
	if ok, err := lock.TryLock(); err != nil || !ok {
		t.Fatalf("lock %s: got %t, %v", path, ok, err)
	}
	t.Cleanup(func() {
		if err := lock.Unlock(); err != nil {
			t.Error(err)
		}
	})
}
