package queueneeds

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/infra/topology"
)

func good() (queue, dlq map[string]string) {
	both := map[string]string{
		"FifoQueue": "true", "ContentBasedDeduplication": "false", "DeduplicationScope": "messageGroup", "DelaySeconds": "0",
		"MaximumMessageSize": "262144",
	}
	queue, dlq = maps.Clone(both), maps.Clone(both)
	maps.Copy(queue, map[string]string{
		"VisibilityTimeout": "30", "MessageRetentionPeriod": "345600", "RedrivePolicy": `{"deadLetterTargetArn":"arn:dlq","maxReceiveCount":10}`,
	})
	maps.Copy(dlq, map[string]string{"QueueArn": "arn:dlq", "MessageRetentionPeriod": "1209600"})
	return queue, dlq
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		dlq              bool
		attribute, value string // no value: the attribute is not there
		fatal            bool
		want             string // empty: nothing is wrong
	}{
		{attribute: "Unknown", value: "1"},
		{attribute: "FifoQueue", fatal: true, want: "is not FIFO"},
		{dlq: true, attribute: "FifoQueue", fatal: true, want: "is not FIFO"},
		{attribute: "ContentBasedDeduplication"},
		{attribute: "ContentBasedDeduplication", value: "true", want: "content-based deduplication"},
		{dlq: true, attribute: "ContentBasedDeduplication", value: "true", want: "content-based deduplication"},
		{attribute: "DeduplicationScope"},
		{attribute: "DeduplicationScope", value: "queue", want: "deduplication scope queue, want messageGroup"},
		{dlq: true, attribute: "DeduplicationScope", value: "queue", want: "deduplication scope queue, want messageGroup"},
		{attribute: "DelaySeconds", value: "5", want: "delays every message by 5 s"},
		{attribute: "VisibilityTimeout", value: "10"},
		{attribute: "VisibilityTimeout", value: "9", fatal: true, want: "9s, want at least the handler timeout, 10s"},
		{attribute: "VisibilityTimeout", fatal: true, want: "0s, want at least"},
		{dlq: true, attribute: "MaximumMessageSize", value: "262143", fatal: true, want: "up to 262143 bytes, want 262144"},
		{dlq: true, attribute: "MaximumMessageSize"},
		{attribute: "RedrivePolicy", want: "no redrive policy"},
		{attribute: "RedrivePolicy", value: `{"deadLetterTargetArn":"arn:dlq","maxReceiveCount":"5"}`},
		{attribute: "RedrivePolicy", value: `{"deadLetterTargetArn":"arn:dlq","maxReceiveCount":4}`, want: "maxReceiveCount of 4, want at least 5"},
		{attribute: "RedrivePolicy", value: `{"deadLetterTargetArn":"arn:other","maxReceiveCount":10}`, want: "dead-letter queue arn:other, want arn:dlq"},
		{dlq: true, attribute: "MessageRetentionPeriod", value: "345599", want: "want at least the 96h0m0s of the queue"},
		{dlq: true, attribute: "MessageRetentionPeriod", value: "345600"},
		{dlq: true, attribute: "MessageRetentionPeriod"},
	} {
		queue, dlq := good()
		changed := queue
		if row.dlq {
			changed = dlq
		}
		if changed[row.attribute] = row.value; row.value == "" {
			delete(changed, row.attribute)
		}
		got := Check(queue, dlq, Needs{HandlerTimeout: 10 * time.Second, MinVisibility: 2 * time.Second})
		var found bool
		for _, f := range got {
			found = found || row.want != "" && f.DLQ == row.dlq && f.Fatal == row.fatal && f.Attribute == row.attribute && strings.Contains(f.Text, row.want)
		}
		if found != (row.want != "") || row.want == "" && len(got) > 0 {
			t.Errorf("DLQ %t: %s is %q: got %+v, want %q", row.dlq, row.attribute, row.value, got, row.want)
		}
	}
}

func TestMinReceiveCount_IsThatOfTheTopology(t *testing.T) {
	t.Parallel()
	if MinReceiveCount != topology.MinReceiveCount {
		t.Errorf("got %d, want %d", MinReceiveCount, topology.MinReceiveCount)
	}
}
