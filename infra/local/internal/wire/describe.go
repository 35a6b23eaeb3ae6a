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

func (in *receiveInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.QueueURL), nil, false
}

func (in *getAttributesInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.QueueURL), nil, false
}

func (in *setAttributesInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.QueueURL), nil, false
}

func (in *deleteInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.QueueURL), nil, false
}

func (in *changeVisibilityInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.QueueURL), nil, false
}

func (in *sendMessageInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.QueueURL), []faults.Entry{{Group: text(in.GroupID)}}, false
}

func (in *sendBatchInput) describe() (string, []faults.Entry, bool) {
	entries := make([]faults.Entry, len(in.Entries))
	for i, e := range in.Entries {
		entries[i] = faults.Entry{ID: e.ID, Group: text(e.GroupID)}
	}
	return lastPart(in.QueueURL), entries, true
}

func (in *deleteBatchInput) describe() (string, []faults.Entry, bool) {
	entries := make([]faults.Entry, len(in.Entries))
	for i, e := range in.Entries {
		entries[i] = faults.Entry{ID: e.ID}
	}
	return lastPart(in.QueueURL), entries, true
}

func (in *changeBatchInput) describe() (string, []faults.Entry, bool) {
	entries := make([]faults.Entry, len(in.Entries))
	for i, e := range in.Entries {
		entries[i] = faults.Entry{ID: e.ID}
	}
	return lastPart(in.QueueURL), entries, true
}

func (in *publishInput) describe() (string, []faults.Entry, bool) {
	return lastPart(in.TopicARN), []faults.Entry{{Group: text(in.GroupID)}}, false
}

func (in *publishBatchInput) describe() (string, []faults.Entry, bool) {
	entries := make([]faults.Entry, len(in.Entries))
	for i, e := range in.Entries {
		entries[i] = faults.Entry{ID: e.ID, Group: text(e.GroupID)}
	}
	return lastPart(in.TopicARN), entries, true
}
