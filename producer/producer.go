package producer

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/device-fanout/fanout/events"
)

// Producer publishes events to one topic. It is safe for concurrent use. Make one with [New] and end it with
// [Producer.Close]. It starts no goroutine before its first event and keeps none while it has nothing to send.
type Producer struct {
	api   TopicAPI
	topic string
	cfg   Config

	// requests is the context of every request. abort cancels it when the context of Close ends.
	requests context.Context
	abort    context.CancelFunc

	store      store  // the spool; nil without one
	slots      string // the folder of its and other spools; empty unless NewInSlot has made it
	closeStore func() error
	attributes attributeCache
	now        func() time.Time // tells when events are accepted and resolved
	spoolLog   rate.Sometimes   // limits what is logged about the spool

	mu           sync.Mutex // guards everything below; held for memory work only
	lanes        map[string]*lane
	ready        []*lane    // lanes whose first event may be sent, the longest waiting first
	waiters      *list.List // of *waiter: callers waiting for room, the longest waiting first
	underWay     int        // batches
	pace         pace
	roundTrip    time.Duration
	timer        *time.Timer // calls dispatch again when a batch that is not full has waited long enough
	sequence     int64
	lastAccepted time.Time // when the event with that sequence was accepted; at first, when the Producer was made
	acceptedAt   acceptanceTimes
	closed       bool
	aborted      bool          // Close has given up, and leaves what is left to the spool
	drained      chan struct{} // made by Close, closed once nothing is buffered and nothing is under way
	warned       time.Time
	stats        Stats

	// With a spool only.
	uncommitted  []*pending // not yet on disk, in their order
	committing   int64      // bytes of them, and of those that are being written
	waitingBytes int64      // of all that is not resolved
	writing      bool       // there is a goroutine that writes
	toLoad       []*lane    // lanes whose next events are to be read, the longest waiting first
	reading      bool       // there is a goroutine that reads
	inMemory     int        // events in lanes that have their body
	spoolErr     error      // why the spool could take no event the last time
}

// Result is the outcome of one event.
type Result struct {
	Event          events.Event // as it was sent, with its Sequence and Source
	MessageID      string       // SNS message ID; empty unless confirmed
	SequenceNumber string       // SNS sequence number; empty unless confirmed
	Spooled        bool         // the event is in the spool and not yet confirmed
	Err            error        // nil when the event is safe: the topic has confirmed it, or the spool has it
}

// Stats counts what a Producer has done so far.
type Stats struct {
	Accepted  int64     // events taken in, with those that New has found in the spool
	Confirmed int64     // by the topic
	Failed    int64     // accepted events that were not confirmed
	SetAside  int64     // events and damaged records that the spool has set aside
	Retried   int64     // entries that were sent again
	Batches   int64     // requests
	Entries   int64     // events in those requests, retries included
	Buffered  int       // accepted and not yet resolved, now
	Spooled   int       // of them in the spool
	Full      bool      // there may be no room for another event, of whatever device, now
	SpoolErr  error     // why the spool can take no event now: its folder is gone, or the disk refuses; ErrClosed after Close; nil when it can, or there is none
	Oldest    time.Time // when the oldest of them was accepted, to a tenth of a second; zero when there is none
}

// BatchFill is the mean number of entries in a request, or 0 before the first.
func (s Stats) BatchFill() float64 {
	if s.Batches == 0 {
		return 0
	}
	return float64(s.Entries) / float64(s.Batches)
}

// New makes a Producer for the topic with ARN topicARN. It makes no request, unless there is a spool with events that wait: these go out
// first of their devices. The error lists every fault of cfg, or is a [*SpoolError].
func New(api TopicAPI, topicARN string, cfg Config) (*Producer, error) {
	cfg = cfg.withDefaults()
	err := cfg.validate()
	if parts := strings.Split(topicARN, ":"); len(parts) != 6 || parts[0] != "arn" || parts[2] != "sns" || !strings.HasSuffix(topicARN, ".fifo") {
		err = errors.Join(fmt.Errorf("producer: topic ARN: got %q, want arn:aws:sns:REGION:ACCOUNT:NAME.fifo: "+
			"only a FIFO topic keeps a device's events in order", topicARN), err)
	}
	if err != nil {
		return nil, err
	}
	p := &Producer{api: api, topic: topicARN, cfg: cfg, lanes: map[string]*lane{}, waiters: list.New(), now: time.Now, lastAccepted: time.Now()}
	p.spoolLog.Interval = time.Second
	p.requests, p.abort = context.WithCancel(context.Background())
	p.closeStore = sync.OnceValue(func() error { return p.store.Close() })
	p.pace = pace{limit: cfg.MaxBatches, max: cfg.MaxBatches}
	if cfg.Spool != "" {
		if err := p.openSpool(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Publish sends one event and waits until it is safe, which nil says: the topic has confirmed it or, with a spool, it is on
// disk, from where it goes out whatever happens to this process. Otherwise it has failed: with an [*InvalidError],
// [*TooLargeError], [*PublishError], [*BlockedError], [*SpoolError] or [ErrClosed].
//
// ctx bounds only the caller's own wait. When it ends before the event was accepted, the event is not sent and the error is
// ctx's. When it ends later, the event still goes out, and the error is a [*PublishError] with [ErrUnknownOutcome]
// and ctx's error in its chain.
func (p *Producer) Publish(ctx context.Context, e events.Event) error {
	answer := make(chan Result, 1)
	if err := p.Enqueue(ctx, e, func(r Result) { answer <- r }); err != nil {
		return err
	}
	if r, ok := receive(ctx, answer); ok {
		return r.Err
	}
	return &PublishError{EventID: e.ID, DeviceID: e.DeviceID, Err: fmt.Errorf("%w: the caller stopped waiting: %w", ErrUnknownOutcome, ctx.Err())}
}

// receive waits for an answer until ctx ends. An answer that is there already is taken all the same.
func receive[T any](ctx context.Context, answers <-chan T) (answer T, ok bool) {
	select {
	case answer = <-answers:
		return answer, true
	case <-ctx.Done():
	}
	select {
	case answer = <-answers:
		return answer, true
	default:
		return answer, false
	}
}

// Enqueue accepts one event and returns at once, or waits for room while the buffer is full. After it has returned nil,
// done is called exactly once, when the event is safe, as for [Producer.Publish], or has failed; done may be nil. What becomes of an
// event after the spool has it, [Hooks].Resolved tells.
//
// Within a device, done is called in the order of acceptance. It runs on the goroutine that sends, so it must be quick and
// must not wait for this Producer; other devices of its batch wait for it.
//
// An error means that the event was not accepted: an [*InvalidError], [*TooLargeError], [ErrClosed], or ctx's error when it
// ended while waiting for room.
func (p *Producer) Enqueue(ctx context.Context, e events.Event, done func(Result)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	event, err := p.prepare(ctx, e, done)
	if err != nil {
		return err
	}
	w, err := p.accept(event, true)
	if w != nil {
		select {
		case err = <-w.admitted:
		case <-ctx.Done():
			if p.withdraw(w) {
				err = ctx.Err()
			} else {
				err = <-w.admitted // it got in, or the producer closed, at the same moment
			}
		}
	}
	if err != nil {
		return event.refuse(err)
	}
	return nil
}

// TryEnqueue is Enqueue that never waits: it fails with [ErrBufferFull] when there is no room.
func (p *Producer) TryEnqueue(e events.Event, done func(Result)) error {
	event, err := p.prepare(context.Background(), e, done)
	if err != nil {
		return err
	}
	if _, err = p.accept(event, false); err != nil {
		return event.refuse(err)
	}
	return nil
}

// PublishAll sends the events in their order and waits for all of them. The results stand in the order of the events. An event
// that was refused before acceptance has its error in its result and does not hinder the others.
// ctx is as for [Producer.Publish].
func (p *Producer) PublishAll(ctx context.Context, batch []events.Event) []Result {
	type answer struct {
		index  int
		result Result
	}
	answers := make(chan answer, len(batch))
	results := make([]Result, len(batch))
	open := map[int]bool{}
	for i, e := range batch {
		results[i].Event = e
		if err := p.Enqueue(ctx, e, func(r Result) { answers <- answer{i, r} }); err != nil {
			results[i].Err = err
			continue
		}
		open[i] = true
	}
	for len(open) > 0 {
		a, ok := receive(ctx, answers)
		if !ok {
			break
		}
		results[a.index] = a.result
		delete(open, a.index)
	}
	for i := range open {
		results[i].Err = &PublishError{
			EventID: batch[i].ID, DeviceID: batch[i].DeviceID,
			Err: fmt.Errorf("%w: the caller stopped waiting: %w", ErrUnknownOutcome, ctx.Err()),
		}
	}
	return results
}

// Stats returns what the Producer has done so far. With a spool it looks at the folder, and after a failed write tries once a second
// whether the disk takes one again.
func (p *Producer) Stats() Stats {
	var spoolErr error
	if p.store != nil {
		spoolErr = p.store.Check()
		p.noteSpool(spoolErr)
	}
	if errors.Is(spoolErr, os.ErrClosed) {
		spoolErr = ErrClosed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.SpoolErr = spoolErr
	s.Full = p.full()
	s.Oldest = p.acceptedAt.oldest()
	return s
}

// Close refuses new events, sends what is buffered, and returns once every accepted event is answered. When ctx ends before
// that, requests under way are cut off, every event that is left fails with [ErrClosed] in its chain, and Close returns an
// error with their number. A second Close waits for the first.
//
// With a spool, Close sends what is in it as long as ctx lets it. What is left then stays there for the next Producer, and is no
// error.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		p.drained = make(chan struct{})
		for e := p.waiters.Front(); e != nil; e = e.Next() {
			w := e.Value.(*waiter)
			w.place = nil
			w.admitted <- ErrClosed
		}
		p.waiters.Init()
		p.signalDrained()
	}
	drained := p.drained
	p.mu.Unlock()

	select {
	case <-drained:
		return p.end()
	case <-ctx.Done():
	}
	p.mu.Lock()
	left := p.stats.Buffered
	p.abort()
	var abandoned []*pending
	if p.store != nil {
		p.aborted = true
	} else {
		abandoned = p.takeIdleLanes()
	}
	p.mu.Unlock()
	for _, event := range abandoned {
		p.tell(event, Result{Err: event.failure(true)})
	}
	p.mu.Lock()
	p.stats.Failed += int64(len(abandoned))
	p.signalDrained()
	p.mu.Unlock()
	<-drained // the requests under way end at once, now that their context has ended
	err := p.end()
	if left == 0 || p.store != nil {
		return err
	}
	return fmt.Errorf("producer: close: %d events were not confirmed in time: %w", left, ctx.Err())
}

// end releases the resources of a drained Producer. It may be called again.
func (p *Producer) end() error {
	p.abort()
	if p.store == nil {
		return nil
	}
	if err := p.closeStore(); err != nil {
		return &SpoolError{Dir: p.cfg.Spool, Err: err}
	}
	return nil
}

// signalDrained tells Close that nothing is left, or nothing that it can do. The caller holds mu.
func (p *Producer) signalDrained() {
	if !p.closed || p.stats.Buffered > 0 && !p.aborted || p.underWay > 0 || p.writing || p.reading {
		return
	}
	select {
	case <-p.drained:
	default:
		close(p.drained)
	}
}
