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

// Config sets what [Redrive], [Drop] and [Export] do. The zero value does it to all letters, as fast as possible.
type Config struct {
	// Filter selects letters. With a limit, those that failed count too.
	Filter Filter
	// Select narrows the selection further; nil does not. It is called for each letter once or more, by several goroutines.
	Select func(*Message) bool
	// Rate is the most letters per second. Zero means no limit.
	Rate float64
	// Lanes is how many devices are worked on at once. Zero means DefaultLanes.
	Lanes int
	// Journal makes a run that was killed resumable; nil keeps none. See [OpenJournal].
	Journal *Journal
	// Report is told of each letter that was selected, one after the other, and of what went wrong. Nil is told nothing.
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

// Outcome is what was done with one letter.
type Outcome struct {
	Letter *Message
	Err    error // nil when the event is where it should be and, unless it was only exported, gone from the dead-letter queue
}

// Summary counts what was done.
type Summary struct {
	Seen     int `json:"seen"`     // letters read, each once
	Cleared  int `json:"cleared"`  // messages besides that a killed run had left to be deleted
	Matched  int `json:"matched"`  // letters that the filter selected
	Moved    int `json:"moved"`    // letters sent or written, and deleted
	Failed   int `json:"failed"`   // letters that could not be sent, or should be gone and could not be deleted
	Held     int `json:"held"`     // letters left alone because an earlier one of their device failed
	Returned int `json:"returned"` // letters left alone because this very run had sent the same event back before
	Broken   int `json:"broken"`   // devices whose letters are not in order until a run with the same journal has put them so
}

// Redrive sends the letters that cfg selects back to the queue that their record names, or to from.Queue when it names none. It ends
// when the queue gives no more, when it has tried to move the limit of letters, or when ctx ends; what it did not move is visible
// again afterwards.
//
// It reaches everything, also what stands behind more than ten other letters of its device: it sets those aside, which makes them
// new messages at the end of the same dead-letter queue, in the same order. A letter that comes new to a device meanwhile may end
// up among them.
//
// It may be interrupted, killed and run again. After it was killed, what it held is hidden for up to a minute. A run again within five
// minutes, or at any time with the same journal, makes no second copy of what was confirmed and not deleted. One run at a time should
// work on a queue: the journal's lock sees to that on one machine. What one run holds no other sees, so that two lose and double
// nothing; but where both set letters of one device aside, these may end up out of order.
//
// The returned error is of reading, or ctx's when it has ended; failures of single letters are in their outcomes and in the
// summary.
func Redrive(ctx context.Context, api QueueAPI, from Source, cfg Config) (Summary, error) {
	cfg = cfg.withDefaults()
	queues := newDirectory(api)
	defer queues.close()
	act := &redrive{from: from, queues: queues, journal: cfg.Journal}
	s := newSweep(api, from, act, cfg)
	act.fail = s.fail
	return s.run(ctx)
}

// redrive is the action that sends letters back.
type redrive struct {
	from    Source
	queues  *directory
	journal *Journal
	fail    func(error) // ends the sweep
}

func (r *redrive) deletes() bool                   { return true }
func (r *redrive) settle(letters []*Message) error { return nil }

func (r *redrive) take(l *Message, deadline time.Time) error {
	name := r.from.home(l)
	if name == r.from.Name() || name == "" {
		return fmt.Errorf("deadletter: send event %s of device %s back: its record names %s, which is the dead-letter queue itself; "+
			"want the queue that it came from", l.name(), l.DeviceID, r.from.Name())
	}
	to, err := r.queues.to(name)
	if err != nil {
		return err
	}
	attributes, _ := l.with(l.redriven())
	_, err = to.send(outgoing{group: l.group(), dedup: l.redriveID(), body: l.Body, attributes: attributes, deadline: deadline})
	if err != nil {
		return fmt.Errorf("deadletter: send event %s of device %s to %s: %w", l.name(), l.DeviceID, name, err)
	}
	if err := r.journal.put(journalLine{Sent: l.MessageID}); err != nil {
		r.fail(err) // nothing more is sent; this one has gone, and must be deleted before SQS forgets that
	}
	return nil
}

// redriveID is the deduplication ID of a letter that is sent back. It follows from the first message ID that the letter had in the
// dead-letter queue: the same for every attempt, another after each further failure, and never the event's own, which SQS may
// still remember. The hash keeps letters apart whose records somebody has copied.
func (l *Message) redriveID() string {
	sum := l.identity()
	return "redrive-" + l.origin() + "-" + hex.EncodeToString(sum[:8])
}

// redriven is the letter's record with one more redrive.
func (l *Message) redriven() Record {
	r := l.Record
	r.Redrives++
	r.RedrivenAt = time.Now().UTC()
	r.Aside = Aside{}
	return r
}

// lapped is the letter's record as that of a copy which was set aside.
func (l *Message) lapped(a Aside) Record {
	r := l.Record
	r.Aside = a
	return r
}

// with is the letter's attributes with a record. A message that had none gets one if there is room.
func (l *Message) with(r Record) (attributes map[string]types.MessageAttributeValue, recorded bool) {
	attributes = maps.Clone(l.attributes)
	if attributes == nil {
		attributes = map[string]types.MessageAttributeValue{}
	}
	old, had := attributes[Attribute]
	attributes[Attribute] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(r.Encode())}
	if len(attributes) <= maxAttributes && messageBytes(l.Body, attributes) <= maxMessageBytes {
		return attributes, true
	}
	delete(attributes, Attribute)
	if had {
		attributes[Attribute] = old
	}
	return attributes, false
}

// counts tells whether a message has room for the record that counts its redrives.
func (l *Message) counts() bool {
	_, recorded := l.with(l.redriven())
	return recorded
}
