package producer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"
	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func TestPublish_CarriesTheWireContract(t *testing.T) {
	t.Parallel()
	var got types.PublishBatchRequestEntry
	topic := &fakeTopic{script: func(_ int, in *sns.PublishBatchInput) *reply {
		got = in.PublishBatchRequestEntries[0]
		return nil
	}}
	p := newProducer(t, topic, Config{Source: "gateway/hall"})
	e := events.New("lamp-7", device.PowerChanged{On: true})
	if err := p.Publish(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	mustClose(t, p)
	if g := aws.ToString(got.MessageGroupId); g != "lamp-7" {
		t.Errorf("message group ID: got %q, want the device ID", g)
	}
	if g := aws.ToString(got.MessageDeduplicationId); g != e.ID {
		t.Errorf("deduplication ID: got %q, want the event ID %q", g, e.ID)
	}
	for name, want := range map[string]string{"type": "device.power.changed.v1", "source": "gateway/hall"} {
		if g := aws.ToString(got.MessageAttributes[name].StringValue); g != want {
			t.Errorf("attribute %s: got %q, want %q", name, g, want)
		}
	}
	sent, err := events.Decode([]byte(aws.ToString(got.Message)))
	if err != nil {
		t.Fatal(err)
	}
	if len(sent.Sequence) != sequenceDigits || strings.Trim(sent.Sequence, "0") == "" {
		t.Errorf("sequence: got %q, want %d digits", sent.Sequence, sequenceDigits)
	}
	if sent.Source != "gateway/hall" {
		t.Errorf("source: got %q, want the producer's", sent.Source)
	}
}

func TestSequence_IncreasesWithAcceptance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // the clock stands still between the events
		topic := &fakeTopic{}
		p := newProducer(t, topic, Config{})
		var got answers
		for i := range 50 {
			if err := p.Enqueue(t.Context(), motion("d1", fmt.Sprintf("e%d", i)), got.add); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, p)
		last := ""
		for _, r := range got.all() {
			if r.Event.Sequence <= last {
				t.Fatalf("sequence %s of %s does not follow %s", r.Event.Sequence, r.Event.ID, last)
			}
			last = r.Event.Sequence
		}
	})
}

func TestBatches_SendAtOnceWhenIdleAndFillMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		topic := &fakeTopic{latency: 10 * time.Millisecond}
		p := newProducer(t, topic, Config{MaxBatches: 1})
		for i := range 31 {
			if err := p.Enqueue(t.Context(), motion(fmt.Sprintf("d%d", i), fmt.Sprintf("e%d", i)), nil); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, p)
		if _, sizes, _ := topic.snapshot(); !slices.Equal(sizes, []int{1, 10, 10, 10}) {
			t.Errorf("batch sizes: got %v, want the first event alone and then full batches", sizes)
		}
	})
}

func TestBatches_APartialOneDoesNotWaitForASlowRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		topic := &fakeTopic{latency: 10 * time.Millisecond, script: func(call int, _ *sns.PublishBatchInput) *reply {
			if call == 1 {
				return &reply{holdUntil: hold}
			}
			return nil
		}}
		p := newProducer(t, topic, Config{})
		if err := p.Publish(t.Context(), motion("d0", "e0")); err != nil { // teaches the producer the round trip
			t.Fatal(err)
		}
		if err := p.Enqueue(t.Context(), motion("slow", "e1"), nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		if err := p.Publish(t.Context(), motion("d2", "e2")); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 20*time.Millisecond { // simulated time: one round trip of waiting, one of sending
			t.Errorf("publishing beside a stuck request took %v, want two round trips of 10ms", took)
		}
		close(hold)
		mustClose(t, p)
	})
}

// TestOrder_UnderRandomTrouble is the promise itself: whatever the topic answers, every event is answered once, the topic has
// each device's confirmed events in their order, and no device ever had two unresolved events.
func TestOrder_UnderRandomTrouble(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		devices := rapid.IntRange(1, 30).Draw(rt, "devices")
		count := rapid.IntRange(1, 120).Draw(rt, "events")
		owner := rapid.SliceOfN(rapid.IntRange(0, devices-1), count, count).Draw(rt, "owner")
		trouble := rapid.SliceOfN(rapid.IntRange(0, 9), 40, 40).Draw(rt, "trouble")
		entry := rapid.SliceOfN(rapid.IntRange(0, 9), 40, 40).Draw(rt, "entry")
		batches := rapid.IntRange(1, 4).Draw(rt, "batches under way")
		buffer := rapid.IntRange(1, 50).Draw(rt, "buffer")
		synctest.Test(t, func(t *testing.T) {
			topic := &fakeTopic{latency: 5 * time.Millisecond, script: func(call int, _ *sns.PublishBatchInput) *reply {
				if call >= len(trouble) {
					return nil
				}
				k := entry[call]
				switch trouble[call] {
				case 0:
					return &reply{fail: map[int]types.BatchResultErrorEntry{k: {Code: aws.String("InternalError")}}}
				case 1:
					return &reply{fail: map[int]types.BatchResultErrorEntry{k: {Code: aws.String("Throttled"), SenderFault: true}}}
				case 2:
					return &reply{leaveOut: map[int]bool{k: true}}
				case 3:
					return &reply{err: errReset}
				case 4:
					return &reply{err: errReset, actFirst: true}
				case 5:
					return &reply{err: apiError("InternalFailure", smithy.FaultServer)}
				case 6:
					return &reply{lose: map[int]bool{k: true}}
				case 7:
					return &reply{fail: map[int]types.BatchResultErrorEntry{k: {Code: aws.String("InvalidParameter"), SenderFault: true}}}
				}
				return nil
			}}
			p := newProducer(t, topic, Config{MaxBatches: batches, Buffer: buffer, BufferPerDevice: max(1, buffer/2)})
			var got answers
			want := make([][]string, devices)
			for i, d := range owner {
				id := fmt.Sprintf("e%03d", i)
				want[d] = append(want[d], id)
				if err := p.Enqueue(t.Context(), motion(fmt.Sprintf("d%d", d), id), got.add); err != nil {
					rt.Fatal(err)
				}
			}
			mustClose(t, p)
			topic.noFaults(t)
			results := got.all()
			if len(results) != count {
				rt.Fatalf("%d answers for %d events", len(results), count)
			}
			confirmed := map[string][]string{}
			answered := map[string][]string{}
			for _, r := range results {
				answered[r.Event.DeviceID] = append(answered[r.Event.DeviceID], r.Event.ID)
				if r.Err == nil {
					confirmed[r.Event.DeviceID] = append(confirmed[r.Event.DeviceID], r.Event.ID)
				}
			}
			_, _, accepted := topic.snapshot()
			for d := range devices {
				name := fmt.Sprintf("d%d", d)
				if !slices.Equal(answered[name], want[d]) {
					rt.Fatalf("device %s: answers came for %v, want %v", name, answered[name], want[d])
				}
				if !slices.IsSorted(accepted[name]) {
					rt.Fatalf("device %s: the topic has %v, which is out of order", name, accepted[name])
				}
				for _, id := range confirmed[name] {
					if !slices.Contains(accepted[name], id) {
						rt.Fatalf("event %s was confirmed, but the topic does not have it", id)
					}
				}
			}
		})
	})
}

func TestFailure_FollowersDoNotOvertake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		topic := &fakeTopic{script: func(call int, _ *sns.PublishBatchInput) *reply {
			if call == 0 {
				return &reply{holdUntil: hold, fail: map[int]types.BatchResultErrorEntry{0: {Code: aws.String("InvalidParameter"), Message: aws.String("no"), SenderFault: true}}}
			}
			return nil
		}}
		p := newProducer(t, topic, Config{})
		var got answers
		for _, id := range []string{"e1", "e2", "e3"} {
			if err := p.Enqueue(t.Context(), motion("d1", id), got.add); err != nil {
				t.Fatal(err)
			}
		}
		close(hold)
		synctest.Wait()
		results := got.all()
		if len(results) != 3 {
			t.Fatalf("got %d answers, want 3", len(results))
		}
		var failed *PublishError
		if !errors.As(results[0].Err, &failed) || failed.Code != "InvalidParameter" || failed.EventID != "e1" || !failed.Refused {
			t.Errorf("first event: got %v, want a PublishError with the topic's code", results[0].Err)
		}
		for _, r := range results[1:] {
			var blocked *BlockedError
			if !errors.As(r.Err, &blocked) || blocked.BlockedBy != "e1" {
				t.Errorf("event %s: got %v, want a BlockedError that names e1", r.Event.ID, r.Err)
			}
		}
		if err := p.Publish(t.Context(), motion("d1", "e4")); err != nil {
			t.Errorf("an event published after the failure: %v", err)
		}
		mustClose(t, p)
	})
}

func TestFailure_OneBadEntryDoesNotTakeItsBatchAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		topic := &fakeTopic{latency: time.Millisecond, script: func(_ int, in *sns.PublishBatchInput) *reply {
			for _, e := range in.PublishBatchRequestEntries {
				if aws.ToString(e.MessageGroupId) == "bad" {
					return &reply{err: &smithy.GenericAPIError{Code: "InvalidParameter", Message: "Invalid parameter: Message too long", Fault: smithy.FaultClient}}
				}
			}
			return nil
		}}
		p := newProducer(t, topic, Config{MaxBatches: 1})
		var batch []events.Event
		for _, device := range []string{"d1", "d2", "bad", "d3"} {
			batch = append(batch, motion(device, "of-"+device))
		}
		for _, r := range p.PublishAll(t.Context(), batch) {
			if bad := r.Event.DeviceID == "bad"; (r.Err != nil) != bad {
				t.Errorf("device %s: got error %v", r.Event.DeviceID, r.Err)
			}
		}
		mustClose(t, p)
	})
}

func TestUnknownOutcome_EndsInsideTheDeduplicationWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var last atomic.Int64 // when it was sent for the last time
		topic := &fakeTopic{script: func(int, *sns.PublishBatchInput) *reply {
			last.Store(time.Now().UnixNano())
			return &reply{err: errReset}
		}}
		p := newProducer(t, topic, Config{})
		start := time.Now()
		err := p.Publish(t.Context(), motion("d1", "e1"))
		if !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, errReset) {
			t.Errorf("got %v, want an unknown outcome with its cause", err)
		}
		if after := time.Duration(last.Load() - start.UnixNano()); after < DefaultGiveUpAfter-2*maxBackoff || after > DefaultGiveUpAfter {
			t.Errorf("sent for the last time after %v, want shortly before %v", after, DefaultGiveUpAfter)
		}
		if took := time.Since(start); took > DefaultGiveUpAfter+maxBackoff {
			t.Errorf("gave up after %v, want soon after %v", took, DefaultGiveUpAfter)
		}
		mustClose(t, p)
	})
}

func TestNoConnection_IsNotCalledUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		topic := &fakeTopic{script: func(int, *sns.PublishBatchInput) *reply {
			return &reply{err: &smithy.OperationError{ServiceID: "SNS", OperationName: "PublishBatch", Err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}}}
		}}
		p := newProducer(t, topic, Config{})
		if err := p.Publish(t.Context(), motion("d1", "e1")); !errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("got %v, want its cause, and no unknown outcome: nothing was sent", err)
		}
		mustClose(t, p)
	})
}

// notTheTopics are refusals that say nothing about the event that they were given for.
var notTheTopics = map[string]error{
	"clock":               apiError("SignatureDoesNotMatch", smithy.FaultClient),
	"clock, other words":  apiError("RequestTimeTooSkewed", smithy.FaultClient),
	"signature":           apiError("InvalidSignatureException", smithy.FaultClient),
	"request expired":     apiError("RequestExpired", smithy.FaultClient),
	"token expired":       apiError("ExpiredToken", smithy.FaultClient),
	"unknown key":         apiError("InvalidClientTokenId", smithy.FaultClient),
	"STS":                 &smithy.OperationError{ServiceID: "SNS", OperationName: "PublishBatch", Err: apiErrorOf("STS", "InvalidIdentityToken")},
	"STS in the region":   &smithy.OperationError{ServiceID: "SNS", OperationName: "PublishBatch", Err: apiErrorOf("STS", "RegionDisabledException")},
	"STS validates":       &smithy.OperationError{ServiceID: "SNS", OperationName: "PublishBatch", Err: apiErrorOf("STS", "ValidationError")},
	"KMS":                 apiError("KMSDisabled", smithy.FaultClient),
	"KMS state":           apiError("KMSInvalidStateException", smithy.FaultClient),
	"permission":          apiError("AuthorizationError", smithy.FaultClient),
	"permission, by IAM":  apiError("AccessDenied", smithy.FaultClient),
	"topic":               apiError("NotFound", smithy.FaultClient),
	"topic's ARN":         &smithy.GenericAPIError{Code: "InvalidParameter", Message: "Invalid parameter: TopicArn", Fault: smithy.FaultClient},
	"throttled":           apiError("Throttled", smithy.FaultClient),
	"throttled, by KMS":   apiError("KMSThrottling", smithy.FaultClient),
	"internal":            apiError("InternalError", smithy.FaultServer),
	"code of a later day": apiError("SomethingNew", smithy.FaultClient),
}

func apiErrorOf(service, code string) error {
	return &smithy.OperationError{ServiceID: service, Err: &smithy.GenericAPIError{Code: code, Fault: smithy.FaultClient}}
}

// TestRefusal_IsTheTopicsOnly: whatever else refuses a request ends, and costs no event though there is no spool; every attempt has the same
// deduplication ID.
func TestRefusal_IsTheTopicsOnly(t *testing.T) {
	t.Parallel()
	entry := func(code string) *reply {
		failure := types.BatchResultErrorEntry{Code: &code, SenderFault: true}
		return &reply{fail: map[int]types.BatchResultErrorEntry{0: failure, 1: failure, 2: failure}}
	}
	replies := map[string]*reply{"entry: key": entry("KMSDisabled"), "entry: permission": entry("AccessDenied"), "entry: a code of a later day": entry("SomethingNew")}
	for name, err := range notTheTopics {
		replies[name] = &reply{err: err}
	}
	for name, trouble := range replies {
		synctest.Test(t, func(t *testing.T) {
			var ids sync.Map // deduplication ID by event
			topic := &fakeTopic{script: func(call int, in *sns.PublishBatchInput) *reply {
				for _, e := range in.PublishBatchRequestEntries {
					id := aws.ToString(e.MessageDeduplicationId)
					if before, known := ids.LoadOrStore(*e.Message, id); known && before != id {
						t.Errorf("%s: sent again with the deduplication ID %q, first with %q", name, id, before)
					}
				}
				if call < 5 {
					return trouble
				}
				return nil
			}}
			p := newProducer(t, topic, Config{})
			for _, r := range p.PublishAll(t.Context(), []events.Event{motion("d1", "e1"), motion("d2", "e2"), motion("d3", "e3")}) {
				if r.Err != nil {
					t.Errorf("%s: event %s is lost: %v", name, r.Event.ID, r.Err)
				}
			}
			mustClose(t, p)
		})
	}
}

// TestRefusal_IsNotCalledUnknown: trouble that goes on ends in an error with its code once the deduplication window is nearly over. It is
// called neither a refusal of the event nor an unknown outcome.
func TestRefusal_IsNotCalledUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var requests []time.Time
		topic := &fakeTopic{script: func(int, *sns.PublishBatchInput) *reply {
			requests = append(requests, time.Now())
			return &reply{err: apiError("AuthorizationError", smithy.FaultClient)}
		}}
		p := newProducer(t, topic, Config{})
		err := p.Publish(t.Context(), motion("d1", "e1"))
		var failed *PublishError
		if !errors.As(err, &failed) || failed.Code != "AuthorizationError" || failed.Attempts < 2 || failed.Refused || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("got %+v, want a PublishError with the code, after several attempts", err)
		}
		if took := requests[len(requests)-1].Sub(requests[0]); took < DefaultGiveUpAfter-2*maxBackoff || took > DefaultGiveUpAfter {
			t.Errorf("the last request came %v after the first, want at most %v, and not much less", took, DefaultGiveUpAfter)
		}
		mustClose(t, p)
	})
}

func TestBuffer_OneDeviceDoesNotFillIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		topic := &fakeTopic{script: func(_ int, in *sns.PublishBatchInput) *reply { return &reply{holdUntil: hold} }}
		p := newProducer(t, topic, Config{Buffer: 10, BufferPerDevice: 3})
		for i := range 3 {
			if err := p.TryEnqueue(motion("hot", fmt.Sprintf("h%d", i)), nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.TryEnqueue(motion("hot", "h3"), nil); !errors.Is(err, ErrBufferFull) {
			t.Errorf("fourth event of a device: got %v, want ErrBufferFull", err)
		}
		if p.Stats().Full {
			t.Error("full, with 3 of 10 in it")
		}
		for i := range 7 {
			if err := p.TryEnqueue(motion(fmt.Sprintf("d%d", i), fmt.Sprintf("e%d", i)), nil); err != nil {
				t.Errorf("event %d of another device: %v", i, err)
			}
		}
		if err := p.TryEnqueue(motion("d8", "e8"), nil); !errors.Is(err, ErrBufferFull) {
			t.Errorf("eleventh event: got %v, want ErrBufferFull", err)
		}
		if !p.Stats().Full {
			t.Error("not full, with 10 of 10 in it")
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Enqueue(short, motion("hot", "h4"), nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for room: got %v, want the context's error", err)
		}
		entered := make(chan error, 1)
		go func() { entered <- p.Enqueue(t.Context(), motion("hot", "h5"), nil) }()
		synctest.Wait()
		select {
		case err := <-entered:
			t.Fatalf("enqueued into a full buffer: %v", err)
		default:
		}
		close(hold)
		if err := <-entered; err != nil {
			t.Error(err)
		}
		mustClose(t, p)
		_, _, accepted := topic.snapshot()
		if got, want := accepted["hot"], []string{"h0", "h1", "h2", "h5"}; !slices.Equal(got, want) {
			t.Errorf("the topic has %v of the hot device, want %v", got, want)
		}
	})
}

func TestClose_AnswersEveryEventOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		never := make(chan struct{})
		topic := &fakeTopic{script: func(call int, _ *sns.PublishBatchInput) *reply {
			if call == 0 {
				return &reply{err: errReset} // its events wait for their next attempt when Close comes
			}
			return &reply{holdUntil: never}
		}}
		p := newProducer(t, topic, Config{Buffer: 4, BufferPerDevice: 4})
		var got answers
		for _, e := range []events.Event{motion("d1", "e1"), motion("d2", "e2"), motion("d2", "e3"), motion("d1", "e4")} {
			if err := p.Enqueue(t.Context(), e, got.add); err != nil {
				t.Fatal(err)
			}
		}
		refused := make(chan error, 1)
		go func() { refused <- p.Enqueue(t.Context(), motion("d3", "e5"), got.add) }()
		synctest.Wait()
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Close(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: got %v, want its context's error", err)
		}
		if err := <-refused; !errors.Is(err, ErrClosed) {
			t.Errorf("a caller that waited for room: got %v, want ErrClosed", err)
		}
		if err := p.Publish(t.Context(), motion("d1", "e6")); !errors.Is(err, ErrClosed) {
			t.Errorf("publish after close: got %v, want ErrClosed", err)
		}
		seen := map[string]bool{}
		for _, r := range got.all() {
			if seen[r.Event.ID] {
				t.Errorf("event %s was answered twice", r.Event.ID)
			}
			seen[r.Event.ID] = true
			if !errors.Is(r.Err, ErrClosed) {
				t.Errorf("event %s: got %v, want ErrClosed", r.Event.ID, r.Err)
			}
		}
		if len(seen) != 4 {
			t.Errorf("%d events were answered, want 4", len(seen))
		}
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("second close: %v", err)
		}
	})
}

func TestPublish_CallerGivesUpAloneAfterAcceptance(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		topic := &fakeTopic{latency: time.Minute}
		p := newProducer(t, topic, Config{RequestTimeout: 20 * time.Second})
		topic.latency = 10 * time.Second
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := p.Publish(short, motion("d1", "e1"))
		if !errors.Is(err, ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want an unknown outcome because the context ended", err)
		}
		mustClose(t, p)
		if _, _, accepted := topic.snapshot(); len(accepted["d1"]) != 1 {
			t.Error("the event did not go out after its caller had left")
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if err := newProducer(t, topic, Config{}).Publish(ended, motion("d1", "e2")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnknownOutcome) {
			t.Errorf("context that had ended before: got %v, want just that", err)
		}
	})
}

func TestBadInput_IsRefusedBeforeAcceptance(t *testing.T) {
	t.Parallel()
	topic := &fakeTopic{}
	p := newProducer(t, topic, Config{MaxMessageBytes: 1024})
	var invalid *InvalidError
	var large *TooLargeError
	for name, c := range map[string]struct {
		event events.Event
		as    any
		text  string
	}{
		"device with a space": {motion("hall lamp", "e1"), &invalid, `"hall lamp"`},
		"no device":           {motion("", "e1"), &invalid, "1 to 128"},
		"no payload":          {events.New("d1", nil), &invalid, "data"},
		"NaN":                 {events.New("d1", device.TemperatureMeasured{Celsius: math.NaN()}), &invalid, "data.celsius"},
		"out of bounds":       {events.New("d1", device.HumidityMeasured{Percent: 140}), &invalid, "data.percent"},
		"too large":           {motion(strings.Repeat("d", 128), strings.Repeat("e", 128)), &large, "want at most 1024"},
	} {
		if name == "too large" {
			c.event.Source = strings.Repeat("s", 500)
		}
		err := p.Publish(t.Context(), c.event)
		if !errors.As(err, c.as) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want a %T that says %q", name, err, c.as, c.text)
		}
	}
	mustClose(t, p)
	if calls, _, _ := topic.snapshot(); calls != 0 {
		t.Errorf("%d requests were made for bad events", calls)
	}
}

func TestNew_ListsEveryFault(t *testing.T) {
	t.Parallel()
	_, err := New(&fakeTopic{}, "arn:aws:sns:eu-central-1:1:standard", Config{Buffer: -1, GiveUpAfter: time.Hour, SpoolBytes: 1000, OnFailure: 7, MaxPast: -1})
	if err == nil {
		t.Fatal("got no error")
	}
	for _, want := range []string{"topic ARN", "Buffer: got -1", "GiveUpAfter: got 1h0m0s", "SpoolBytes: got 1000", "OnFailure: got 7", "MaxPast"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to say %q", err, want)
		}
	}
}
