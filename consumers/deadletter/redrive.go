package deadletter

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Config sets what [Redrive], [Drop] and [Export] do. The zero value selects all messages, and works as fast as possible.
type Config struct {
	// Filter selects messages. Its limit counts messages that failed, too, but not those that name another queue.
	Filter Filter
	// Select narrows the selection further; nil does not. It is called for each message once or more, by several goroutines.
	Select func(*Message) bool
	// Rate is the most messages per second. Zero means no limit.
	Rate float64
	// Lanes is how many devices are handled at once. Zero means DefaultLanes.
	Lanes int
	// Journal makes a run that was killed resumable; nil keeps none. See [OpenJournal].
	Journal *Journal
	// Report is called for each message that was moved, and for each failure, one call at a time. Nil means no reports.
	Report func(Outcome)
}

func (c Config) withDefaults() Config {
	if c.Lanes <= 0 {
		c.Lanes = DefaultLanes
	}
	if c.Journal == nil {
		c.Journal = memoryJournal()
	}
	return c
}

// Outcome is what was done with one message.
type Outcome struct {
	Message *Message
	Err     error // nil when the message was sent or written and, unless it was only exported, deleted
}

// Summary counts what a run did.
type Summary struct {
	Seen     int `json:"seen"`     // messages read, each once
	Cleared  int `json:"cleared"`  // messages that a killed run had sent or copied, deleted now
	Matched  int `json:"matched"`  // messages that the filter selected
	Moved    int `json:"moved"`    // messages sent or written, and deleted
	Failed   int `json:"failed"`   // messages that could not be sent, written or deleted
	Held     int `json:"held"`     // messages left alone because an earlier one of their device failed
	Returned int `json:"returned"` // messages left alone because this very run sent their event back and it failed again
	Foreign  int `json:"foreign"`  // messages whose record names another queue: they stay, and count as failed in a run
	Broken   int `json:"broken"`   // devices whose messages are out of order; a run with the same journal puts them in order
}

// Redrive sends the messages that cfg selects back to from.Queue. It ends when the queue shows no more, when it has tried to send as many
// messages as the limit says, or when ctx ends; what it did not send is visible again afterwards.
//
// A message whose record names another queue fails and stays, without holding up those behind it: either it is not an event of this
// queue, or somebody has made up its record. An archive of it ([Export], [Drop]) can be sent to from.Queue.
//
// It reaches all messages, also those behind more than ten others of their device: it moves these to the end of the same dead-letter
// queue, as new messages in the same order. A new dead letter of the device may get in between.
//
// It may be interrupted, killed and run again. After a kill, what it held is hidden for up to a minute. Another run within five minutes,
// or at any time with the same journal, makes no second copy of what was confirmed and not deleted. Only one run at a time should work
// on a queue: on one machine the journal's lock ensures that. Two runs lose and double nothing, but if both move messages of one device
// to the end, these may get out of order.
//
// The error is of reading or of the journal, says that from.Queue names no queue to send to, or wraps that of ctx when it has ended. Failures
// of single messages are in their outcomes and counted in the summary.
func Redrive(ctx context.Context, api QueueAPI, from Source, cfg Config) (Summary, error) {
	if err := from.check(); err != nil {
		return Summary{}, err
	}
	cfg = cfg.withDefaults()
	queues := newDirectory(api)
	defer queues.close()
	act := &redrive{from: from, queues: queues, journal: cfg.Journal}
	s := newSweep(api, from, act, cfg)
	act.fail = s.fail
	return s.run(ctx)
}

// redrive is the action that sends messages back.
type redrive struct {
	from    Source
	queues  *directory
	journal *Journal
	fail    func(error) // ends the sweep
}

func (r *redrive) refuse(m *Message) error {
	if name := r.from.Foreign(m); name != "" {
		return fmt.Errorf("deadletter: event %s of device %s stays where it is: its record names queue %q, and %s is the dead-letter queue of %s",
			m.name(), m.DeviceID, name, r.from.Name(), r.from.Queue)
	}
	return nil
}

func (r *redrive) deletes() bool                    { return true }
func (r *redrive) settle(messages []*Message) error { return nil }

func (r *redrive) take(m *Message, deadline time.Time) error {
	to, err := r.queues.to(r.from.Queue)
	if err != nil {
		return err
	}
	attributes, _ := m.with(m.redriven())
	_, err = to.send(outgoing{group: m.group(), dedup: m.redriveID(), body: m.Body, attributes: attributes, deadline: deadline})
	if err != nil {
		return fmt.Errorf("deadletter: send event %s of device %s to %s: %w", m.name(), m.DeviceID, r.from.Queue, err)
	}
	if err := r.journal.put(journalLine{Sent: m.MessageID}); err != nil {
		r.fail(err) // nothing more is sent; this one was, and must be deleted before SQS forgets its deduplication ID
	}
	return nil
}

// redriveID is the deduplication ID of a message that is sent back. It follows from the message's first ID in the dead-letter queue: it is
// the same for every try, another one after each further failure, and never the event's own, which SQS may still remember. The hash
// tells messages apart if somebody has copied their records by hand.
func (m *Message) redriveID() string {
	sum := m.identity()
	return "redrive-" + m.origin() + "-" + hex.EncodeToString(sum[:8])
}

// redriven is the message's record with one more redrive.
func (m *Message) redriven() Record {
	r := m.Record
	r.Redrives++
	r.RedrivenAt = time.Now().UTC()
	r.Rotation = Rotation{}
	return r
}

// rotated is the record of a copy of the message at the end of the queue.
func (m *Message) rotated(a Rotation) Record {
	r := m.Record
	r.Rotation = a
	return r
}

// with is the message's attributes with a record, or as they are if there is no room for it. They are not to be changed.
func (m *Message) with(r Record) (attributes map[string]types.MessageAttributeValue, recorded bool) {
	attributes = map[string]types.MessageAttributeValue{}
	maps.Copy(attributes, m.attributes)
	attributes[Attribute] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(r.Encode())}
	if len(attributes) > maxAttributes || messageBytes(m.Body, attributes) > maxMessageBytes {
		return m.attributes, false
	}
	return attributes, true
}

// counts tells whether the message has room for the record that counts its redrives.
func (m *Message) counts() bool {
	_, recorded := m.with(m.redriven())
	return recorded
}
