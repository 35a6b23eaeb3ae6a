package producer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

const testTopic = "arn:aws:sns:eu-central-1:000000000000:dev-device-events.fifo"

// fakeTopic is a FIFO topic in a few lines: it remembers what it accepted, drops repeated deduplication IDs, and does what a
// script tells it first.
type fakeTopic struct {
	latency time.Duration
	script  func(call int, in *sns.PublishBatchInput) *reply // nil or a nil reply: accept all

	mu       sync.Mutex
	calls    int
	sizes    []int
	accepted map[string][]string // event IDs by device, in order
	known    map[string]bool
	faults   []string
	flying   map[string]bool // devices with an entry in a request under way
}

// reply is a scripted answer. Entries that stand in no field are accepted.
type reply struct {
	fail      map[int]types.BatchResultErrorEntry
	leaveOut  map[int]bool // accept, but do not mention
	lose      map[int]bool // neither accept nor mention
	err       error        // answer with an error
	actFirst  bool         // accept everything before answering with err: the reply is lost
	holdUntil <-chan struct{}
}

func (f *fakeTopic) PublishBatch(ctx context.Context, in *sns.PublishBatchInput, _ ...func(*sns.Options)) (*sns.PublishBatchOutput, error) {
	f.mu.Lock()
	call := f.calls
	f.calls++
	f.sizes = append(f.sizes, len(in.PublishBatchRequestEntries))
	if f.accepted == nil {
		f.accepted, f.known, f.flying = map[string][]string{}, map[string]bool{}, map[string]bool{}
	}
	for _, e := range in.PublishBatchRequestEntries {
		device := aws.ToString(e.MessageGroupId)
		if f.flying[device] {
			f.faults = append(f.faults, fmt.Sprintf("two unresolved events of device %s", device))
		}
		f.flying[device] = true
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, e := range in.PublishBatchRequestEntries {
			delete(f.flying, aws.ToString(e.MessageGroupId))
		}
	}()

	r := &reply{}
	if f.script != nil {
		if scripted := f.script(call, in); scripted != nil {
			r = scripted
		}
	}
	if r.holdUntil != nil {
		select {
		case <-r.holdUntil:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	select {
	case <-time.After(f.latency):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if r.err != nil && !r.actFirst {
		return nil, r.err
	}
	out := &sns.PublishBatchOutput{}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, e := range in.PublishBatchRequestEntries {
		if bad, ok := r.fail[i]; ok {
			bad.Id = e.Id
			out.Failed = append(out.Failed, bad)
			continue
		}
		if r.lose[i] {
			continue
		}
		id, device := sentID(e), aws.ToString(e.MessageGroupId)
		if key := aws.ToString(e.MessageDeduplicationId); !f.known[key] {
			f.known[key] = true
			f.accepted[device] = append(f.accepted[device], id)
		}
		if !r.leaveOut[i] {
			out.Successful = append(out.Successful, types.PublishBatchResultEntry{Id: e.Id, MessageId: aws.String("m-" + id)})
		}
	}
	return out, r.err
}

// sentID is the ID of the event in an entry.
func sentID(e types.PublishBatchRequestEntry) string {
	var id events.Identity
	if err := json.Unmarshal([]byte(aws.ToString(e.Message)), &id); err != nil {
		panic(err)
	}
	return id.ID
}

func (f *fakeTopic) snapshot() (calls int, sizes []int, accepted map[string][]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	accepted = map[string][]string{}
	for device, ids := range f.accepted {
		accepted[device] = append([]string(nil), ids...)
	}
	return f.calls, append([]int(nil), f.sizes...), accepted
}

// noFaults fails the test when the topic saw something that must never happen.
func (f *fakeTopic) noFaults(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range f.faults {
		t.Error(fault)
	}
}

var errReset = errors.New("read: connection reset by peer")

func apiError(code string, fault smithy.ErrorFault) error {
	return &smithy.OperationError{ServiceID: "SNS", OperationName: "PublishBatch", Err: &smithy.GenericAPIError{Code: code, Message: "scripted", Fault: fault}}
}

func newProducer(t *testing.T, api TopicAPI, cfg Config) *Producer {
	t.Helper()
	p, err := New(api, testTopic, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func motion(deviceID, id string) events.Event {
	e := events.New(deviceID, device.MotionChanged{Detected: true})
	e.ID = id
	return e
}

func mustClose(t *testing.T, p *Producer) {
	t.Helper()
	if err := p.Close(context.Background()); err != nil {
		t.Errorf("close: %v", err)
	}
	if s := p.Stats(); s.Buffered != 0 || s.Accepted != s.Confirmed+s.Failed {
		t.Errorf("after close: %+v, want nothing buffered and every accepted event answered", s)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lanes)+len(p.ready)+len(p.toLoad)+p.inMemory+len(p.acceptedAt.counts) > 0 || p.committing != 0 {
		t.Errorf("after close %d lanes are left, %d of them ready and %d toLoad, with %d events in memory, %d bytes to write and %d acceptance times",
			len(p.lanes), len(p.ready), len(p.toLoad), p.inMemory, p.committing, len(p.acceptedAt.counts))
	}
}

// answers collects results in the order in which they come.
type answers struct {
	mu   sync.Mutex
	list []Result
}

func (a *answers) add(r Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, r)
}

func (a *answers) all() []Result {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Result(nil), a.list...)
}

// closingContext ends after d, and not with the test.
func closingContext(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(context.WithoutCancel(t.Context()), d)
}
