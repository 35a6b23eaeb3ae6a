package parking

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/sqsapi"
	"github.com/device-fanout/fanout/events"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// QueueAPI is what a release needs of Amazon SQS; [*sqs.Client] has it.
type QueueAPI interface {
	sqsapi.Describer
	sqsapi.Receiver
	sqsapi.VisibilityChanger
	sqsapi.Sender
	DeleteMessage(ctx context.Context, in *sqs.DeleteMessageInput, optFns ...func(*sqs.Options)) (*sqs.DeleteMessageOutput, error)
}

// Queues are those of the service whose device is released.
type Queues = sqsapi.Queues

// ErrNotParked is the error of [Release] for a device that is not recorded.
var ErrNotParked = errors.New("the device is not parked")

// EndMark is the type, as in the message attribute, of the message that ends a release.
const EndMark = "fanout.release.end"

// Mark is the body of an end mark.
type Mark struct {
	Device  string `json:"device_id"`
	Release string `json:"release"`
}

const (
	// visibility is how long letters are hidden from others while a release works. It is well inside the five minutes in which
	// SQS recognizes a deduplication ID: a release that was killed between send and delete can then be run again before they are over.
	visibility = time.Minute
	// maxLooks is how many sweeps in all look for a last letter that others may hold.
	maxLooks = 3
	// sendTime is the longest that the requests for one letter may take.
	sendTime = 20 * time.Second
)

// Release brings a parked device's letters back, in order, and lets it go on; the package comment tells how. It returns once all
// letters and the end mark were sent, with the number of letters; the device is free when the service has handled them.
//
// It may be run again after an error or after it was killed, and goes on with what is left. The error says so when a letter can't
// be found, because somebody else reads the dead-letter queue at the moment. It wraps [ErrNotParked] when there is nothing to release.
func Release(ctx context.Context, store Store, api QueueAPI, queues Queues, device string) (sent int, err error) {
	d, err := begin(ctx, store, queues.Service, device)
	if err != nil {
		return 0, err
	}
	r := &release{store: store, api: api, queues: queues, device: d, held: map[string]string{}, returned: map[string]bool{}}
	if d.Cause.Class == string(deadletter.Moved) {
		// SQS left the failed one in the group in which it was delivered. If that is the one of an earlier release, SQS may show it after
		// those that followed it, which are in the device's own.
		_, err = r.sweep(ctx, Group(device))
		err = errors.Join(err, r.giveBack(ctx))
		r.order, r.held, r.hidden = nil, map[string]string{}, time.Time{}
	}
	if err == nil {
		err = r.work(ctx)
	}
	if err == nil {
		err = r.mark(ctx)
	}
	return r.sent, errors.Join(err, r.giveBack(ctx))
}

// begin makes the device's state Releasing and tells what is to be released.
func begin(ctx context.Context, store Store, service, device string) (d Device, err error) {
	id := uuid.NewString()
	err = change(ctx, store, service, device, func(next *Device) bool {
		parked := next.State == Parked
		if parked {
			// Of a device without a letter, the one for which it was parked may be on its way.
			next.State, next.Release, next.Until = Releasing, id, cmp.Or(next.Last, next.Cause.MessageID)
		}
		d = *next
		return parked
	})
	if err == nil && d.State == "" {
		err = fmt.Errorf("parking: device %s of %s: %w", device, service, ErrNotParked)
	}
	return d, err
}

type release struct {
	store  Store
	api    QueueAPI
	queues Queues
	device Device
	sent   int

	order    []string          // message IDs of all letters, as they were received
	held     map[string]string // receipt handles of those that were not sent
	returned map[string]bool   // of those, the ones that this release has sent and that have failed again, by message ID
	looks    int               // sweeps after which others held something
	hidden   time.Time         // when the first of them becomes visible by itself
}

// work sends the device's letters back until the last one was sent, or is certainly not there.
func (r *release) work(ctx context.Context) error {
	done, err := r.sweep(ctx, Group(r.device.ID), r.device.ID)
	if err != nil || done || r.device.Until == "" {
		return err
	}
	// The last letter is not there: it was sent by a run that died before it could record that, or was dropped, or somebody
	// else holds it at the moment.
	holds, err := deadletter.ReadDepth(ctx, r.api, r.queues.DLQURL)
	if err != nil {
		return err
	}
	// What is visible and was not shown stands behind what we hold of other devices. It may be of this one only if we hold ten of it:
	// so many are shown at once.
	depth := holds.InFlight
	if len(r.returned) >= awsx.MaxBatch {
		depth = holds.Total()
	}
	if depth > len(r.held) {
		if r.looks++; r.looks < maxLooks { // it may have come just now
			return r.work(ctx)
		}
		return fmt.Errorf("parking: device %s: its last letter can't be seen: of %d messages in %s others hold %d; run the release again in a minute",
			r.device.ID, depth, r.queues.DLQURL, depth-len(r.held))
	}
	if err := r.found(ctx, true); err != nil || r.device.Until == "" {
		return err
	}
	return r.work(ctx) // it has come meanwhile, or another one behind it
}

// sweep sends back what there is of the device in these groups, until a look at the whole queue shows no more of it, or done: until
// the last letter was sent.
func (r *release) sweep(ctx context.Context, groups ...string) (done bool, err error) {
	for again := 0; ; {
		received := time.Now()
		letters, err := r.receive(ctx)
		if err != nil {
			return false, err
		}
		if len(letters) == 0 {
			return false, nil
		}
		for _, m := range letters {
			id := aws.ToString(m.MessageId)
			if _, seen := r.held[id]; seen {
				again++
			} else {
				r.order = append(r.order, id)
			}
			r.held[id] = aws.ToString(m.ReceiptHandle)
		}
		until := r.device.Until
		for _, m := range letters {
			// What has the ID of this release was sent by it, and has failed again.
			if group := m.Attributes[string(types.MessageSystemAttributeNameMessageGroupId)]; !slices.Contains(groups, group) {
				continue
			}
			if recordOf(m).Release == r.device.Release {
				r.returned[aws.ToString(m.MessageId)] = true
				continue
			}
			if time.Since(received) > visibility-sendTime {
				return false, fmt.Errorf("parking: device %s: requests take too long; run the release again", r.device.ID)
			}
			if err := r.send(ctx, m); err != nil {
				return false, err
			}
			delete(r.held, aws.ToString(m.MessageId))
		}
		if until != "" && r.device.Until == "" { // all that counts was sent
			return true, nil
		}
		if again > len(r.order)+100 {
			return false, nil // the queue holds more than can be read before the first ones become visible again
		}
	}
}

// recordOf is the letter's record, or an empty one.
func recordOf(m types.Message) deadletter.Record {
	record, _ := deadletter.ParseRecord(aws.ToString(m.MessageAttributes[deadletter.Attribute].StringValue))
	return record
}

func (r *release) receive(ctx context.Context) ([]types.Message, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("parking: the release of device %s was interrupted; run it again: %w", r.device.ID, err)
	}
	// A receive that is cut off may have hidden messages already.
	one, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
	defer cancel()
	out, err := r.api.ReceiveMessage(one, &sqs.ReceiveMessageInput{
		QueueUrl:                    &r.queues.DLQURL,
		MaxNumberOfMessages:         awsx.MaxBatch,
		WaitTimeSeconds:             1, // a receive that does not wait asks a part of the servers only
		VisibilityTimeout:           int32(visibility / time.Second),
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		return nil, fmt.Errorf("parking: receive from %s: %w", r.queues.DLQURL, err)
	}
	if r.hidden.IsZero() {
		r.hidden = time.Now().Add(visibility)
	}
	return out.Messages, nil
}

// send moves one letter. Its requests do not end with ctx: one cut off may have been carried out.
func (r *release) send(ctx context.Context, m types.Message) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
	defer cancel()
	id := aws.ToString(m.MessageId)
	record := recordOf(m)
	was := record.MessageID
	record.Service = cmp.Or(record.Service, r.queues.Service) // one that SQS has moved has no record
	record.Class, record.Code = cmp.Or(record.Class, deadletter.Moved), cmp.Or(record.Code, deadletter.CodeReceiveCount)
	record.Redrives++
	record.RedrivenAt = time.Now().UTC()
	record.Release, record.Device = r.device.Release, r.device.ID
	attributes := map[string]types.MessageAttributeValue{}
	maps.Copy(attributes, m.MessageAttributes)
	attributes[deadletter.Attribute] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(record.Encode())}
	in := &sqs.SendMessageInput{
		QueueUrl:               &r.queues.URL,
		MessageBody:            m.Body,
		MessageGroupId:         aws.String(Group(r.device.ID)),
		MessageDeduplicationId: aws.String("release-" + id),
		MessageAttributes:      attributes,
	}
	_, err := r.api.SendMessage(ctx, in)
	if err != nil && deadletter.WithoutRecord(in, err) { // there is no room for it
		_, err = r.api.SendMessage(ctx, in)
	}
	if err != nil {
		return fmt.Errorf("parking: device %s: send letter %s back to %s: %w", r.device.ID, id, r.queues.URL, err)
	}
	_, err = r.api.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &r.queues.DLQURL, ReceiptHandle: m.ReceiptHandle})
	if err != nil {
		return fmt.Errorf("parking: device %s: letter %s is back in its queue, but was not deleted from %s; run the release again within five minutes: %w",
			r.device.ID, id, r.queues.DLQURL, err)
	}
	r.sent++
	if until := r.device.Until; until != "" && (until == was || until == id) { // SQS keeps the ID of what it moves
		return r.found(ctx, false)
	}
	return nil
}

// found records that the last letter is no longer in the dead-letter queue: it was sent, or is missing. When another one has come behind
// it meanwhile, that is the last one now; and a missing one may have come.
func (r *release) found(ctx context.Context, missing bool) error {
	until, last := r.device.Until, r.device.Last
	return change(ctx, r.store, r.device.Service, r.device.ID, func(d *Device) bool {
		r.device.Until = ""
		if d.Release != r.device.Release || d.Until == "" {
			return false
		}
		if d.Until != until || missing && d.Last != last {
			r.device.Until, r.device.Last = d.Until, d.Last
			return false
		}
		d.Until = ""
		return true
	})
}

// mark sends the end mark.
func (r *release) mark(ctx context.Context) error {
	body, err := json.Marshal(Mark{Device: r.device.ID, Release: r.device.Release})
	if err != nil {
		return err
	}
	_, err = r.api.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl:               &r.queues.URL,
		MessageBody:            aws.String(string(body)),
		MessageGroupId:         aws.String(Group(r.device.ID)),
		MessageDeduplicationId: aws.String("end-" + uuid.NewString()), // two marks do no harm, one that is not sent does
		MessageAttributes:      map[string]types.MessageAttributeValue{"type": {DataType: aws.String("String"), StringValue: aws.String(EndMark)}},
	})
	if err != nil {
		return fmt.Errorf("parking: device %s: all letters were sent back, but not the end mark; run the release again: %w", r.device.ID, err)
	}
	return nil
}

// giveBack makes the letters that were not sent visible again, the last of each device first.
func (r *release) giveBack(ctx context.Context) error {
	if !time.Now().Before(r.hidden) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
	defer cancel()
	for end := len(r.order); end > 0; {
		var entries []types.ChangeMessageVisibilityBatchRequestEntry
		for ; end > 0 && len(entries) < awsx.MaxBatch; end-- {
			if handle, ok := r.held[r.order[end-1]]; ok {
				entries = append(entries, types.ChangeMessageVisibilityBatchRequestEntry{Id: awsx.EntryID(len(entries)), ReceiptHandle: &handle})
			}
		}
		if len(entries) == 0 {
			return nil
		}
		// A single entry that fails has expired, or will within a minute.
		if _, err := r.api.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &r.queues.DLQURL, Entries: entries}); err != nil {
			return fmt.Errorf("parking: letters in %s were not made visible; they will be within %v: %w", r.queues.DLQURL, visibility, err)
		}
	}
	return nil
}

// Unparked selects the letters of devices that are not recorded, which may be redriven one by one: SQS itself may have moved them, or
// they are older than the service's group policy. What the store can't tell is not selected.
func Unparked(ctx context.Context, store Store, service string) func(*deadletter.Message) bool {
	return func(l *deadletter.Message) bool {
		recorded, err := store.Find(ctx, service, l.DeviceID)
		if err == nil && strings.HasPrefix(l.DeviceID, events.ReservedPrefix) { // SQS left it in the group of a release
			if recorded, err = store.Find(ctx, service); err == nil {
				recorded = slices.DeleteFunc(recorded, func(d Device) bool { return Group(d.ID) != l.DeviceID })
			}
		}
		return err == nil && len(recorded) == 0 && l.Record.Class != deadletter.Parked
	}
}

// ParseMark reads the body of an end mark.
func ParseMark(body string) (Mark, error) {
	var m Mark
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		return Mark{}, fmt.Errorf("parking: end mark %.80q: %w", body, err)
	}
	return m, nil
}
