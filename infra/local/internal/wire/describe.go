package wire

import (
	"strings"

	"github.com/device-fanout/fanout/infra/local/faults"
)

// lastPart is the name in a queue URL or an ARN.
func lastPart(ref string) string { return ref[strings.LastIndexAny(ref, "/:")+1:] }

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (in *queueRef) describe() (string, []faults.Entry, bool) {
	return lastPart(in.QueueURL), nil, false
}

func (in *sendMessageInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.QueueURL), []faults.Entry{{Group: text(in.GroupID)}}, false
}

func (in *sendBatchInput) describe() (string, []faults.Entry, bool) {
	return describeBatch(in.QueueURL, in.Entries, func(e sendBatchEntry) faults.Entry { return faults.Entry{ID: e.ID, Group: text(e.GroupID)} })
}

func (in *deleteBatchInput) describe() (string, []faults.Entry, bool) {
	return describeBatch(in.QueueURL, in.Entries, func(e deleteBatchEntry) faults.Entry { return faults.Entry{ID: e.ID} })
}

func (in *changeBatchInput) describe() (string, []faults.Entry, bool) {
	return describeBatch(in.QueueURL, in.Entries, func(e changeBatchEntry) faults.Entry { return faults.Entry{ID: e.ID} })
}

func (in *publishInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.TopicARN), []faults.Entry{{Group: text(in.GroupID)}}, false
}

func (in *publishBatchInput) describe() (string, []faults.Entry, bool) {
	return describeBatch(in.TopicARN, in.Entries, func(e publishBatchEntry) faults.Entry { return faults.Entry{ID: e.ID, Group: text(e.GroupID)} })
}

func describeBatch[E any](ref string, batch []E, entry func(E) faults.Entry) (string, []faults.Entry, bool) {
	entries := make([]faults.Entry, len(batch))
	for i, e := range batch {
		entries[i] = entry(e)
	}
	return lastPart(ref), entries, true
}
