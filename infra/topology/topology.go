package topology

import (
	"slices"
	"time"

	"github.com/device-fanout/fanout/consumers/failure"
)

// Topology is the declaration: which environments there are, and which services hear which events.
type Topology struct {
	// Name tells this topology from others in the same account: 1 to 20 lower-case letters, digits or hyphens, beginning with a
	// letter. Empty means DefaultName, whose names begin with the environment, as in dev-history.fifo. Those of every other
	// topology begin with its own name, as in shop-dev-orders.fifo, so that topologies share no name and no policy of one reaches
	// the resources of another. For this, no topology may be called like an environment of the one that has DefaultName.
	Name string
	// Prefix begins the name of every resource, where an account demands one, such as "acme-": up to 16 lower-case letters, digits
	// or hyphens, beginning with a letter and ending in a hyphen. Empty means none.
	Prefix string
	// Title is what the AsyncAPI document calls the topology, such as "Acme device events". Empty means one that is made of the name.
	Title string
	// License is that of the AsyncAPI document. The zero value states none.
	License License

	Environments []Environment
	Services     []Service

	fault error // what is wrong with the file of the environments
}

// License is a license, by its name and, unless that is empty, the address of its text.
type License struct {
	Name string // such as an identifier of SPDX
	URL  string
}

// Service is one consumer of device events, with a queue of its own.
type Service struct {
	// Name is the second part of the queue's name: lower-case letters, digits or hyphens, beginning with a letter.
	Name string
	// About says in one sentence what the service does with the events.
	About string
	// Owner is the team that answers for the service; it becomes a tag. Empty means none.
	Owner string
	// Events are the event types that the service hears; they become its filter policy. None means all.
	Events []string
	// Standard chooses a standard queue, which keeps no order and delivers duplicates as a matter of course; a slow event holds back no
	// other. It is for consumers with a runtime of their own: package consumers reads FIFO queues only.
	Standard bool
	// HandlerTimeout is the time that the handling of one event may take, its quick retries included, before its context ends: from
	// 100 ms to 1 h. It must be declared. The queue's visibility timeout follows from it; see [Service.VisibilityTimeout].
	HandlerTimeout time.Duration
	// MaxAge is how long an event may wait in the queue before that is an alarm, in whole seconds, from the visibility timeout to
	// the retention. Zero means 5 min, or twice the visibility timeout if that is more.
	MaxAge time.Duration
	// MaxSilence is how long the queue may get no event before that is an alarm, in whole minutes up to 24 h. Zero, or a
	// negative value, means no alarm: the environment has one for silence of the whole topic.
	MaxSilence time.Duration
	// MaxReceiveCount is how often a message may be received before SQS itself moves it to the dead-letter queue, from
	// MinReceiveCount to 1000. Zero means 10, or 1000 with the group policy block, under which no event may go there. It is a
	// backstop for crashes only: consumers decide on dead letters themselves, and every receive counts for all messages that it
	// returns, so that a low count would dead-letter events that nobody tried.
	//
	// Behind a Lambda function every pause of an outage ends in a receive, so that the count has to last: from
	// [MinLambdaReceiveCount], which is four hours. Zero means as many as the whole retention takes, but no more than an event that
	// ends its function every time uses up in half of it, each time for the visibility timeout: it must be in the dead-letter queue
	// before it expires. With a handler timeout of 10 s these are 288, which last for 38 hours.
	MaxReceiveCount int
	// GroupPolicy says what happens to a device's later events when one goes to the dead-letter queue.
	// Empty means [failure.Skip].
	GroupPolicy failure.GroupPolicy
	// Retention is how long an unread event is kept, from 1 min to less than the 14 days of the dead-letter queue. Zero means 4 days.
	Retention time.Duration
	// Compute says how the consumer runs in AWS. The zero value declares the queues only.
	Compute Compute
}

// DefaultName is the name of a topology that has none of its own.
const DefaultName = "device-events"

// Defaults of the declaration.
const (
	DefaultMaxReceiveCount = 10
	DefaultRetention       = 4 * 24 * time.Hour
	DefaultWaitTime        = 20 * time.Second
	DefaultMaxAge          = 5 * time.Minute

	// DLQRetention is the longest that SQS keeps a message.
	// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html.
	DLQRetention = 14 * 24 * time.Hour

	// MinReceiveCount is the lowest backstop that [Topology.Validate] accepts.
	MinReceiveCount = 5

	minVisibilityTimeout = 30 * time.Second
	maxVisibilityTimeout = 12 * time.Hour // that SQS allows
)

// Attributes are the names of the message attributes that producers set, and so all that a filter can look at. With raw
// delivery a message may have ten; a dead letter has one more, and tracing takes two.
// See https://docs.aws.amazon.com/sns/latest/dg/sns-large-payload-raw-message-delivery.html.
func Attributes() []string { return []string{"type", "source", "traceparent", "tracestate"} }

// New is the topology with the environments of a JSON file, in the form of [ParseEnvironments], and these services. A fault in the
// file is reported by [Topology.Validate] and [Topology.In].
func New(environments []byte, services []Service) Topology {
	parsed, err := ParseEnvironments(environments)
	return Topology{Environments: parsed, Services: services, fault: err}
}

// VisibilityTimeout is how long a received message stays hidden from other consumers unless its consumer extends it:
// twice the handler timeout, at least 30 s. A consumer extends it all the while; after a crash the device waits this long at most.
// Nobody extends it for a Lambda function, so that there it is six times the function's timeout, as AWS advises.
func (s Service) VisibilityTimeout() time.Duration {
	if s.Compute.Kind == Lambda {
		return 6 * s.LambdaTimeout()
	}
	return max(minVisibilityTimeout, (2 * s.HandlerTimeout).Round(time.Second))
}

// FilterPolicy is the subscription's filter on message attributes, or nil when the service hears all events.
func (s Service) FilterPolicy() map[string][]string {
	if len(s.Events) == 0 {
		return nil
	}
	return map[string][]string{"type": s.Events}
}

// Wants tells whether the service hears events of type eventType.
func (s Service) Wants(eventType string) bool {
	if len(s.Events) == 0 {
		return true
	}
	return slices.Contains(s.Events, eventType)
}

func (s Service) withDefaults() Service {
	if s.GroupPolicy == "" {
		s.GroupPolicy = failure.Skip
	}
	if s.Retention == 0 {
		s.Retention = DefaultRetention
	}
	if s.MaxReceiveCount == 0 {
		s.MaxReceiveCount = s.defaultMaxReceiveCount()
	}
	if s.MaxAge == 0 {
		s.MaxAge = max(DefaultMaxAge, 2*s.VisibilityTimeout())
	}
	s.Compute = s.Compute.withDefaults()
	return s
}
