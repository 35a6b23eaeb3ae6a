package topology

import (
	"cmp"
	"fmt"
	"strings"
)

// Deployment is the topology in one environment, with every default filled in: what is to be created, and under which names.
type Deployment struct {
	// Topology is the name of the topology, and Prefix begins every name; see Topology.
	Topology, Prefix string

	Environment Environment
	Services    []Service
}

// In gives the deployment of the environment called name. It validates the whole topology first.
func (t Topology) In(name string) (Deployment, error) {
	if err := t.Validate(); err != nil {
		return Deployment{}, err
	}
	names := make([]string, 0, len(t.Environments))
	for _, declared := range t.Environments {
		env, ok, err := declared.called(name)
		if err != nil {
			return Deployment{}, err
		}
		if ok {
			d := Deployment{Topology: t.name(), Prefix: t.Prefix, Environment: env.withDefaults()}
			for _, s := range t.Services {
				s.Compute = s.Compute.in(d.Environment)
				d.Services = append(d.Services, s.withDefaults())
			}
			return d, nil
		}
		names = append(names, declared.Name)
	}
	return Deployment{}, fmt.Errorf("topology: no environment %q; there are %s", name, strings.Join(names, ", "))
}

// Service gives the service called name.
func (d Deployment) Service(name string) (Service, error) {
	names := make([]string, 0, len(d.Services))
	for _, s := range d.Services {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Service{}, fmt.Errorf("topology: no service %q in %s; there are %s", name, d.Environment.Name, strings.Join(names, ", "))
}

// Parts of names.
const (
	topicPart         = "events" // of a topology with a name of its own; else DefaultName
	operationsPart    = "operations"
	gatewayPart       = "gateway"
	networkPart       = "network"
	databasePart      = "database"
	dlqSuffix         = "-dlq"
	deliveryDLQSuffix = "-delivery-dlq"
	fifoSuffix        = ".fifo"
)

// Scope is what every name of the deployment begins with, followed by a hyphen: the prefix, the topology's name unless it is
// DefaultName, and the environment. It is dev in environment dev of a topology without a name of its own, and shop-dev in that of
// the topology shop. The topology stands before the environment so that dev-* in a policy fits the first and not the second.
func (d Deployment) Scope() string {
	if name := d.topology(); name != DefaultName {
		return d.Prefix + name + "-" + d.Environment.Name
	}
	return d.Prefix + d.Environment.Name
}

func (d Deployment) topology() string { return cmp.Or(d.Topology, DefaultName) }

// topicPart is what follows the scope in the topic's name.
func (d Deployment) topicPart() string {
	if d.topology() == DefaultName {
		return DefaultName
	}
	return topicPart
}

// TopicName is the name of the environment's topic.
func (d Deployment) TopicName() string { return d.TopicStack() + fifoSuffix }

// QueueName is the name of a service's queue.
func (d Deployment) QueueName(service string) string { return d.queueName(service, "") }

// DLQName is the name of a service's dead-letter queue, for events that its consumer could not handle.
func (d Deployment) DLQName(service string) string { return d.queueName(service, dlqSuffix) }

// DeliveryDLQName is the name of the dead-letter queue of a service's subscription, for events that SNS could not deliver to the
// service's queue.
func (d Deployment) DeliveryDLQName(service string) string {
	return d.queueName(service, deliveryDLQSuffix)
}

// TopicStack is the name of the stack with the topic.
func (d Deployment) TopicStack() string { return d.Scope() + "-" + d.topicPart() }

// OperationsStack is the name of the stack with the alarm topic, the policies of whoever is on call, and the dashboard.
func (d Deployment) OperationsStack() string { return d.Scope() + "-" + operationsPart }

// ServiceStack is the name of a service's stack.
func (d Deployment) ServiceStack(service string) string { return d.Scope() + "-" + service }

// GatewayStack is the name of the stack with the gateway, and that of the gateway itself.
func (d Deployment) GatewayStack() string { return d.Scope() + "-" + gatewayPart }

// NetworkStack is the name of the stack with the network, where one is made.
func (d Deployment) NetworkStack() string { return d.Scope() + "-" + networkPart }

// DatabaseStack is the name of the stack with the database, where one is made.
func (d Deployment) DatabaseStack() string { return d.Scope() + "-" + databasePart }

// AccountStack is the name of the stack with what an account has once for the topology: who may deploy, and what programs may do at most.
func (t Topology) AccountStack() string { return t.Prefix + t.name() + "-account" }

// ImagesStack is the name of the stack with the repositories of images, in every region that tasks run in.
func (t Topology) ImagesStack() string { return t.Prefix + t.name() + "-images" }

// BoundaryName is the name of the policy that bounds the roles of programs where an environment has OwnRoles.
func (t Topology) BoundaryName() string { return t.Prefix + t.name() + "-boundary" }

// ImagesRoleName is the name of the role that pushes images, which all environments of an account share.
func (t Topology) ImagesRoleName() string { return t.ImagesStack() + "-push" }

// RoleName is the name of a role by which an environment is deployed: plan, deploy or execution. Throw-away environments share one.
func (t Topology) RoleName(e Environment, role string) string {
	name := e.Name
	if e.declared != "" {
		name = strings.TrimSuffix(e.declared, anyName)
	}
	return t.Prefix + t.name() + "-" + strings.TrimSuffix(name, anyName) + "-" + role
}

// AlarmTopicName is the name of the topic that every alarm goes to.
func (d Deployment) AlarmTopicName() string { return d.Scope() + "-alarms" }

// queueName is the name of one of a service's queues. Only those of services that chose a standard queue have no .fifo.
func (d Deployment) queueName(service, suffix string) string {
	name := d.Scope() + "-" + service + suffix
	for _, s := range d.Services {
		if s.Name == service && s.Standard {
			return name
		}
	}
	return name + fifoSuffix
}
