package topology

import (
	"fmt"
	"strings"
)

// Deployment is the topology in one environment, with every default filled in: what is to be created, and under which names.
type Deployment struct {
	Environment Environment
	Services    []Service
}

// In gives the deployment of the environment called name. It validates the whole topology first.
func (t Topology) In(name string) (Deployment, error) {
	if err := t.Validate(); err != nil {
		return Deployment{}, err
	}
	names := make([]string, 0, len(t.Environments))
	for _, env := range t.Environments {
		if env.Name == name {
			d := Deployment{Environment: env.withDefaults()}
			for _, s := range t.Services {
				d.Services = append(d.Services, s.withDefaults())
			}
			return d, nil
		}
		names = append(names, env.Name)
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

// TopicName is the name of the environment's topic.
func (d Deployment) TopicName() string { return d.Environment.topicName() }

// QueueName is the name of a service's queue.
func (d Deployment) QueueName(service string) string { return d.Environment.queueName(service) }

// DLQName is the name of a service's dead-letter queue.
func (d Deployment) DLQName(service string) string { return d.Environment.dlqName(service) }

func (e Environment) topicName() string               { return e.Name + "-device-events.fifo" }
func (e Environment) queueName(service string) string { return e.Name + "-" + service + ".fifo" }
func (e Environment) dlqName(service string) string   { return e.Name + "-" + service + "-dlq.fifo" }
