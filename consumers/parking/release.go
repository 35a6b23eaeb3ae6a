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
	"github.com/device-fanout/fanout/consumers/internal/batch"
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
	sqsapi.Deleter
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
	// visibility is how long a release hides messages from others. It is well below the five minutes for which SQS recognizes a
	// deduplication ID, so that a release that was killed between send and delete can be run again in time.
	visibility = time.Minute
	// maxLooks is the most sweeps for a last message that others may hold.
	maxLooks = 3
	// sendTime is the longest that the requests for one message may take, with their retries.
	sendTime = 20 * time.Second
	// requestTime bounds every request.
	requestTime = 10 * time.Second
	// receiveWait makes a receive a long poll. A short poll asks only some of the servers, and may miss messages.
	receiveWait = time.Second
	// tries is how often a request is made before it counts as failed.
	tries = 4
)

// pause is how long to wait between tries.
var pause = awsx.Backoff{First: 200 * time.Millisecond, Most: 5 * time.Second}

// retry makes a request up to tries times, as long as once says that its error may pass by itself. The SDK's own retries don't know the
// throttling of KMS, so they are switched off ([batch.Once]). When ctx has ended it is not tried again.
func retry(ctx context.Context, once func(ctx context.Context) (again bool, err error)) error {
	for try := 1; ; try++ {
		again, err := bounded(ctx, once)
		if err == nil || !again || try == tries {
			return err
		}
		select {
		case <-time.After(pause.After(try)):
		case <-ctx.Done():
			return err
		}
	}
}

func bounded(ctx context.Context, once func(ctx context.Context) (bool, error)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	return once(ctx)
}

// Release sends a parked device's dead letters back to its service's queue, in order; the package comment tells how. It returns how many once
// all of them and the end mark were sent. The device is free when the service has handled them.
//
// After an error or a kill it can be run again, and goes on with what is left. If the last dead letter can't be seen because another reader
// of the dead-letter queue holds it, the error says so. The error wraps [ErrNotParked] if there is nothing to release.
func Release(ctx context.Context, store Store, api QueueAPI, queues Queues, device string) (sent int, err error) {
	d, err := begin(ctx, store, queues.Service, device)
	if err != nil {
		return 0, err
	}
	r := &release{store: store, api: api, queues: queues, device: d, held: map[string]string{}, returned: map[string]bool{}}
	if d.Cause.Class == string(deadletter.Moved) {
		// SQS has left the failed message in the group in which it was delivered. If that is the group of an earlier release, SQS may show
		// it after its followers, which are in the device's own group.
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

// begin changes the device's state to Releasing and returns what is to be released.
func begin(ctx context.Context, store Store, service, device string) (d Device, err error) {
	id := uuid.NewString()
	err = change(ctx, store, service, device, func(next *Device) bool {
		parked := next.State == Parked
		if parked {
			// If nothing is confirmed yet, the message that failed may be on its way.
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

	order    []string          // message IDs of everything that was received, in that order
	held     map[string]string // by message ID: the receipt handle of what was not sent
	returned map[string]bool   // by message ID: of what is held, what this release had sent and has failed again
	looks    int               // sweeps after which others held messages
	hidden   time.Time         // when the first message becomes visible by itself
}

// work sends the device's dead letters back until the last one was sent, or is certainly not in the queue.
func (r *release) work(ctx context.Context) error {
	done, err := r.sweep(ctx, Group(r.device.ID), r.device.ID)
	if err != nil || done || r.device.Until == "" {
		return err
	}
	// The last one was not seen: a run that died before it could record that has sent it, or it was dropped, or another reader holds it.
	holds, err := deadletter.ReadDepth(ctx, r.api, r.queues.DLQURL)
	if err != nil {
		return err
	}
	// Visible messages that were not shown are behind those of other devices that we hold. They can be of this device only if we hold ten
	// of it, since that many are shown at once.
	depth := holds.InFlight
	if len(r.returned) >= awsx.MaxBatch {
		depth = holds.Total()
	}
	if depth > len(r.held) {
		if r.looks++; r.looks < maxLooks { // it may have come just now
			return r.work(ctx)
		}
		return fmt.Errorf("parking: device %s: its last dead letter can't be seen, since other readers hold %d of %d messages in %s; run the release again in a minute",
			r.device.ID, depth-len(r.held), depth, r.queues.DLQURL)
	}
	if err := r.found(ctx, true); err != nil || r.device.Until == "" {
		return err
	}
	return r.work(ctx) // it arrived meanwhile, or another one behind it
}

// sweep sends back the device's messages in these groups until the queue shows no more of them. It returns early, and done is true, once
// the last one was sent.
func (r *release) sweep(ctx context.Context, groups ...string) (done bool, err error) {
	for again := 0; ; {
		messages, received, err := r.receive(ctx)
		if err != nil {
			return false, err
		}
		if len(messages) == 0 {
			return false, nil
		}
		for _, m := range messages {
			id := aws.ToString(m.MessageId)
			if _, seen := r.held[id]; seen {
				again++
			} else {
				r.order = append(r.order, id)
			}
			r.held[id] = aws.ToString(m.ReceiptHandle)
		}
		until := r.device.Until
		for _, m := range messages {
			if group := m.Attributes[string(types.MessageSystemAttributeNameMessageGroupId)]; !slices.Contains(groups, group) {
				continue
			}
			if recordOf(m).Release == r.device.Release { // this release had sent it, and it has failed again
				r.returned[aws.ToString(m.MessageId)] = true
				continue
			}
			if time.Since(received) > visibility-sendTime {
				return false, fmt.Errorf("parking: device %s: receiving from %s took so long that the message may be visible to others; run the release again", r.device.ID, r.queues.DLQURL)
			}
			if err := r.send(ctx, m); err != nil {
				return false, err
			}
			delete(r.held, aws.ToString(m.MessageId))
		}
		if until != "" && r.device.Until == "" { // the last one was sent
			return true, nil
		}
		if again > len(r.order)+100 {
			return false, nil // the queue is too long to be read before the first messages become visible again
		}
	}
}

// recordOf is the message's record, or an empty one.
func recordOf(m types.Message) deadletter.Record {
	record, _ := deadletter.ParseRecord(aws.ToString(m.MessageAttributes[deadletter.Attribute].StringValue))
	return record
}

// receive makes one receive and returns when the try began that got the messages: they are hidden since then, or a little longer. Only
// the pauses between tries end with ctx, because a canceled receive may have hidden messages. If no answer came, the same attempt ID asks
// again for the messages of the lost reply; after an answer that ID is no longer valid.
func (r *release) receive(ctx context.Context) (messages []types.Message, began time.Time, err error) {
	if err := ctx.Err(); err != nil {
		return nil, began, fmt.Errorf("parking: the release of device %s was interrupted; run it again: %w", r.device.ID, err)
	}
	attempt := uuid.NewString()
	err = retry(ctx, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), receiveWait+requestTime)
		defer cancel()
		began = time.Now()
		out, err := r.api.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl:                    &r.queues.DLQURL,
			MaxNumberOfMessages:         awsx.MaxBatch,
			WaitTimeSeconds:             int32(receiveWait / time.Second),
			VisibilityTimeout:           int32(visibility / time.Second),
			MessageAttributeNames:       []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
			ReceiveRequestAttemptId:     aws.String(attempt),
		}, batch.Once)
		if err == nil {
			messages = out.Messages
		}
		verdict := awsx.VerdictOf(err)
		if verdict.Answered {
			attempt = uuid.NewString()
		}
		return verdict.Again(), err
	})
	if err != nil {
		return nil, began, fmt.Errorf("parking: receive from %s: %w", r.queues.DLQURL, err)
	}
	if r.hidden.IsZero() {
		r.hidden = time.Now().Add(visibility)
	}
	return messages, began, nil
}

// send sends one message back and deletes it. Its requests do not end with ctx, because a canceled one may have been carried out.
func (r *release) send(ctx context.Context, m types.Message) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
	defer cancel()
	id := aws.ToString(m.MessageId)
	record := recordOf(m)
	was := record.MessageID
	record.Service = cmp.Or(record.Service, r.queues.Service) // a message that SQS has moved has no record
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
	err := r.sendMessage(ctx, in)
	if err != nil && deadletter.WithoutRecord(in, err) { // there is no room for it
		err = r.sendMessage(ctx, in)
	}
	if err != nil {
		return fmt.Errorf("parking: device %s: send message %s back to %s: %w", r.device.ID, id, r.queues.URL, err)
	}
	err = retry(ctx, func(ctx context.Context) (bool, error) {
		answer := batch.Delete(ctx, r.api, r.queues.DLQURL, []string{aws.ToString(m.ReceiptHandle)}, batch.Once)[0]
		return answer.Again(), answer.Err
	})
	if err != nil {
		return fmt.Errorf("parking: device %s: message %s was sent back, but not deleted from %s; run the release again within five minutes: %w",
			r.device.ID, id, r.queues.DLQURL, err)
	}
	r.sent++
	if until := r.device.Until; until != "" && (until == was || until == id) { // SQS keeps the ID of what it moves
		return r.found(ctx, false)
	}
	return nil
}

// sendMessage makes one send. Its deduplication ID makes that safe to be tried again.
func (r *release) sendMessage(ctx context.Context, in *sqs.SendMessageInput) error {
	return retry(ctx, func(ctx context.Context) (bool, error) {
		_, err := r.api.SendMessage(ctx, in, batch.Once)
		return awsx.VerdictOf(err).Again(), err
	})
}

// found records that the last message is no longer in the dead-letter queue: it was sent, or is missing. If another one has arrived behind
// it meanwhile, that is the last one now; a missing one may have arrived, too.
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
	err = r.sendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl:               &r.queues.URL,
		MessageBody:            aws.String(string(body)),
		MessageGroupId:         aws.String(Group(r.device.ID)),
		MessageDeduplicationId: aws.String("end-" + uuid.NewString()), // two end marks do no harm, but a missing one does
		MessageAttributes:      map[string]types.MessageAttributeValue{"type": {DataType: aws.String("String"), StringValue: aws.String(EndMark)}},
	})
	if err != nil {
		return fmt.Errorf("parking: device %s: all its dead letters were sent back to %s, but not the end mark; run the release again: %w", r.device.ID, r.queues.URL, err)
	}
	return nil
}

// giveBack makes what was not sent visible again, the last message of each device first.
func (r *release) giveBack(ctx context.Context) error {
	if !time.Now().Before(r.hidden) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
	defer cancel()
	var cause error
	for end := len(r.order); end > 0; {
		var messages []batch.Hidden
		for ; end > 0 && len(messages) < awsx.MaxBatch; end-- {
			if handle, ok := r.held[r.order[end-1]]; ok {
				messages = append(messages, batch.Hidden{Handle: handle})
			}
		}
		if len(messages) == 0 {
			break
		}
		if err := retry(ctx, func(ctx context.Context) (again bool, err error) {
			messages, again, err = r.show(ctx, messages)
			return again, err
		}); err != nil {
			cause = err
		}
	}
	if cause != nil {
		return fmt.Errorf("parking: messages in %s could not be made visible again; wait %v until they are: %w", r.queues.DLQURL, visibility, cause)
	}
	return nil
}

// show makes the messages of one batch visible. It returns those that are not, whether another try may succeed, and the error of the
// last one.
func (r *release) show(ctx context.Context, messages []batch.Hidden) (left []batch.Hidden, again bool, err error) {
	for i, a := range batch.Hide(ctx, r.api, r.queues.DLQURL, messages, batch.Once) {
		if a.Err == nil || a.HandleOver { // its handle has expired: it is visible already
			continue
		}
		left, again, err = append(left, messages[i]), again || a.Again(), a.Err
	}
	return left, again, err
}

// Unparked selects the dead letters of devices that are not recorded. These may be redriven one by one: SQS itself has moved them, or they
// are older than the service's group policy. If the store can't be read, nothing is selected.
func Unparked(ctx context.Context, store Store, service string) func(*deadletter.Message) bool {
	return func(m *deadletter.Message) bool {
		recorded, err := store.Find(ctx, service, m.DeviceID)
		if err == nil && strings.HasPrefix(m.DeviceID, events.ReservedPrefix) { // SQS left it in the group of a release
			if recorded, err = store.Find(ctx, service); err == nil {
				recorded = slices.DeleteFunc(recorded, func(d Device) bool { return Group(d.ID) != m.DeviceID })
			}
		}
		return err == nil && len(recorded) == 0 && m.Record.Class != deadletter.Parked
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
