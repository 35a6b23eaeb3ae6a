package local

import (
	"cmp"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/infra/local/internal/clock"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
	"github.com/device-fanout/fanout/infra/local/internal/topic"
	"github.com/device-fanout/fanout/infra/local/internal/wire"
	"github.com/device-fanout/fanout/internal/door"
)

// What an engine is when its [Options] do not say otherwise.
const (
	DefaultRegion  = "eu-central-1"
	DefaultAccount = "000000000000"
	DefaultAddr    = "127.0.0.1:4566"
)

// Options configure an [Engine]. The zero value is ready for use.
type Options struct {
	// AccountID is the account in ARNs and queue URLs: twelve digits. Empty means [DefaultAccount].
	AccountID string
	// Clock is the engine's time, for example a [NewClock]. Nil means the time package, which is also the fake time inside
	// testing/synctest.
	Clock clock.Clock
	// EnforcePolicies makes a topic deliver only to queues, and dead-letter queues of subscriptions, whose Policy attribute
	// allows it to send, as AWS does; otherwise policies are kept and have no effect. What is refused is lost, as on AWS,
	// while Publish succeeds.
	EnforcePolicies bool
	// Exposed lets the engine listen on addresses that other machines can reach, who can then do everything. It is for containers
	// and test networks.
	Exposed bool
	// Logger gets warnings, for example about listening to the whole network. Nil logs nothing.
	Logger *slog.Logger
	// Region is the region in ARNs. Empty means [DefaultRegion].
	Region string
}

// Clock is a time that a test moves by hand; see [NewClock].
type Clock = clock.Manual

// NewClock makes a clock that shows start and stands still until its Advance is called. With it as [Options].Clock, five
// minutes, four days or fourteen days pass in no time, without testing/synctest: deduplication, retention, delays,
// visibility timeouts and long polls all follow it. It does not move what does not belong to the engine, such as the
// pauses of an SDK client between attempts.
func NewClock(start time.Time) *Clock { return clock.NewManual(start) }

// Engine is SNS and SQS of one account in one region, in memory. It is an http.Handler; it opens no socket and starts
// no goroutine unless [Engine.Listen] is called. All methods are safe for concurrent use.
type Engine struct {
	region  string
	logger  *slog.Logger
	exposed bool
	queues  *queue.Service
	faults  faults.Set
	handler wire.Handler

	mu      sync.Mutex
	servers map[*door.Server]struct{} // guarded by mu, like closed
	closed  bool
	serving sync.WaitGroup // goroutines that Listen started
}

// New makes an engine without queues and topics.
func New(opts Options) *Engine {
	opts.Region = cmp.Or(opts.Region, DefaultRegion)
	opts.AccountID = cmp.Or(opts.AccountID, DefaultAccount)
	if opts.Clock == nil {
		opts.Clock = clock.Real()
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{
		region:  opts.Region,
		logger:  opts.Logger,
		exposed: opts.Exposed,
		queues:  queue.NewService(opts.Region, opts.AccountID, opts.Clock),
		servers: make(map[*door.Server]struct{}),
	}
	e.faults.Clock = opts.Clock
	e.queues.EnforcePolicies = opts.EnforcePolicies
	e.handler.Queues = e.queues
	e.handler.Topics = topic.NewService(opts.Region, opts.AccountID, opts.Clock, e.queues)
	e.handler.Faults = &e.faults
	e.handler.Clock = opts.Clock
	return e
}

// ServeHTTP answers one request of either service. It implements http.Handler.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) { e.handler.ServeHTTP(w, r) }

// Region is the region in the engine's ARNs.
func (e *Engine) Region() string { return e.region }

// Faults are the engine's fault rules; there are none at first.
func (e *Engine) Faults() *faults.Set { return &e.faults }

// Requests returns how many requests there were since the start, by action: "sns.PublishBatch", "sqs.ReceiveMessage".
// Those that were refused are included; those that were too malformed to have an action are not.
func (e *Engine) Requests() map[string]int64 { return e.handler.Requests() }

// Entries returns how many messages those requests carried, by action: the entries of batches, the messages that
// receives returned, and 1 for each other request. Entries divided by requests is the mean fill of batches.
func (e *Engine) Entries() map[string]int64 { return e.handler.Entries() }

// Billed returns how many requests AWS would bill, by action: one for each 64 KB of messages that a request carried in
// or out, and at least one for every request, empty receives included. Deliveries from topics to queues are not billed.
func (e *Engine) Billed() map[string]int64 { return e.handler.Billed() }

// QueueStatus is what one queue holds.
type QueueStatus = queue.Status

// LockedGroup is a message group that has a message in flight.
type LockedGroup = queue.LockedGroup

// Queues returns what every queue holds, by name, all of one moment: a message that moves to a dead-letter queue is
// always in one of the two. It costs little, whatever the queues hold, and may be called many times a second.
func (e *Engine) Queues() []QueueStatus { return e.queues.Status() }

// LockedGroups describes the message groups of a queue that have a message in flight: which message, since when, and how
// many wait behind it. It describes the first hundred, longest locked first; [QueueStatus] has the number of all.
// The error is that of a queue that does not exist.
func (e *Engine) LockedGroups(queueName string) ([]LockedGroup, error) {
	q, err := e.queues.Queue(queueName)
	if err != nil {
		return nil, err
	}
	return q.LockedGroups()
}

// Idle reports whether the named queues, or all if none is named, hold nothing visible, delayed or in flight.
// A name that is no queue's counts as idle.
func (e *Engine) Idle(names ...string) bool {
	for _, s := range e.Queues() {
		if (len(names) == 0 || slices.Contains(names, s.Name)) && s.Visible+s.InFlight+s.Delayed > 0 {
			return false
		}
	}
	return true
}

// ExpireVisibility makes the messages of a message group that are in flight visible at once, as if their visibility
// timeout had ended, and returns how many there were. An empty groupID means all groups. The handles that their
// receivers hold are expired then. The error is that of a queue that does not exist.
func (e *Engine) ExpireVisibility(queueName, groupID string) (int, error) {
	q, err := e.queues.Queue(queueName)
	if err != nil {
		return 0, err
	}
	return q.ExpireVisibility(groupID)
}

// closeTimeout is how long Close waits for requests under way before it cuts their connections.
const closeTimeout = 2 * time.Second
