package queue

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/clock"
)

// recently is how long a deleted queue's name cannot be used, and how long a purge keeps the next one away.
const recently = time.Minute

// Service is the queues of one account in one region. It is safe for concurrent use.
type Service struct {
	// EnforcePolicies lets only those topics deliver to a queue that its policy allows. It is set before the first use.
	EnforcePolicies bool

	region, account string
	clock           clock.Clock
	epoch           time.Time // with Go's monotonic reading, so that a step of the wall clock does no harm

	mu      sync.Mutex
	queues  map[string]*Queue // by name
	arns    map[string]*Queue
	deleted map[string]int64 // when a queue of that name was deleted
	awake   []*Queue         // queues with waiters to look after before the lock is given back
	closed  bool
	// lastSequence numbers the messages of all queues. It goes on from the time in microseconds, so that the numbers of
	// an engine that is started anew follow those of the old one, at up to a million messages a second.
	lastSequence Sequence
}

// NewService makes a service without queues.
func NewService(region, account string, c clock.Clock) *Service {
	epoch := c.Now()
	return &Service{
		region:  region,
		account: account,
		clock:   c,
		epoch:   epoch,
		queues:  make(map[string]*Queue),
		arns:    make(map[string]*Queue),
		deleted: make(map[string]int64),

		lastSequence: Sequence(epoch.UnixMicro()),
	}
}

// now is the time in Unix nanoseconds. It never goes back.
func (s *Service) now() int64 {
	return s.epoch.UnixNano() + int64(s.clock.Now().Sub(s.epoch))
}

// lock takes the lock and tells the time.
func (s *Service) lock() int64 {
	s.mu.Lock()
	return s.now()
}

// unlock hands messages to the long polls of every queue that was woken, and gives the lock back.
func (s *Service) unlock(now int64) {
	// Serving may move messages to dead-letter queues, which wakes those, also when they have had their turn. Policies may
	// form a cycle, so there are only as many rounds as a chain through all queues has moves.
	for round, i := 0, 0; round <= len(s.queues) && i < len(s.awake); round++ {
		for end := len(s.awake); i < end; i++ {
			s.awake[i].woken = false
			s.awake[i].serve(now)
		}
	}
	for i, q := range s.awake {
		q.woken = false
		s.awake[i] = nil
	}
	s.awake = s.awake[:0]
	s.mu.Unlock()
}

// wake notes that q may have something for its long polls.
func (s *Service) wake(q *Queue) {
	if !q.woken && q.waiters.first != nil {
		q.woken = true
		s.awake = append(s.awake, q)
	}
}

// ARN is the ARN of the queue named name.
func (s *Service) ARN(name string) string {
	return "arn:aws:sqs:" + s.region + ":" + s.account + ":" + name
}

// Account is the account that owns the queues.
func (s *Service) Account() string { return s.account }

func (s *Service) byARN(arn string) *Queue { return s.arns[arn] }

// Create makes a queue, or returns the one of that name when its attributes do not differ from the given ones.
func (s *Service) Create(name string, attributes, tags map[string]string) (*Queue, error) {
	isFIFO, err := checkName(name, attributes)
	if err != nil {
		return nil, err
	}
	if err := checkTags(tags); err != nil {
		return nil, err
	}
	if len(tags) > maxTags {
		return nil, errTooManyTags(name)
	}

	now := s.lock()
	defer s.unlock(now)
	if q := s.queues[name]; q != nil {
		if err := q.sameAs(attributes); err != nil {
			return nil, err
		}
		return q, nil
	}
	c := defaultConfig()
	if err := c.apply(attributes, isFIFO); err != nil {
		return nil, err
	}
	for name, at := range s.deleted {
		if now-at >= int64(recently) {
			delete(s.deleted, name)
		}
	}
	if _, ok := s.deleted[name]; ok {
		return nil, apierr.New(CodeDeletedRecently,
			"You must wait 60 seconds after deleting a queue before you can create another with the same name.")
	}
	if err := s.checkRedrive(s.ARN(name), isFIFO, c.redrive); err != nil {
		return nil, err
	}
	q := newQueue(s, name, isFIFO, c, now)
	maps.Copy(q.tags, tags)
	s.queues[name], s.arns[q.arn] = q, q
	return q, nil
}

// Queue returns the queue named name.
func (s *Service) Queue(name string) (*Queue, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q := s.queues[name]; q != nil {
		return q, nil
	}
	return nil, errNonExistentQueue()
}

// Exists reports whether there is a queue of that ARN.
func (s *Service) Exists(arn string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arns[arn] != nil
}

// Delete removes a queue with its messages. Its long polls end with an error.
func (s *Service) Delete(name string) error {
	now := s.lock()
	defer s.unlock(now)
	q := s.queues[name]
	if q == nil {
		return errNonExistentQueue()
	}
	delete(s.queues, name)
	delete(s.arns, q.arn)
	s.deleted[name] = now
	q.deleted = true
	q.clear()
	q.endWaiters(errNonExistentQueue())
	return nil
}

// Names returns the names of the queues that start with prefix, sorted.
func (s *Service) Names(prefix string) []string {
	return s.names(func(q *Queue) bool { return strings.HasPrefix(q.name, prefix) })
}

// DeadLetterSources returns the names of the queues whose redrive policy names dlq, sorted.
func (s *Service) DeadLetterSources(dlq *Queue) []string {
	return s.names(func(q *Queue) bool { return q.config.redrive.targetARN == dlq.arn })
}

func (s *Service) names(of func(*Queue) bool) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.queues)) {
		if of(s.queues[name]) {
			names = append(names, name)
		}
	}
	return names
}

// Close ends all long polls with an empty answer; those that come later are short polls. Message move tasks that run
// fail. Everything else goes on.
func (s *Service) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, q := range s.queues {
		q.endWaiters(nil)
		q.endMoves()
	}
}

// checkName checks a new queue's name, and tells whether it is a FIFO queue.
func checkName(name string, attributes map[string]string) (isFIFO bool, err error) {
	const want = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
	base, suffixed := strings.CutSuffix(name, ".fifo")
	legal := ValidName(base) && len(name) <= 80
	value, given := attributes[AttrFifoQueue]
	switch value = strings.ToLower(value); {
	case !legal:
		return false, apierr.New(CodeInvalidParameter, want)
	case !given && suffixed:
		return false, apierr.New(CodeInvalidParameter, want)
	case !given:
		return false, nil
	case value == "false" && suffixed:
		return false, apierr.New(CodeInvalidParameter, want)
	case value == "false":
		return false, errUnknownAttribute(AttrFifoQueue)
	case value != "true":
		return false, errAttributeValue(AttrFifoQueue)
	case !suffixed:
		return false, apierr.New(CodeInvalidParameter, "The name of a FIFO queue can only include alphanumeric "+
			"characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.")
	}
	return true, nil
}

// Status is what a queue holds at one moment.
type Status struct {
	Name string
	FIFO bool
	// Visible is the number of available messages, those behind a locked group's message in flight included.
	Visible  int
	InFlight int // received, not deleted, not yet visible again
	Delayed  int
	// OldestAge is the age of the oldest message in any state, by its send time; 0 when there is none.
	OldestAge time.Duration
	// LockedGroups is the number of message groups that have a message in flight.
	LockedGroups int
	// Waiting is the number of long polls that wait.
	Waiting int
}

// Status returns the status of every queue, by name, all of the same moment. It costs little per queue, whatever the
// queues hold.
func (s *Service) Status() []Status {
	now := s.lock()
	defer s.unlock(now)
	all := make([]Status, 0, len(s.queues))
	for _, q := range s.queues {
		all = append(all, q.status(now))
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
