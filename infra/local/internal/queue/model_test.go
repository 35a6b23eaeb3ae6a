package queue_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/clock"
	"github.com/device-fanout/fanout/infra/local/internal/dedup"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

// handClock is a clock that a test moves by hand. Nothing waits in these tests, so nobody is ever called back.
type handClock struct {
	mu  sync.Mutex
	now time.Time
}

func newHandClock() *handClock { return &handClock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)} }

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *handClock) AfterFunc(time.Duration, func()) clock.Timer { return deadTimer{} }

type deadTimer struct{}

func (deadTimer) Stop() bool               { return true }
func (deadTimer) Reset(time.Duration) bool { return true }

// model is the obviously correct queue: a list of all messages ever stored, and the rule, applied by looking at all.
type model struct {
	fifo      bool
	now       time.Time
	maxCount  int
	retention time.Duration
	delay     time.Duration
	messages  []*modelMessage
	dead      []*modelMessage      // in the dead-letter queue, in its order
	accepted  map[string]time.Time // deduplication IDs and when they were first accepted
}

type modelMessage struct {
	body, group string         // no two have the same body
	id          queue.ID       // zero when a move task made it and nobody has received it yet
	sequence    queue.Sequence // likewise
	sent        time.Time
	delayed     bool      // has not become visible yet
	hiddenUntil time.Time // zero when visible
	received    time.Time // the last time
	receives    int
	handles     []string // of all receives, the last one at the end
}

func (m *modelMessage) String() string {
	return fmt.Sprintf("%s@%s(%d receives, hidden until %v)", m.body, m.group, m.receives, m.hiddenUntil)
}

// pass lets all happen that time has brought.
func (m *model) pass(d time.Duration) {
	m.now = m.now.Add(d)
	for _, msg := range m.messages {
		if !msg.hiddenUntil.After(m.now) {
			msg.hiddenUntil, msg.delayed = time.Time{}, false
		}
	}
	m.messages = slices.DeleteFunc(m.messages, func(msg *modelMessage) bool {
		return !msg.sent.Add(m.retention).After(m.now)
	})
}

// deliverable is the rule.
func (m *model) deliverable(msg *modelMessage) bool {
	if !msg.hiddenUntil.IsZero() {
		return false
	}
	if !m.fifo {
		return true
	}
	for _, earlier := range m.messages {
		if earlier == msg {
			return true
		}
		if earlier.group == msg.group && !earlier.hiddenUntil.IsZero() {
			return false
		}
	}
	return false
}

// find finds what was received, and takes down the ID of what a move task made.
func (m *model) find(d queue.Delivery) *modelMessage {
	for _, msg := range m.messages {
		switch {
		case msg.id == d.MessageID:
			return msg
		case msg.id == queue.ID{} && msg.body == d.Body:
			msg.id, msg.sequence = d.MessageID, d.Sequence
			return msg
		}
	}
	return nil
}

// enter puts a message that was sent or moved now into the queue.
func (m *model) enter(msg *modelMessage) {
	msg.sent = m.now
	if m.delay > 0 {
		msg.delayed, msg.hiddenUntil = true, m.now.Add(m.delay)
	}
	m.messages = append(m.messages, msg)
}

func (m *model) remove(msg *modelMessage) {
	m.messages = slices.DeleteFunc(m.messages, func(other *modelMessage) bool { return other == msg })
}

// machine drives a queue and its model side by side.
type machine struct {
	clock   *handClock
	service *queue.Service
	source  *queue.Queue
	dlq     *queue.Queue
	model   *model
	sent    int
	handles []string // ever given

	refilled int // deduplication IDs of what was put back into the dead-letter queue
}

func newMachine(t *rapid.T, isFIFO bool) *machine {
	m := &machine{clock: newHandClock()}
	m.service = queue.NewService("r", "a", m.clock)
	maxCount := rapid.IntRange(1, 4).Draw(t, "maxReceiveCount")
	suffix, attributes := "", map[string]string{}
	if isFIFO {
		suffix = ".fifo"
		attributes[queue.AttrFifoQueue] = "true"
	}
	create := func(name string) *queue.Queue {
		q, err := m.service.Create(name+suffix, attributes, nil)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	m.dlq = create("dlq")
	attributes[queue.AttrMessageRetentionPeriod] = "600"
	delay := rapid.SampledFrom([]int{0, 0, 7}).Draw(t, "delay")
	attributes[queue.AttrDelaySeconds] = strconv.Itoa(delay)
	attributes[queue.AttrRedrivePolicy] = fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, m.service.ARN("dlq"+suffix), maxCount)
	m.source = create("source")
	m.model = &model{
		fifo: isFIFO, now: m.clock.Now(), maxCount: maxCount, retention: 600 * time.Second,
		delay: time.Duration(delay) * time.Second, accepted: map[string]time.Time{},
	}
	return m
}

func (m *machine) pass(t *rapid.T) {
	d := time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second
	if rapid.IntRange(0, 19).Draw(t, "long") == 0 {
		d = 5 * time.Minute
	}
	m.clock.move(d)
	m.model.pass(d)
}

func (m *machine) send(t *rapid.T) {
	m.sent++
	body, group := fmt.Sprintf("m%d", m.sent), rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "group")
	in := queue.SendInput{Content: queue.NewContent(body, nil, ""), GroupID: &group}
	duplicate := false
	if m.model.fifo {
		id := body
		if m.sent > 1 && rapid.IntRange(0, 4).Draw(t, "repeat") == 0 {
			id = fmt.Sprintf("m%d", rapid.IntRange(1, m.sent-1).Draw(t, "earlier"))
		}
		in.DeduplicationID = &id
		first, known := m.model.accepted[id]
		if duplicate = known && m.model.now.Sub(first) < dedup.Interval; !duplicate {
			m.model.accepted[id] = m.model.now
		}
	}
	out, err := m.source.Send(in)
	if err != nil {
		t.Fatal(err)
	}
	if duplicate {
		return
	}
	msg := &modelMessage{body: body, group: group, id: out.MessageID, sequence: out.Sequence}
	if n := len(m.model.messages); m.model.fifo && n > 0 && m.model.messages[n-1].sequence >= out.Sequence {
		t.Fatalf("sequence number %s follows %s", out.Sequence, m.model.messages[n-1].sequence)
	}
	m.model.enter(msg)
}

func (m *machine) receive(t *rapid.T) {
	limit, visibility := rapid.IntRange(1, 10).Draw(t, "max"), rapid.IntRange(1, 60).Draw(t, "visibility")
	deliveries, err := m.source.Receive(t.Context(), queue.ReceiveInput{MaxMessages: &limit, VisibilityTimeout: &visibility, WaitTime: new(int)})
	if err != nil {
		t.Fatal(err)
	}
	m.moveDead(t)
	// What was received in this call is in flight, but does not hold back what follows in the same call.
	var taken []*modelMessage
	for _, d := range deliveries {
		msg := m.model.find(d)
		switch {
		case msg == nil:
			t.Fatalf("received %s, which is not in the queue", d.Body)
		case !m.model.deliverable(msg):
			t.Fatalf("received %v, which was not deliverable", msg)
		case d.ReceiveCount != msg.receives+1 || d.ReceiveCount > m.model.maxCount:
			t.Fatalf("received %v with count %d, allowed are %d", msg, d.ReceiveCount, m.model.maxCount)
		case d.Body != msg.body || d.GroupID != msg.group || d.Sequence != msg.sequence:
			t.Fatalf("received %s@%s, %s, want %v, %s", d.Body, d.GroupID, d.Sequence, msg, msg.sequence)
		}
		for _, other := range taken {
			if other == msg || m.model.fifo && other.group == msg.group && other.sequence > msg.sequence {
				t.Fatalf("received %v after %v", msg, other)
			}
		}
		if m.model.fifo {
			for _, earlier := range m.model.messages {
				if earlier == msg {
					break
				}
				if earlier.group == msg.group && !slices.Contains(taken, earlier) {
					t.Fatalf("received %v before %v", msg, earlier)
				}
			}
		}
		handle := d.ReceiptHandle()
		msg.handles = append(msg.handles, handle)
		m.handles = append(m.handles, handle)
		taken = append(taken, msg)
	}
	for _, msg := range taken {
		msg.receives++
		msg.received = m.model.now
		msg.hiddenUntil = m.model.now.Add(time.Duration(visibility) * time.Second)
	}
	if len(deliveries) < limit {
		for _, msg := range m.model.messages {
			if m.model.deliverable(msg) {
				t.Fatalf("received %d of up to %d, but not %v, which is deliverable", len(deliveries), limit, msg)
			}
		}
	}
}

// moveDead follows the moves to the dead-letter queue. Which of the messages that are due are moved by a receive depends on
// how far it gets, but only those that are due may be. To see all of that queue, behind ten of a group too, it is emptied
// and filled again.
func (m *machine) moveDead(t *rapid.T) {
	var inOrder []*modelMessage
	for {
		ten := 10
		deliveries, err := m.dlq.Receive(t.Context(), queue.ReceiveInput{MaxMessages: &ten, WaitTime: new(int)})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range deliveries {
			if errs, err := m.dlq.Delete([]string{d.ReceiptHandle()}); err != nil || errs[0] != nil {
				t.Fatal(err, errs)
			}
			known := slices.IndexFunc(m.model.dead, func(msg *modelMessage) bool { return msg.body == d.Body })
			if known >= 0 {
				inOrder = append(inOrder, m.model.dead[known])
				continue
			}
			msg := m.model.find(d)
			if msg == nil || msg.receives != m.model.maxCount || !m.model.deliverable(msg) {
				t.Fatalf("%s moved to the dead-letter queue, which was not due: %v", d.Body, msg)
			}
			if d.ReceiveCount != msg.receives+1 || d.DeadLetterSource != m.source.ARN() {
				t.Fatalf("%v has count %d and source %s in the dead-letter queue", msg, d.ReceiveCount, d.DeadLetterSource)
			}
			m.model.remove(msg)
			inOrder = append(inOrder, msg)
		}
		if len(deliveries) == 0 {
			break
		}
	}
	if len(inOrder) < len(m.model.dead) {
		t.Fatalf("the dead-letter queue holds %v, it held %v", inOrder, m.model.dead)
	}
	m.model.dead = inOrder
	for _, msg := range inOrder {
		in := queue.SendInput{Content: queue.NewContent(msg.body, nil, ""), GroupID: &msg.group}
		if m.model.fifo {
			m.refilled++
			id := fmt.Sprint(m.refilled)
			in.DeduplicationID = &id
		}
		if _, err := m.dlq.Send(in); err != nil {
			t.Fatal(err)
		}
	}
}

// moveBack brings all dead letters back, as new messages behind those that are there.
func (m *machine) moveBack(t *rapid.T) {
	if _, err := m.service.StartMove(m.dlq.ARN(), m.source.ARN(), nil); err != nil {
		t.Fatal(err)
	}
	tasks, err := m.service.Moves(m.dlq.ARN(), 1)
	if err != nil || tasks[0].Status != queue.MoveCompleted || tasks[0].Moved != len(m.model.dead) {
		t.Fatalf("moved %v, %v, want %d", tasks, err, len(m.model.dead))
	}
	for _, msg := range m.model.dead {
		m.model.enter(&modelMessage{body: msg.body, group: msg.group})
	}
	m.model.dead = nil
}

// handle draws a handle that was given some time.
func (m *machine) handle(t *rapid.T) string {
	if len(m.handles) == 0 {
		t.Skip("no handles yet")
	}
	from := max(0, len(m.handles)-20) // mostly recent ones
	return rapid.SampledFrom(m.handles[from:]).Draw(t, "handle")
}

func (m *machine) holder(handle string) (msg *modelMessage, current bool) {
	for _, msg := range m.model.messages {
		if i := slices.Index(msg.handles, handle); i >= 0 {
			return msg, i == len(msg.handles)-1 && !msg.hiddenUntil.IsZero()
		}
	}
	return nil, false
}

func (m *machine) delete(t *rapid.T) {
	handle := m.handle(t)
	errs, err := m.source.Delete([]string{handle})
	if err != nil {
		t.Fatal(err)
	}
	msg, current := m.holder(handle)
	if refused := m.model.fifo && msg != nil && !current; refused != (errs[0] != nil) {
		t.Fatalf("deleting %v by a handle (current: %t): got error %v", msg, current, errs[0])
	}
	if errs[0] == nil && msg != nil {
		m.model.remove(msg)
	}
}

func (m *machine) hide(t *rapid.T) {
	handle, seconds := m.handle(t), rapid.IntRange(0, 60).Draw(t, "seconds")
	errs, err := m.source.ChangeVisibility([]queue.VisibilityChange{{ReceiptHandle: handle, VisibilityTimeout: seconds}})
	if err != nil {
		t.Fatal(err)
	}
	msg, current := m.holder(handle)
	refused := msg == nil || m.model.fifo && !current
	if apiErr, ok := errors.AsType[*apierr.Error](errs[0]); refused != ok || ok && apiErr.Code != queue.CodeInvalidParameter {
		t.Fatalf("hiding %v by a handle (current: %t): got error %v", msg, current, errs[0])
	}
	if refused {
		return
	}
	msg.hiddenUntil = time.Time{}
	if seconds > 0 {
		msg.hiddenUntil = m.model.now.Add(time.Duration(seconds) * time.Second)
	}
}

// check compares the counters.
func (m *machine) check(t *rapid.T) {
	var got queue.Status
	for _, s := range m.service.Status() {
		switch {
		case s.Name == m.source.Name():
			got = s
		case s.Visible != len(m.model.dead) || s.InFlight != 0:
			t.Fatalf("the dead-letter queue holds %+v, want %v", s, m.model.dead)
		}
	}
	want := queue.Status{Name: got.Name, FIFO: got.FIFO}
	locked := map[string]bool{}
	for _, msg := range m.model.messages {
		want.OldestAge = max(want.OldestAge, m.model.now.Sub(msg.sent))
		switch {
		case msg.delayed:
			want.Delayed++
		case msg.hiddenUntil.IsZero():
			want.Visible++
		default:
			want.InFlight++
			locked[msg.group] = m.model.fifo
		}
	}
	for _, is := range locked {
		if is {
			want.LockedGroups++
		}
	}
	if got != want {
		t.Fatalf("the queue holds %+v, want %+v", got, want)
	}
}

func testAgainstModel(t *testing.T, isFIFO bool) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMachine(t, isFIFO)
		t.Repeat(map[string]func(*rapid.T){
			"send": m.send, "send again": m.send, "receive": m.receive, "receive again": m.receive,
			"delete": m.delete, "delete again": m.delete, "hide": m.hide, "pass": m.pass, "move back": m.moveBack, "": m.check,
		})
	})
}

func TestQueue_FIFOBehavesLikeTheModel(t *testing.T) {
	t.Parallel()
	testAgainstModel(t, true)
}

func TestQueue_StandardBehavesLikeTheModel(t *testing.T) {
	t.Parallel()
	testAgainstModel(t, false)
}
