package topology

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/device-fanout/fanout/events"
)

// Quotas of SNS and SQS that a topology can run into.
const (
	// maxQueueName is the longest queue name, its .fifo included.
	// See https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html.
	maxQueueName = 80
	// maxSubscriptions is the most that a FIFO topic carries. See https://docs.aws.amazon.com/general/latest/gr/sns.html.
	maxSubscriptions = 100
	// maxFilterValues is the most combinations of values in a filter policy.
	// See https://docs.aws.amazon.com/sns/latest/dg/subscription-filter-policy-constraints.html.
	maxFilterValues = 150
	// maxReceiveCount is the highest that a redrive policy takes.
	maxReceiveCount = 1000
)

// The longest name and prefix of a topology leave room for the names of services.
const (
	maxTopologyName = 20
	maxPrefix       = 16
)

// name is the topology's name, DefaultName if it has none of its own.
func (t Topology) name() string { return cmp.Or(t.Name, DefaultName) }

// Validate checks every environment and service and returns all faults joined, each naming its entry and what to change.
func (t Topology) Validate() error {
	if t.fault != nil {
		return t.fault
	}
	var faults []error
	fault := func(entry, format string, args ...any) {
		faults = append(faults, fmt.Errorf("topology: %s: %s", entry, fmt.Sprintf(format, args...)))
	}
	if !legalName.MatchString(t.name()) || len(t.name()) > maxTopologyName {
		fault("name", "got %q, want 1 to %d lower-case letters, digits or hyphens, beginning with a letter", t.Name, maxTopologyName)
	}
	if t.Prefix != "" && (!legalName.MatchString(strings.TrimSuffix(t.Prefix, "-")) || !strings.HasSuffix(t.Prefix, "-") || len(t.Prefix) > maxPrefix) {
		fault("prefix", "got %q, want up to %d lower-case letters, digits or hyphens, beginning with a letter and ending in a hyphen", t.Prefix, maxPrefix)
	}
	if len(t.Environments) == 0 {
		fault("environments", "there is none; declare at least one")
	}
	for i, e := range t.Environments {
		entry := fmt.Sprintf("environment %q (entry %d)", e.Name, i+1)
		for _, text := range e.faults() {
			fault(entry, "%s", text)
		}
		for _, earlier := range t.Environments[:i] {
			if earlier.Name == e.Name {
				fault(entry, "name: %q is declared twice; rename one", e.Name)
			} else if clash(earlier, e) {
				fault(entry, "name: %q and %q begin alike, so that the resources of one would be taken for the other's; rename one", e.Name, earlier.Name)
			}
		}
	}
	if len(t.Services) > maxSubscriptions {
		fault("services", "got %d, want at most %d: a FIFO topic carries no more subscriptions", len(t.Services), maxSubscriptions)
	}
	seen := map[string]bool{}
	for i, declared := range t.Services {
		entry := fmt.Sprintf("service %q (entry %d)", declared.Name, i+1)
		for _, text := range t.serviceFaults(declared) {
			fault(entry, "%s", text)
		}
		if seen[declared.Name] {
			fault(entry, "name: %q is declared twice; rename one", declared.Name)
		}
		seen[declared.Name] = true
	}
	return errors.Join(faults...)
}

// serviceFaults lists what is wrong with one service by itself.
func (t Topology) serviceFaults(declared Service) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	s := declared.withDefaults()
	if !legalName.MatchString(s.Name) {
		fault("name: got %q, want lower-case letters, digits or hyphens, beginning with a letter", s.Name)
	}
	if strings.Contains(s.Name+"-", "-dlq-") {
		fault("name: got %q, want no -dlq in it: it would be taken for a dead-letter queue", s.Name)
	}
	switch s.Name {
	case (Deployment{Topology: t.Name}).topicPart():
		fault("name: %q is the topic's name; choose another", s.Name)
	case operationsPart:
		fault("name: %q is the name of the stack with the alarms; choose another", s.Name)
	case gatewayPart, gatewayPart + "-mqtt", networkPart, databasePart:
		fault("name: %q is the name of the environment's own stack of that kind; choose another", s.Name)
	case "topic":
		fault("name: %q is how the alarms of the topic are called; choose another", s.Name)
	case "fanout":
		fault("name: %q is the name of the dashboard of all services; choose another", s.Name)
	}
	for _, e := range t.Environments {
		if e.ThrowAway() { // the longest of them
			e.Name = strings.Repeat("x", maxEnvironmentName)
		}
		if name := (Deployment{Topology: t.Name, Prefix: t.Prefix, Environment: e}).DeliveryDLQName(s.Name); len(name) > maxQueueName {
			fault("name: the queue name %q has %d characters, want at most %d; shorten the service's name", name, len(name), maxQueueName)
			break
		}
	}
	if s.HandlerTimeout < 100*time.Millisecond || s.HandlerTimeout > time.Hour {
		fault("handler timeout: got %v, want from 100ms to 1h: how long the handling of one event may take", declared.HandlerTimeout)
	}
	if v := s.VisibilityTimeout(); v > maxVisibilityTimeout {
		fault("handler timeout: got %v, so that the visibility timeout would be %v; want at most %v", s.HandlerTimeout, v, maxVisibilityTimeout)
	}
	if s.MaxReceiveCount < MinReceiveCount || s.MaxReceiveCount > maxReceiveCount {
		fault("max receive count: got %d, want from %d to %d: it is a backstop for crashes, and a low one dead-letters events that nobody tried",
			s.MaxReceiveCount, MinReceiveCount, maxReceiveCount)
	}
	if err := s.GroupPolicy.Validate(); err != nil {
		fault("group policy: %v", err)
	}
	if s.Retention < time.Minute || s.Retention >= DLQRetention || s.Retention%time.Second != 0 {
		fault("retention: got %v, want whole seconds from 1m to less than the %v of the dead-letter queue", declared.Retention, DLQRetention)
	}
	if v := s.VisibilityTimeout(); s.MaxAge < v || s.MaxAge > s.Retention || s.MaxAge%time.Second != 0 {
		fault("max age: got %v, want whole seconds from the visibility timeout of %v to the retention of %v", s.MaxAge, v, s.Retention)
	}
	if s.MaxSilence > 0 && !legalSilence(s.MaxSilence) {
		fault("max silence: got %v, want whole minutes up to 24h, or 0 for no alarm", s.MaxSilence)
	}
	faults = append(faults, s.Compute.faults(s)...)
	for _, e := range t.Environments {
		faults = append(faults, s.Compute.faultsIn(e.withDefaults())...)
	}
	if len(s.Events) > maxFilterValues {
		fault("events: got %d types, want at most %d: a filter policy takes no more; leave the list empty to hear all", len(s.Events), maxFilterValues)
	}
	once := map[string]bool{}
	for _, name := range s.Events {
		if _, ok := events.Lookup(name); !ok {
			fault("events: %q is not a registered event type%s", name, suggestion(name))
		}
		if once[name] {
			fault("events: %q is named twice; remove one", name)
		}
		once[name] = true
	}
	return faults
}

// suggestion names a registered type that differs from name in its version only.
func suggestion(name string) string {
	stem, _, ok := cutVersion(name)
	if !ok {
		return "; names look like device.power.changed.v1"
	}
	for _, t := range events.Types() {
		if other, _, _ := cutVersion(t.Name); other == stem {
			return "; did you mean " + t.Name + "?"
		}
	}
	return ""
}

// cutVersion cuts "device.power.changed.v1" into its stem and version.
func cutVersion(name string) (stem, version string, ok bool) {
	i := strings.LastIndex(name, ".v")
	if i < 0 {
		return name, "", false
	}
	return name[:i], name[i+1:], true
}
