package producer

import (
	"encoding/json"
	"fmt"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/producer/internal/spool"
)

// record is the event as the spool keeps it.
func (event *pending) record() spool.Record {
	return spool.Record{
		Sequence: event.sequence, Key: event.event.DeviceID, Body: event.body,
		Fields: [spool.Fields]string{event.key, event.eventType, event.event.Source, event.trace.Parent, event.trace.State},
	}
}

// eventID is the ID of the event in a record. The record has its deduplication ID, which older versions have made otherwise and which stays
// what it was: the event may have been sent with it.
func eventID(r spool.Record) string {
	id := events.Identity{Source: r.Fields[2], Subject: r.Key, ID: r.Fields[0]}
	if id.Key() != id.ID { // else the two are the same
		_ = json.Unmarshal(r.Body, &id) // it was encoded here
	}
	return id.ID
}

// fromRecord is an event out of the spool. It can be sent also when this program does not know its type.
func fromRecord(r spool.Record, ref spool.Ref) *pending {
	event := &pending{
		event: events.Event{ID: eventID(r), Source: r.Fields[2], DeviceID: r.Key, Sequence: fmt.Sprintf("%0*d", sequenceDigits, r.Sequence)},
		key:   r.Fields[0], eventType: r.Fields[1], trace: Trace{r.Fields[3], r.Fields[4]},
		body: r.Body, sequence: r.Sequence, ref: ref, spoolBytes: int64(r.Size()),
	}
	event.bytes = messageBytes(event)
	return event
}
