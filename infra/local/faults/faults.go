package faults

import (
	"cmp"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/device-fanout/fanout/infra/local/internal/clock"
)

// Kind is what happens to a request or to an entry of a batch.
type Kind int

const (
	// FailEntry fails single entries of a batch with a code; the others go on. A Publish or SendMessage of one message is
	// refused as a whole.
	FailEntry Kind = iota + 1
	// Throttle refuses the request with a throttling error, before anything was done: every request, or those that come
	// faster than Rule.Rate.
	Throttle
	// Error500 answers with an internal error, before anything was done.
	Error500
	// DropReply does what was asked and then loses the answer: the client sees a broken connection.
	DropReply
	// ExpireVisibility ends the visibility timeout of what a receive returns as soon as it has been returned.
	ExpireVisibility
	// Delay lets the request wait before anything is done, by the engine's clock. It goes along with other faults.
	Delay
	// CloseConnection breaks the connection before anything was done.
	CloseConnection
	// Redeliver answers that messages were deleted and does not delete them, so that they come again when their
	// visibility timeout ends. That happens on standard queues only, and this concerns no others.
	Redeliver
	// WrongChecksum gives wrong MD5 checksums of bodies and attributes with the messages of a receive, as after an error in
	// transmission. Clients that compare them refuse the answer, while its messages are in flight.
	WrongChecksum
)

var kindNames = map[Kind]string{
	FailEntry: "fail_entry", Throttle: "throttle", Error500: "error_500", DropReply: "drop_reply",
	ExpireVisibility: "expire_visibility", Delay: "delay", CloseConnection: "close_connection", Redeliver: "redeliver",
	WrongChecksum: "wrong_checksum",
}

// String is the kind's name, such as "fail_entry".
func (k Kind) String() string { return cmp.Or(kindNames[k], "unknown") }

// Kinds are the names of all kinds, sorted.
func Kinds() []string { return slices.Sorted(maps.Values(kindNames)) }

// Rule says which requests have which fault. Conditions left at zero match everything.
type Rule struct {
	// Kind is the kind of fault. It is the only required field.
	Kind Kind
	// Action is the API action, such as "PublishBatch", or "sns.PublishBatch" where both services have it.
	Action string
	// Resource is the name (not the ARN) of the queue or topic.
	Resource string
	// Group is the message group of the message, or of any entry of the batch.
	Group string
	// Entry is the position of the entry in its batch: 1 is the first. It only concerns FailEntry.
	Entry int
	// EntryID is the ID of the entry in its batch. It only concerns FailEntry.
	EntryID string
	// Code is the error code of FailEntry, "" means "InternalError"; and of Throttle, "" means "Throttled" for SNS and
	// "RequestThrottled" for SQS.
	Code string
	// SenderFault is what FailEntry says about whose fault it was. False invites a retry.
	SenderFault bool
	// Delay is how long Delay lets a request wait: always so long, or half of the requests at most so long when DelayP99
	// is set too.
	Delay time.Duration
	// DelayP99 is how long 99 of 100 requests wait at most; the waits are spread log-normally then. 0 means always Delay.
	DelayP99 time.Duration
	// Rate is how many requests a second Throttle lets through, in bursts of up to a second's worth and at least of one.
	// 0 means none.
	Rate float64
	// After is how long after it was added the rule begins to apply.
	After time.Duration
	// For is how long the rule applies from then on; 0 means without end.
	For time.Duration
	// Count is how often the rule applies before it is spent: entries for FailEntry, requests for the others.
	// 0 means without end.
	Count int
	// Probability is the chance that the rule applies when it matches; 0 means always.
	Probability float64
	// Seed makes the draws of Probability repeatable.
	Seed uint64
}

// Request is what rules are matched against.
type Request struct {
	Service  string // "sns" or "sqs"
	Action   string
	Resource string
	Entries  []Entry // of a batch; one without ID for an action on a single message
	Batch    bool
}

// Entry is one message of a request, as far as it is known.
type Entry struct{ ID, Group string }

// Failure is what a failed entry is answered with.
type Failure struct {
	Code        string
	SenderFault bool
}

// Verdict is what happens to a request.
type Verdict struct {
	// Kind is what happens to the request as a whole, or 0: any kind but FailEntry and Delay.
	Kind Kind
	// Delay is how long the request waits first.
	Delay time.Duration
	// Code is the code of Throttle, or "" for the usual one.
	Code string
	// Failed holds the entries that fail, by position from 0. It is nil when none does.
	Failed map[int]Failure
}

// Set is a changing set of rules. The zero value has none. It is safe for concurrent use.
type Set struct {
	// Clock is the time that After, For and Rate follow. Nil means that of the time package. It is set before the first use.
	Clock clock.Clock

	mu       sync.Mutex
	rules    []*active
	injected map[Kind]int64
}

type active struct {
	Rule
	left  int // when Count is set
	rand  *rand.Rand
	added time.Time

	limiter *rate.Limiter // of Rate; nil without one
}

// Add adds a rule behind those that are there.
func (s *Set) Add(r Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rule := &active{Rule: r, left: r.Count, rand: rand.New(rand.NewPCG(r.Seed, 0)), added: s.now()}
	if r.Rate > 0 {
		rule.limiter = rate.NewLimiter(rate.Limit(r.Rate), max(1, int(r.Rate)))
	}
	s.rules = append(s.rules, rule)
}

func (s *Set) now() time.Time {
	if s.Clock == nil {
		return time.Now()
	}
	return s.Clock.Now()
}

// Clear removes all rules. The counters stay.
func (s *Set) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
}

// Injected returns how often each kind was injected: entries for FailEntry, requests for the others.
func (s *Set) Injected() map[Kind]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.injected)
}

// Active reports whether there are rules at all, so that a request need not be described for nothing.
func (s *Set) Active() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rules) > 0
}

// Judge decides what happens to a request, and uses up the counts of the rules that apply.
func (s *Set) Judge(r Request) Verdict {
	s.mu.Lock()
	defer s.mu.Unlock()
	var v Verdict
	now := s.now()
	for _, rule := range s.rules {
		if !rule.inForce(now) || !rule.matches(r) {
			continue
		}
		if rule.Kind == Delay {
			if v.Delay == 0 && rule.matchesAnyGroup(r) && s.applies(rule) {
				v.Delay = rule.draw()
			}
			continue
		}
		if rule.Kind != FailEntry {
			if v.Kind == 0 && rule.matchesAnyGroup(r) && !rule.passes(now) && s.applies(rule) {
				v.Kind, v.Code = rule.Kind, rule.Code
			}
			continue
		}
		for i, entry := range r.Entries {
			if _, failed := v.Failed[i]; failed || !rule.matchesEntry(i, entry) || !s.applies(rule) {
				continue
			}
			if v.Failed == nil {
				v.Failed = make(map[int]Failure)
			}
			v.Failed[i] = Failure{Code: cmp.Or(rule.Code, "InternalError"), SenderFault: rule.SenderFault}
		}
	}
	return v
}

// applies draws and counts. The set's lock is held.
func (s *Set) applies(rule *active) bool {
	if rule.Count > 0 && rule.left == 0 {
		return false
	}
	if rule.Probability > 0 && rule.rand.Float64() >= rule.Probability {
		return false
	}
	rule.left--
	if s.injected == nil {
		s.injected = make(map[Kind]int64)
	}
	s.injected[rule.Kind]++
	return true
}

func (r *active) matches(q Request) bool {
	service, action, qualified := strings.Cut(r.Action, ".")
	if !qualified {
		service, action = "", r.Action
	}
	return (service == "" || service == q.Service) &&
		(action == "" || action == q.Action) &&
		(r.Resource == "" || r.Resource == q.Resource) &&
		(r.Kind != Redeliver || strings.HasPrefix(q.Action, "DeleteMessage") && !strings.HasSuffix(q.Resource, ".fifo")) &&
		(r.Kind != WrongChecksum || q.Action == "ReceiveMessage")
}

func (r *active) inForce(now time.Time) bool {
	since := now.Sub(r.added) - r.After
	return since >= 0 && (r.For == 0 || since < r.For)
}

// passes tells whether the rule's rate lets a request through, and counts it. The set's lock is held.
func (r *active) passes(now time.Time) bool {
	return r.limiter != nil && r.limiter.AllowN(now, 1)
}

// p99Deviations is how many standard deviations the 99th percentile of a normal distribution is above its middle.
const p99Deviations = 2.3263

// draw is how long a delay is this time. The set's lock is held.
func (r *active) draw() time.Duration {
	if r.DelayP99 <= r.Delay || r.Delay <= 0 {
		return r.Delay
	}
	sigma := math.Log(float64(r.DelayP99)/float64(r.Delay)) / p99Deviations
	return time.Duration(float64(r.Rule.Delay) * math.Exp(sigma*r.rand.NormFloat64()))
}

func (r *active) matchesAnyGroup(q Request) bool {
	return r.Group == "" || slices.ContainsFunc(q.Entries, func(e Entry) bool { return e.Group == r.Group })
}

func (r *active) matchesEntry(i int, entry Entry) bool {
	return (r.Group == "" || r.Group == entry.Group) &&
		(r.Entry == 0 || r.Entry == i+1) &&
		(r.EntryID == "" || r.EntryID == entry.ID)
}
