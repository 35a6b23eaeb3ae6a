package topology

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Tasks bounds how many tasks of a program run at once.
type Tasks struct {
	Min int `json:"min"` // from 1
	Max int `json:"max"` // not below Min
}

// Gateway is the program that takes events from devices and publishes them, run in an environment: as tasks on Fargate, behind a Network Load
// Balancer that ends TLS with the environment's certificate.
type Gateway struct {
	// KeysSecret is the name or the ARN of the secret in Secrets Manager that holds the file of API keys, which tasks read again every minute.
	// {env} in it stands for the environment.
	KeysSecret string `json:"keys_secret"`
	// Internal says that devices come from inside the network: the load balancer listens in the private subnets.
	Internal bool `json:"internal"`
	// Spool is where accepted events wait that the topic has not confirmed yet. Empty means NoSpool.
	Spool Spool `json:"spool"`
	// Tasks bounds the number of tasks. Zeros mean 1 and 4, in production 2 and 8; the maximum is never below the minimum.
	Tasks Tasks `json:"tasks"`
	// EventsPerTask is how many events per second each task is meant for; more start tasks, fewer stop them. Zero means 500. Load on the CPU
	// above 60 % starts tasks too.
	EventsPerTask int `json:"events_per_task"`
	// MQTT is a broker that the gateway subscribes to, by a task of its own. Nil means none.
	MQTT *MQTT `json:"mqtt"`
}

// Spool is where a gateway's task keeps accepted events that the topic has not confirmed.
type Spool string

const (
	// NoSpool answers an event with 202 once the topic has confirmed it: nothing that was accepted can be lost, and while SNS can't be reached
	// nothing is accepted.
	NoSpool Spool = "none"
	// SpoolInTask is the task's own disk: events are accepted while SNS can't be reached, and those are lost if the task is lost meanwhile.
	SpoolInTask Spool = "task"
	// SpoolOnEFS is a file system that all tasks share: what one leaves behind another publishes. A device whose next events come in
	// through another task meanwhile may see them overtake; its sequence tells consumers.
	SpoolOnEFS Spool = "efs"
)

// MQTT is an MQTT broker that a gateway subscribes to. Exactly one task is subscribed: two would both hear every message.
type MQTT struct {
	// Broker is its URL, such as ssl://broker.example.com:8883, without a user. Topic is the filter to subscribe to, with a + for the device; empty means
	// that of package gateway.
	Broker string `json:"broker"`
	Topic  string `json:"topic"`
	// User is the user's name at the broker, and PasswordSecret the name or the ARN of the secret that holds the password. Both may be empty.
	User           string `json:"user"`
	PasswordSecret string `json:"password_secret"`
}

// legalSecretARN and legalSecretName are those of a secret in Secrets Manager. An ARN ends in six random characters.
var (
	legalSecretARN  = regexp.MustCompile(`^arn:aws(-[a-z]+)*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[\w/+=.@-]+-[A-Za-z0-9]{6}$`)
	legalSecretName = regexp.MustCompile(`^[\w/+=.@{}-]{1,512}$`)
	legalCert       = regexp.MustCompile(`^arn:aws(-[a-z]+)*:acm:([a-z0-9-]+):([0-9]{12}):certificate/[0-9a-f-]+$`)
)

// environmentInName stands for the environment's name in that of a secret.
const environmentInName = "{env}"

// secretFault says what is wrong with the name or ARN of a secret, or is empty.
func secretFault(field, secret string) string {
	name := strings.ReplaceAll(secret, environmentInName, "")
	switch {
	case strings.HasPrefix(secret, "arn:") && !legalSecretARN.MatchString(secret):
		return fmt.Sprintf("%s: got %q, want the whole ARN of a secret, such as arn:aws:secretsmanager:eu-central-1:111122223333:secret:prod/keys-a1B2c3, or its name", field, secret)
	case !strings.HasPrefix(secret, "arn:") && (!legalSecretName.MatchString(secret) || strings.ContainsAny(name, "{}")):
		return fmt.Sprintf("%s: got %q, want the name of a secret in Secrets Manager, such as %s/keys, or its ARN", field, secret, environmentInName)
	}
	return ""
}

// in is the name of a secret in an environment.
func in(environment, secret string) string {
	return strings.ReplaceAll(secret, environmentInName, environment)
}

func (g Gateway) withDefaults(e Environment) Gateway {
	g.KeysSecret = in(e.Name, g.KeysSecret)
	if g.Spool == "" {
		g.Spool = NoSpool
	}
	if g.EventsPerTask == 0 {
		g.EventsPerTask = 500
	}
	low, high := 1, 4
	if e.Production {
		low, high = 2, 8
	}
	if g.Tasks.Min == 0 {
		g.Tasks.Min = low
	}
	if g.Tasks.Max == 0 {
		g.Tasks.Max = max(high, g.Tasks.Min)
	}
	if e.Compute == Smallest {
		g.Tasks = Tasks{1, 1}
	}
	if g.MQTT != nil {
		m := *g.MQTT
		m.PasswordSecret = in(e.Name, m.PasswordSecret)
		g.MQTT = &m
	}
	return g
}

// faults lists what is wrong with a gateway. Its environment has its defaults.
func (g Gateway) faults(e Environment) []string {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, "gateway: "+fmt.Sprintf(format, args...)) }
	if g.KeysSecret == "" {
		fault("keys_secret: missing; want the name or the ARN of the secret with the file of API keys, such as %s/gateway-keys", environmentInName)
	} else if text := secretFault("keys_secret", g.KeysSecret); text != "" {
		fault("%s", text)
	}
	switch g.Spool {
	case "", NoSpool, SpoolInTask, SpoolOnEFS:
	default:
		fault("spool: got %q, want %s, %s or %s", g.Spool, NoSpool, SpoolInTask, SpoolOnEFS)
	}
	if t := g.withDefaults(e).Tasks; t.Min < 1 || t.Max < t.Min {
		fault("tasks: got from %d to %d, want at least 1 and a maximum not below the minimum", t.Min, t.Max)
	}
	if g.EventsPerTask < 0 {
		fault("events_per_task: got %d, want at least 1", g.EventsPerTask)
	}
	if e.Compute == NoCompute {
		return append(faults, fmt.Sprintf("gateway: declared, but compute is %q; say %q or %q, or leave the gateway out", NoCompute, Smallest, Declared))
	}
	switch n := e.Network; {
	case n.unfit() != "":
		fault("network: %s", n.unfit())
	case !g.Internal && !n.Made() && len(n.PublicSubnets) == 0:
		fault("there are no public subnets for its load balancer; name network.public_subnets, or say \"internal\": true")
	}
	if e.Certificate == "" {
		fault("there is no certificate; declare certificate, the ARN of one in ACM: keys of devices don't go over the network in clear text")
	}
	if m := g.MQTT; m != nil {
		broker, err := url.Parse(m.Broker)
		if err != nil || broker.Scheme == "" || broker.Host == "" || broker.User != nil {
			fault("mqtt: broker: want a URL such as ssl://broker.example.com:8883, without a user")
		}
		if m.PasswordSecret != "" {
			if text := secretFault("mqtt: password_secret", m.PasswordSecret); text != "" {
				fault("%s", text)
			}
		}
		if e.Network.Made() && e.Network.WayOut == ByEndpoints {
			fault("mqtt: a task could not reach %q, since the network has no way out but to AWS; say \"way_out\": %q", m.Broker, ByNAT)
		}
	}
	return faults
}
