package doctor

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
)

// Observed is what was seen of an environment.
type Observed struct {
	// Account and Caller are those of the credentials; both are empty where Bare is set.
	Account, Caller string
	Region          string
	// Bare says that the endpoint has SNS and SQS alone.
	Bare bool

	Topic  *Topic           // nil if there is none
	Topics []string         // names of all topics that begin with the scope
	Queues map[string]Queue // by name: all that begin with the scope
	Stacks []Stack          // all that begin with the scope, but for deleted ones
	Rights []Right          // what was simulated

	// TopicsSeen, QueuesSeen and StacksSeen say which lists could be read. Without them nothing is said to be missing.
	TopicsSeen, QueuesSeen, StacksSeen bool
	NotSimulated                       string // why rights were not simulated; empty if they were
	Unseen                             []Unseen
}

// Topic is the environment's topic.
type Topic struct {
	ARN               string
	Attributes        map[string]string // nil if they can't be read
	Subscriptions     []Subscription
	SubscriptionsSeen bool
}

// Subscription is one of the topic.
type Subscription struct {
	ARN, Protocol, Endpoint string
	Attributes              map[string]string // nil if they can't be read
}

// Queue is a queue.
type Queue struct {
	Name, URL  string
	Attributes map[string]string // nil if they can't be read
	Tags       map[string]string // nil if they were not read
	Age        time.Duration     // of the oldest message; zero if it is not known
	HourAgo    int               // messages that were visible an hour ago; -1 if it is not known
}

// count is a number among a queue's attributes.
func (q Queue) count(attribute string) int {
	n, _ := strconv.Atoi(q.Attributes[attribute])
	return n
}

func (q Queue) visible() int  { return q.count("ApproximateNumberOfMessages") }
func (q Queue) inFlight() int { return q.count("ApproximateNumberOfMessagesNotVisible") }
func (q Queue) messages() int {
	return q.visible() + q.inFlight() + q.count("ApproximateNumberOfMessagesDelayed")
}

// Stack is a CloudFormation stack.
type Stack struct {
	Name, Status, Reason string
	Tags                 map[string]string
}

// Right is the result of a simulation: whether the caller may do something.
type Right struct {
	Work    string // what it is for, as one of works
	Action  string
	Allowed bool
}

// Tags that the stacks give to what they make.
const (
	tagEnvironment = "environment"
	tagService     = "service"
)

// ours tells whether what begins with the scope is of this environment, as far as its tags tell: sure if they name the environment, and not
// ours if they name another one. What has none is ours where nobody tags.
func ours(d topology.Deployment, tags map[string]string, bare bool) (mine, sure bool) {
	environment, tagged := tags[tagEnvironment]
	switch {
	case tagged:
		return environment == d.Environment.Name, true
	case bare, tags == nil:
		return true, false
	}
	return false, false
}

// serviceOf is the name of the service that something belongs to: by its tag, else by its name in the scope.
func serviceOf(d topology.Deployment, name string, tags map[string]string) string {
	if service := tags[tagService]; service != "" {
		return service
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, d.Scope()+"-"), ".fifo")
	for _, suffix := range []string{"-delivery-dlq", "-dlq"} {
		if stem, ok := strings.CutSuffix(name, suffix); ok {
			return stem
		}
	}
	return name
}

// declaredServices are all services as they are to be.
func declaredServices(d topology.Deployment, place provision.Place) []provision.Service {
	all := make([]provision.Service, 0, len(d.Services))
	for _, s := range d.Services {
		all = append(all, provision.Declare(d, s, place))
	}
	return all
}

// declaredStacks are the names of all stacks that the declaration makes.
func declaredStacks(d topology.Deployment) []string {
	names := []string{d.OperationsStack(), d.TopicStack()}
	e := d.Environment
	for _, stack := range []struct {
		declared bool
		name     string
	}{{e.Network.Made(), d.NetworkStack()}, {e.Database.Kind != "", d.DatabaseStack()}, {e.Gateway != nil, d.GatewayStack()}} {
		if stack.declared {
			names = append(names, stack.name)
		}
	}
	for _, s := range d.Services {
		names = append(names, d.ServiceStack(s.Name))
	}
	return names
}

// lastPart is the name in an ARN or a URL.
func lastPart(text string) string { return text[strings.LastIndexAny(text, ":/")+1:] }

// named gives the stack called name.
func (o Observed) named(stack string) (Stack, bool) {
	i := slices.IndexFunc(o.Stacks, func(s Stack) bool { return s.Name == stack })
	if i < 0 {
		return Stack{}, false
	}
	return o.Stacks[i], true
}

// filled tells whether a stack is there and has resources: it has none before its first change set is executed, and when its first creation failed.
func (o Observed) filled(stack string) bool {
	s, ok := o.named(stack)
	return ok && s.Status != "REVIEW_IN_PROGRESS" && s.Status != "ROLLBACK_COMPLETE"
}
