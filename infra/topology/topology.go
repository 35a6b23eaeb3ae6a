package topology

import (
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
)

// Topology is the declaration: which environments there are, and which services hear which events.
type Topology struct {
	Environments []Environment
	Services     []Service
}

// Environment is one copy of the whole fan-out.
type Environment struct {
	// Name is the first part of every resource's name: 1 to 16 lower-case letters, digits or hyphens, beginning with a letter.
	Name string
	// WaitTime is how long one receive waits for a message (long polling), in whole seconds from 1 to 20. Zero means 20 s,
	// which costs least. A consumer that stops lets its last receive end by itself, so a shorter one stops sooner.
	WaitTime time.Duration
}

// Service is one consumer of device events, with a queue of its own.
type Service struct {
	// Name is the second part of the queue's name: lower-case letters, digits or hyphens, beginning with a letter.
	Name string
	// About says in one sentence what the service does with the events.
	About string
	// Events are the event types that the service hears; they become its filter policy. None means all.
	Events []string
	// Budget is the time that the handling of one event may take before its context ends, from 100 ms to 1 h. Zero means 10 s.
	// The queue's visibility timeout follows from it; see [Service.VisibilityTimeout].
	Budget time.Duration
	// MaxReceiveCount is how often a message may be received before SQS itself moves it to the dead-letter queue, from
	// MinReceiveCount to 1000. Zero means 10. It is a backstop for crashes only: consumers decide on dead letters themselves,
	// and every receive counts for all messages that it returns, so that a low count would dead-letter events that nobody tried.
	MaxReceiveCount int
	// GroupPolicy says what happens to a device's later events when one goes to the dead-letter queue.
	// Empty means [consumers.Skip].
	GroupPolicy consumers.GroupPolicy
	// Retention is how long an unread event is kept, from 1 min to less than the 14 days of the dead-letter queue. Zero means 4 days.
	Retention time.Duration
}

// Defaults of the declaration.
const (
	DefaultBudget          = 10 * time.Second
	DefaultMaxReceiveCount = 10
	DefaultRetention       = 4 * 24 * time.Hour
	DefaultWaitTime        = 20 * time.Second

	// DLQRetention is the longest that SQS keeps a message.
	// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html.
	DLQRetention = 14 * 24 * time.Hour

	// MinReceiveCount is the lowest backstop that [Topology.Validate] accepts.
	MinReceiveCount = 5

	minVisibilityTimeout = 30 * time.Second
)

// Default is the topology of this repository. To add a service, add an entry.
func Default() Topology {
	return Topology{
		Environments: []Environment{
			{Name: "dev", WaitTime: 2 * time.Second},
			{Name: "test"},
			{Name: "prod"},
		},
		Services: []Service{
			{
				Name:  "history",
				About: "keeps every event",
			},
			{
				Name:  "state",
				About: "keeps the last state of every device",
			},
			{
				Name:  "push",
				About: "sends changes to connected phones",
				Events: []string{
					events.PowerChanged{}.EventType(),
					events.MotionChanged{}.EventType(),
					events.ContactChanged{}.EventType(),
					events.ConnectivityChanged{}.EventType(),
				},
				Budget: 2 * time.Second,
			},
		},
	}
}

// VisibilityTimeout is how long a received message stays hidden from other consumers unless its consumer extends it:
// twice the budget, at least 30 s. A consumer extends it all the while; after a crash the device waits this long at most.
func (s Service) VisibilityTimeout() time.Duration {
	return max(minVisibilityTimeout, (2 * s.withDefaults().Budget).Round(time.Second))
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
	for _, wanted := range s.Events {
		if wanted == eventType {
			return true
		}
	}
	return false
}

func (s Service) withDefaults() Service {
	if s.Budget == 0 {
		s.Budget = DefaultBudget
	}
	if s.MaxReceiveCount == 0 {
		s.MaxReceiveCount = DefaultMaxReceiveCount
	}
	if s.GroupPolicy == "" {
		s.GroupPolicy = consumers.Skip
	}
	if s.Retention == 0 {
		s.Retention = DefaultRetention
	}
	return s
}

func (e Environment) withDefaults() Environment {
	if e.WaitTime == 0 {
		e.WaitTime = DefaultWaitTime
	}
	return e
}
