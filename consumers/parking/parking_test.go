package parking_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/infra/local"
)

var cause = parking.Cause{MessageID: "m1", EventID: "e1", Class: "known", Code: "refused", Error: "no", Attempts: 1}

// find returns the device's record, which is the zero value when there is none.
func find(t *testing.T, store parking.Store, device string) parking.Device {
	t.Helper()
	found, err := store.Find(t.Context(), "lights", device)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		return parking.Device{}
	}
	return found[0]
}

func confirm(t *testing.T, store parking.Store, message string, released, want bool) {
	t.Helper()
	got, err := parking.Confirm(t.Context(), store, "lights", "d1", message, released)
	if err != nil || got != want {
		t.Errorf("confirm %s: got %v, %v, want %v", message, got, err, want)
	}
}

// stage is a queue with its dead-letter queue.
type stage struct {
	t      *testing.T
	api    *sqs.Client
	queues parking.Queues
}

func newStage(t *testing.T) *stage {
	s := &stage{t: t, api: local.New(local.Options{}).SQS()}
	create := func(name string) string {
		out, err := s.api.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{
			"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
		}})
		if err != nil {
			t.Fatal(err)
		}
		return aws.ToString(out.QueueUrl)
	}
	s.queues = parking.Queues{Service: "lights", URL: create("lights.fifo"), DLQURL: create("lights-dlq.fifo")}
	return s
}

// bury puts a dead letter of a device into the dead-letter queue.
func (s *stage) bury(device, id string) {
	s.t.Helper()
	record := deadletter.Record{Service: "lights", Class: deadletter.Parked, MessageID: id}
	_, err := s.api.SendMessage(s.t.Context(), &sqs.SendMessageInput{
		QueueUrl: &s.queues.DLQURL, MessageBody: &id, MessageGroupId: &device, MessageDeduplicationId: &id,
		MessageAttributes: map[string]types.MessageAttributeValue{
			deadletter.Attribute: {DataType: aws.String("String"), StringValue: aws.String(record.Encode())},
		},
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// read empties a queue and returns group and body of every message.
func (s *stage) read(url string) (list []string) {
	s.t.Helper()
	for {
		out, err := s.api.ReceiveMessage(s.t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: &url, MaxNumberOfMessages: 10, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
		})
		if err != nil {
			s.t.Fatal(err)
		}
		if len(out.Messages) == 0 {
			return list
		}
		for _, m := range out.Messages {
			list = append(list, m.Attributes["MessageGroupId"]+" "+aws.ToString(m.Body))
			if _, err := s.api.DeleteMessage(s.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// park records device d1 with messages e00 to e(n-1), between those of another device.
func (s *stage) park(store parking.Store, n int) {
	s.t.Helper()
	c := cause
	c.MessageID = "e00"
	if err := parking.Park(s.t.Context(), store, "lights", "d1", c); err != nil {
		s.t.Fatal(err)
	}
	for i := range n {
		id := fmt.Sprintf("e%02d", i)
		s.bury("d1", id)
		s.bury("d2", "other-"+id)
		confirm(s.t, store, id, false, true)
	}
}

func (s *stage) want(n int, mark bool, release string) {
	s.t.Helper()
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("~release~d1 e%02d", i))
	}
	if mark {
		want = append(want, fmt.Sprintf(`~release~d1 {"device_id":"d1","release":%q}`, release))
	}
	if got := s.read(s.queues.URL); !slices.Equal(got, want) {
		s.t.Errorf("the queue has\n%q, want\n%q", got, want)
	}
}

func TestRelease_SendsAllMessagesInOrderAndThenTheMark(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		store := parking.NewMemory()
		s.park(store, 25)
		if sent, err := parking.Release(t.Context(), store, s.api, s.queues, "d1"); err != nil || sent != 25 {
			t.Fatalf("got %d, %v, want 25 messages sent", sent, err)
		}
		d := find(t, store, "d1")
		if d.State != parking.Releasing || d.Until != "" || d.Followers != 24 {
			t.Errorf("got %+v, want it to be releasing, with nothing left to send", d)
		}
		s.want(25, true, d.Release)
		if got := s.read(s.queues.DLQURL); len(got) != 25 || got[0] != "d2 other-e00" {
			t.Errorf("the dead-letter queue has %q, want the other device's messages, visible and in order", got)
		}
		if _, err := parking.Release(t.Context(), store, s.api, s.queues, "d2"); !errors.Is(err, parking.ErrNotParked) {
			t.Errorf("a device that is not parked: got %v", err)
		}
	})
}

// lossy fails calls as it is told.
type lossy struct {
	*sqs.Client
	failDelete, failSend func() error
	afterDepth           func()
}

func (l *lossy) GetQueueAttributes(ctx context.Context, in *sqs.GetQueueAttributesInput, o ...func(*sqs.Options)) (*sqs.GetQueueAttributesOutput, error) {
	out, err := l.Client.GetQueueAttributes(ctx, in, o...)
	if l.afterDepth != nil {
		l.afterDepth()
	}
	return out, err
}

func (l *lossy) DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, o ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error) {
	if err := l.failDelete(); err != nil {
		return nil, err
	}
	return l.Client.DeleteMessageBatch(ctx, in, o...)
}

func (l *lossy) SendMessage(ctx context.Context, in *sqs.SendMessageInput, o ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	if err := l.failSend(); err != nil {
		return nil, err
	}
	return l.Client.SendMessage(ctx, in, o...)
}

// TestRelease_GoesOnWhereItWasCutOff: whatever request fails, the next run sends what is left, once each, and the mark last.
func TestRelease_GoesOnWhereItWasCutOff(t *testing.T) {
	t.Parallel()
	for cut := range 18 { // requests that the first run makes, and one more
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			store := parking.NewMemory()
			s.park(store, 8)
			calls, second := 0, false
			fail := func() error {
				calls++
				if calls > cut && cut < 17 && !second { // and no retry helps
					return errors.New("connection reset by peer")
				}
				return nil
			}
			api := &lossy{Client: s.api, failDelete: fail, failSend: fail}
			if _, err := parking.Release(t.Context(), store, api, s.queues, "d1"); (err != nil) != (cut < 17) {
				t.Errorf("request %d fails: got %v", cut+1, err)
			}
			second = true
			if _, err := parking.Release(t.Context(), store, api, s.queues, "d1"); err != nil {
				t.Fatalf("request %d failed; the second run: %v", cut+1, err)
			}
			// A second mark does no harm.
			got := s.read(s.queues.URL)
			mark := fmt.Sprintf(`~release~d1 {"device_id":"d1","release":%q}`, find(t, store, "d1").Release)
			if len(got) < 9 || got[8] != mark {
				t.Errorf("request %d failed: the queue has %q, want eight messages and then the mark", cut+1, got)
			}
		})
	}
}

// throttling refuses two of three requests of each kind, as SQS does when there are too many requests of the queue's KMS key: one as a whole,
// and one in the first entry of its batch.
type throttling struct {
	*sqs.Client
	calls map[string]int
}

// refuses tells how the next request of a kind fails: as a whole, in its first entry, or not.
func (h *throttling) refuses(kind string) (whole error, entry bool) {
	h.calls[kind]++
	switch h.calls[kind] % 3 {
	case 1:
		return &types.KmsThrottled{Message: aws.String("rate exceeded")}, false
	case 2:
		return nil, true
	}
	return nil, false
}

// refused is the answer for an entry.
func refused(id *string) types.BatchResultErrorEntry {
	return types.BatchResultErrorEntry{Id: id, Code: aws.String("KmsThrottled"), Message: aws.String("rate exceeded"), SenderFault: true}
}

func (h *throttling) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput, o ...func(*sqs.Options)) (*sqs.ReceiveMessageOutput, error) {
	if err, _ := h.refuses("receive"); err != nil {
		return nil, err
	}
	return h.Client.ReceiveMessage(ctx, in, o...)
}

func (h *throttling) SendMessage(ctx context.Context, in *sqs.SendMessageInput, o ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	if err, _ := h.refuses("send"); err != nil {
		return nil, err
	}
	return h.Client.SendMessage(ctx, in, o...)
}

func (h *throttling) DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput, o ...func(*sqs.Options)) (*sqs.DeleteMessageBatchOutput, error) {
	err, entry := h.refuses("delete")
	if err != nil {
		return nil, err
	}
	if entry {
		return &sqs.DeleteMessageBatchOutput{Failed: []types.BatchResultErrorEntry{refused(in.Entries[0].Id)}}, nil
	}
	return h.Client.DeleteMessageBatch(ctx, in, o...)
}

func (h *throttling) ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput, o ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	err, entry := h.refuses("show")
	if err != nil {
		return nil, err
	}
	if !entry {
		return h.Client.ChangeMessageVisibilityBatch(ctx, in, o...)
	}
	first, rest := in.Entries[0], *in
	rest.Entries = in.Entries[1:]
	out := &sqs.ChangeMessageVisibilityBatchOutput{}
	if len(rest.Entries) > 0 {
		if out, err = h.Client.ChangeMessageVisibilityBatch(ctx, &rest, o...); err != nil {
			return nil, err
		}
	}
	out.Failed = append(out.Failed, refused(first.Id))
	return out, nil
}

// TestRelease_GoesOnWhenThrottled by the queue's KMS key: whole requests and entries of batches are tried again.
func TestRelease_GoesOnWhenThrottled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		store := parking.NewMemory()
		s.park(store, 12)
		api := &throttling{Client: s.api, calls: map[string]int{}}
		if sent, err := parking.Release(t.Context(), store, api, s.queues, "d1"); err != nil || sent != 12 {
			t.Fatalf("got %d, %v, want 12 messages sent", sent, err)
		}
		for _, kind := range []string{"receive", "send", "delete", "show"} {
			if api.calls[kind] < 3 {
				t.Errorf("%s: got %d requests, want some again", kind, api.calls[kind])
			}
		}
		s.want(12, true, find(t, store, "d1").Release)
		if got := s.read(s.queues.DLQURL); len(got) != 12 || got[0] != "d2 other-e00" {
			t.Errorf("the dead-letter queue has %q, want the other device's messages, visible and in order", got)
		}
	})
}

// TestRelease_SaysWhatStaysHidden when an entry of a batch fails for good, and when the request is refused as a whole, which says nothing
// about the messages.
func TestRelease_SaysWhatStaysHidden(t *testing.T) {
	t.Parallel()
	for code, whole := range map[string]error{"KmsDisabled": nil, "ValidationException": &smithy.GenericAPIError{Code: "ValidationException", Fault: smithy.FaultClient}} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t)
				store := parking.NewMemory()
				s.park(store, 2)
				_, err := parking.Release(t.Context(), store, &stuck{Client: s.api, whole: whole}, s.queues, "d1")
				if err == nil || !strings.Contains(err.Error(), "could not be made visible again") || !strings.Contains(err.Error(), code) {
					t.Errorf("got %v, want it to say that messages are hidden, and why", err)
				}
			})
		})
	}
}

// stuck can't make the first message of a batch visible, or gets whole for the request.
type stuck struct {
	*sqs.Client
	whole error
}

func (s *stuck) ChangeMessageVisibilityBatch(_ context.Context, in *sqs.ChangeMessageVisibilityBatchInput, _ ...func(*sqs.Options)) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	if s.whole != nil {
		return nil, s.whole
	}
	out := &sqs.ChangeMessageVisibilityBatchOutput{}
	for i, e := range in.Entries {
		if i == 0 {
			out.Failed = append(out.Failed, types.BatchResultErrorEntry{Id: e.Id, Code: aws.String("KmsDisabled"), SenderFault: true})
			continue
		}
		out.Successful = append(out.Successful, types.ChangeMessageVisibilityBatchResultEntry{Id: e.Id})
	}
	return out, nil
}

// TestRelease_TakesAMessageAlong that was on its way when it began, and was confirmed just before the last one that it knew of was
// gone: by its send, or because somebody has dropped it.
func TestRelease_TakesAMessageAlong(t *testing.T) {
	t.Parallel()
	for _, dropped := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			store := parking.NewMemory()
			s.park(store, 8)
			deletes := 0
			late := func() {
				s.bury("d1", "e08")
				for range 2 { // the answer may be lost
					confirm(t, store, "e08", false, true)
				}
			}
			api := &lossy{Client: s.api, failSend: func() error { return nil }, failDelete: func() error {
				if deletes++; deletes == 8 {
					late()
				}
				return nil
			}}
			if dropped {
				s.read(s.queues.DLQURL)
				api.afterDepth = sync.OnceFunc(late)
			}
			if _, err := parking.Release(t.Context(), store, api, s.queues, "d1"); err != nil {
				t.Fatal(err)
			}
			confirm(t, store, "e09", false, false) // too late
			if dropped {
				got := s.read(s.queues.URL)
				if len(got) != 2 || got[0] != "~release~d1 e08" {
					t.Errorf("the queue has %q, want the message and the mark", got)
				}
				return
			}
			s.want(9, true, find(t, store, "d1").Release)
		})
	}
}

// TestRelease_SendsWhatSQSMovedInAnEarlierReleaseFirst, wherever it stands in the dead-letter queue.
func TestRelease_SendsWhatSQSMovedInAnEarlierReleaseFirst(t *testing.T) {
	t.Parallel()
	// Where it is not the cause, as its processes have died before it was started, it is sent all the same.
	for _, class := range []deadletter.Class{deadletter.Moved, deadletter.Known} {
		synctest.Test(t, func(t *testing.T) { sendsWhatSQSMoved(t, class) })
	}
}

func sendsWhatSQSMoved(t *testing.T, class deadletter.Class) {
	s := newStage(t)
	store := parking.NewMemory()
	c := cause
	c.Class = string(class)
	if err := parking.Park(t.Context(), store, "lights", "d1", c); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"e01", "e02"} {
		s.bury("d1", id)
		confirm(t, store, id, false, true)
	}
	_, err := s.api.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: &s.queues.DLQURL, MessageBody: aws.String("e00"), MessageGroupId: aws.String(parking.Group("d1")), MessageDeduplicationId: aws.String("e00"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if sent, err := parking.Release(t.Context(), store, s.api, s.queues, "d1"); err != nil || sent != 3 {
		t.Fatalf("got %d, %v, want 3 messages sent", sent, err)
	}
	if class == deadletter.Moved {
		s.want(3, true, find(t, store, "d1").Release)
	}
}

// TestRelease_MarksWhatHasNoRecord, as SQS moved it, so that it is not sent again by the same release when it fails again.
func TestRelease_MarksWhatHasNoRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		store := parking.NewMemory()
		if err := parking.Park(t.Context(), store, "lights", "d1", cause); err != nil {
			t.Fatal(err)
		}
		_, err := s.api.SendMessage(t.Context(), &sqs.SendMessageInput{
			QueueUrl: &s.queues.DLQURL, MessageBody: aws.String("e00"), MessageGroupId: aws.String("d1"), MessageDeduplicationId: aws.String("e00"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parking.Release(t.Context(), store, s.api, s.queues, "d1"); err != nil {
			t.Fatal(err)
		}
		out, err := s.api.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &s.queues.URL, MessageAttributeNames: []string{"All"}})
		if err != nil || len(out.Messages) != 1 {
			t.Fatalf("got %+v, %v", out, err)
		}
		record, err := deadletter.ParseRecord(aws.ToString(out.Messages[0].MessageAttributes[deadletter.Attribute].StringValue))
		if err != nil || record.Release != find(t, store, "d1").Release || record.Service != "lights" || record.Class != deadletter.Moved {
			t.Errorf("got %+v, %v", record, err)
		}
	})
}

// TestRelease_KnowsTheOnlyMessageThatSQSMoved by the ID that it had in its queue, though it has no record and no room for one.
func TestRelease_KnowsTheOnlyMessageThatSQSMoved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		store := parking.NewMemory()
		in := &sqs.SendMessageInput{
			QueueUrl: &s.queues.DLQURL, MessageBody: aws.String("e00"), MessageGroupId: aws.String("d1"), MessageDeduplicationId: aws.String("e00"),
			MessageAttributes: map[string]types.MessageAttributeValue{},
		}
		for i := range 10 {
			in.MessageAttributes[fmt.Sprintf("a%d", i)] = types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String("x")}
		}
		sent, err := s.api.SendMessage(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		c := parking.Cause{MessageID: aws.ToString(sent.MessageId), Class: string(deadletter.Moved)}
		if err := parking.Park(t.Context(), store, "lights", "d1", c); err != nil {
			t.Fatal(err)
		}
		asked := false
		api := &lossy{Client: s.api, afterDepth: func() { asked = true }, failSend: func() error { return nil }, failDelete: func() error { return nil }}
		if n, err := parking.Release(t.Context(), store, api, s.queues, "d1"); err != nil || n != 1 || asked {
			t.Fatalf("got %d, %v, asked for the depth %t; want one message, known by its ID", n, err, asked)
		}
		s.want(1, true, find(t, store, "d1").Release)
	})
}

func TestGroup_FitsAndTellsItsDevice(t *testing.T) {
	t.Parallel()
	group := func(name string, record *deadletter.Record, body string) types.Message {
		m := types.Message{Attributes: map[string]string{"MessageGroupId": name}, Body: &body}
		if record != nil {
			m.MessageAttributes = map[string]types.MessageAttributeValue{
				deadletter.Attribute: {DataType: aws.String("String"), StringValue: aws.String(record.Encode())},
			}
		}
		return m
	}
	for _, device := range []string{"d", strings.Repeat("d", 119), strings.Repeat("d", 120), strings.Repeat("d", 128)} {
		name := parking.Group(device)
		if len(name) > 128 {
			t.Errorf("device of %d characters: the group has %d, want at most 128", len(device), len(name))
		}
		for what, m := range map[string]types.Message{
			"dead letter": group(name, &deadletter.Record{Device: device}, "{}"),
			"mark":        group(name, nil, `{"device_id":"`+device+`"}`),
		} {
			if got, released := parking.DeviceOf(m); got != device || !released {
				t.Errorf("%s of a device of %d characters: got %q, %t", what, len(device), got, released)
			}
		}
		if got, released := parking.DeviceOf(group(device, &deadletter.Record{Device: "another"}, "{}")); got != device || released {
			t.Errorf("a live event: got %q, %t", got, released)
		}
	}
	long := strings.Repeat("d", 128)
	for what, m := range map[string]types.Message{
		"no record":             group(parking.Group(long), nil, "{}"),
		"another one's record":  group(parking.Group(long), &deadletter.Record{Device: "d"}, "{}"),
		"a short one's another": group(parking.Group("d"), &deadletter.Record{Device: long}, "{}"),
	} {
		if got, released := parking.DeviceOf(m); got == long || !released {
			t.Errorf("%s: got %q, %t", what, got, released)
		}
	}
}

// TestUnparked_KnowsTheGroupsOfReleases, in which SQS leaves what it moves.
func TestUnparked_KnowsTheGroupsOfReleases(t *testing.T) {
	t.Parallel()
	store := parking.NewMemory()
	long := strings.Repeat("d", 128)
	for _, device := range []string{"d1", long} {
		if err := parking.Park(t.Context(), store, "lights", device, cause); err != nil {
			t.Fatal(err)
		}
	}
	unparked := parking.Unparked(t.Context(), store, "lights")
	for device, want := range map[string]bool{
		"d1": false, long: false, parking.Group("d1"): false, parking.Group(long): false, "d2": true, parking.Group("d2"): true,
	} {
		if got := unparked(&deadletter.Message{DeviceID: device}); got != want {
			t.Errorf("message of group %.20s: got %t, want %t", device, got, want)
		}
	}
}

func TestWithdraw_OnlyWhatNothingHasFollowed(t *testing.T) {
	t.Parallel()
	ctx, store := t.Context(), parking.NewMemory()
	withdraw := func(message string) parking.Device {
		t.Helper()
		if err := parking.Withdraw(ctx, store, "lights", "d1", message); err != nil {
			t.Fatal(err)
		}
		return find(t, store, "d1")
	}
	park := func() {
		t.Helper()
		if err := parking.Park(ctx, store, "lights", "d1", cause); err != nil {
			t.Fatal(err)
		}
	}
	withdraw("m1")
	park()
	if d := withdraw("m2"); d.State != parking.Parked {
		t.Errorf("for another message: got %+v", d)
	}
	if d := withdraw("m1"); d.State != "" {
		t.Errorf("got %+v, want it free", d)
	}
	park()
	confirm(t, store, "m2", false, true)
	if d := withdraw("m1"); d.State != parking.Parked {
		t.Errorf("another message has followed: got %+v", d)
	}
	s := newStage(t)
	if _, err := parking.Release(ctx, store, s.api, s.queues, "d1"); err != nil {
		t.Fatal(err)
	}
	again := parking.Cause{MessageID: "r1", Class: string(deadletter.Moved)}
	for _, code := range []string{"", "refused"} {
		again.Code = code
		if err := parking.FailAgain(ctx, store, "lights", "d1", again); err != nil {
			t.Fatal(err)
		}
		if d := find(t, store, "d1"); !d.FailedAgain || d.Cause != again {
			t.Errorf("got %+v, want it failed again for %+v", d, again)
		}
	}
	if d := withdraw("r1"); d.State != parking.Releasing || d.FailedAgain {
		t.Errorf("in a release: got %+v", d)
	}
}

// TestRelease_WithoutAMessage ends, though more messages of another device are there than SQS shows; and one that comes in the last
// moment is sent.
func TestRelease_WithoutAMessage(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t)
			store := parking.NewMemory()
			if err := parking.Park(t.Context(), store, "lights", "d1", cause); err != nil {
				t.Fatal(err)
			}
			for i := range 25 {
				s.bury("d2", fmt.Sprintf("other-%d", i))
			}
			never := func() error { return nil }
			api := &lossy{Client: s.api, failSend: never, failDelete: never}
			if late {
				api.afterDepth = sync.OnceFunc(func() {
					s.bury("d1", "m1")
					confirm(t, store, "m1", false, true)
				})
			}
			sent, err := parking.Release(t.Context(), store, api, s.queues, "d1")
			if err != nil || (sent == 1) != late {
				t.Fatalf("late %t: got %d, %v", late, sent, err)
			}
			if got := s.read(s.queues.URL); len(got) != sent+1 {
				t.Errorf("late %t: the queue has %q, want the mark last", late, got)
			}
		})
	}
}

func TestRelease_SaysWhenSomebodyElseHoldsTheMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t)
		store := parking.NewMemory()
		s.park(store, 3)
		if _, err := s.api.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &s.queues.DLQURL, MaxNumberOfMessages: 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := parking.Release(t.Context(), store, s.api, s.queues, "d1"); err == nil {
			t.Error("its first message is held by another reader: got no error")
		}
		if got := s.read(s.queues.URL); len(got) != 0 {
			t.Errorf("the queue has %q, want nothing, and no mark before the messages", got)
		}
		time.Sleep(time.Minute)
		if _, err := parking.Release(t.Context(), store, s.api, s.queues, "d1"); err != nil {
			t.Error(err)
		}
		s.want(3, true, find(t, store, "d1").Release)
	})
}

func TestConfirm_OnlyWhileTheDeviceIsParked(t *testing.T) {
	t.Parallel()
	store := parking.NewMemory()
	ctx := t.Context()
	confirm(t, store, "m0", false, false)
	if err := parking.Park(ctx, store, "lights", "d1", cause); err != nil {
		t.Fatal(err)
	}
	confirm(t, store, "m1", false, true)
	confirm(t, store, "m2", false, true)
	confirm(t, store, "m2", false, true) // it came again
	confirm(t, store, "r1", true, false)
	if d := find(t, store, "d1"); d.Followers != 1 || d.Last != "m2" || d.Cause != cause || d.Since.IsZero() {
		t.Errorf("got %+v", d)
	}
	s := newStage(t) // the messages were dropped
	if _, err := parking.Release(ctx, store, s.api, s.queues, "d1"); err != nil {
		t.Fatal(err)
	}
	id := find(t, store, "d1").Release
	confirm(t, store, "m3", false, false)
	confirm(t, store, "r1", true, false)
	if err := parking.FailAgain(ctx, store, "lights", "d1", parking.Cause{MessageID: "r1", Code: "again"}); err != nil {
		t.Fatal(err)
	}
	confirm(t, store, "r1", true, true)
	confirm(t, store, "r2", true, true)
	if err := parking.End(ctx, store, "lights", "d1", "another"); err != nil {
		t.Fatal(err)
	}
	if d := find(t, store, "d1"); d.State != parking.Releasing {
		t.Errorf("another release has ended: got %+v", d)
	}
	if err := parking.End(ctx, store, "lights", "d1", id); err != nil {
		t.Fatal(err)
	}
	if d := find(t, store, "d1"); d.State != parking.Parked || d.Cause.Code != "again" || d.Followers != 1 || d.Last != "r2" {
		t.Errorf("got %+v, want it parked again for what failed again", d)
	}
}

func TestSwap_OneOfManyWins(t *testing.T) {
	t.Parallel()
	store := parking.NewMemory()
	var all sync.WaitGroup
	if err := parking.Park(t.Context(), store, "lights", "d1", cause); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		all.Go(func() { confirm(t, store, fmt.Sprintf("f%d", i), false, true) })
	}
	all.Wait()
	if d := find(t, store, "d1"); d.Followers != 20 {
		t.Errorf("got %d followers, want 20", d.Followers)
	}
}
