package doctor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
	"github.com/device-fanout/fanout/internal/queueneeds"
)

// service judges a service's queues.
func (j *judge) service(s topology.Service, want provision.Service) {
	for _, q := range []provision.Queue{want.Queue, want.DLQ, want.DeliveryDLQ} {
		j.queue(s.Name, q)
	}
	j.relied(s, want)
	j.depth(s, want)
}

// queue judges a queue's attributes and policy.
func (j *judge) queue(service string, want provision.Queue) {
	q, ok := j.o.Queues[want.Name]
	if !ok {
		if j.o.QueuesSeen {
			j.add(Finding{
				Severity: Error, Code: "queue_missing", Service: service, Resource: want.Name, Text: "the queue is not there",
				Advice: "make it anew; its stack takes it for the one that it has made", Commands: []string{j.create(service, want)},
			})
		}
		return
	}
	if q.Attributes == nil {
		return
	}
	set := func(attributes map[string]string) string { return j.do.setQueue(q.URL, attributes) }
	j.compare(service, want.Name, "queue_attribute", q.Attributes, want.Attributes, func(attribute, value string) string {
		return set(map[string]string{attribute: value})
	})
	if !j.o.Bare {
		j.key(service, want.Name, j.d.ServiceStack(service), q.Attributes["KmsMasterKeyId"], func(key string) string {
			if key == "" {
				return set(map[string]string{"SqsManagedSseEnabled": "true"})
			}
			return set(map[string]string{"KmsMasterKeyId": key, "KmsDataKeyReusePeriodSeconds": keyReuse})
		})
		if q.Attributes["KmsMasterKeyId"] == "" && q.Attributes["SqsManagedSseEnabled"] == "false" && j.d.Environment.Encryption == topology.SQSManaged {
			j.add(Finding{
				Severity: Error, Code: "encryption", Service: service, Resource: want.Name, Attribute: "SqsManagedSseEnabled", Is: "false", Want: "true",
				Text: consequences["KmsMasterKeyId"].why, Advice: "set it back", Commands: []string{set(map[string]string{"SqsManagedSseEnabled": "true"})},
			})
		}
		if j.d.Environment.Encryption == topology.CustomerKey {
			j.compare(service, want.Name, "encryption", q.Attributes, map[string]string{"KmsDataKeyReusePeriodSeconds": keyReuse},
				func(attribute, value string) string { return set(map[string]string{attribute: value}) })
		}
	}
	j.queuePolicy(service, want, q)
}

// keyReuse is how long SQS uses a data key, in seconds, as the stacks have it.
const keyReuse = "3600"

// attributes are those that a queue is created with, here.
func (j *judge) attributes(service string, want provision.Queue) map[string]string {
	all := maps.Clone(want.Attributes)
	if j.o.Bare {
		return all
	}
	all["Policy"] = withTLS(want.Attributes["Policy"], want.ARN, "sqs:*")
	all["SqsManagedSseEnabled"] = "true"
	if j.d.Environment.Encryption == topology.CustomerKey {
		delete(all, "SqsManagedSseEnabled")
		all["KmsMasterKeyId"], all["KmsDataKeyReusePeriodSeconds"] = "alias/"+j.d.ServiceStack(service), keyReuse
	}
	return all
}

func (j *judge) create(service string, want provision.Queue) string {
	args := []string{"sqs", "create-queue", "--queue-name", want.Name, "--attributes", object(j.attributes(service, want))}
	if !j.o.Bare {
		args = append(args, "--tags", tags(j.d, service))
	}
	return j.do.aws(args...)
}

func (j *judge) queuePolicy(service string, want provision.Queue, q Queue) {
	list := statements(q.Attributes["Policy"])
	f := Finding{
		Service: service, Resource: want.Name, Code: "queue_policy", Attribute: "Policy", Advice: "set the policy back",
		Commands: []string{j.do.setQueue(q.URL, map[string]string{"Policy": j.attributes(service, want)["Policy"]})},
	}
	topicARN := j.place.ARN("sns", j.d.TopicName())
	sends := func(s statement) bool { return s.sendsFrom(topicARN) }
	if want.Attributes["Policy"] != "" && !slices.ContainsFunc(list, sends) {
		f := f
		f.Severity, f.Want, f.Text = Error, "sns.amazonaws.com may sqs:SendMessage from "+topicARN, "the topic may not send to the queue: what it delivers there is lost"
		j.add(f)
	}
	if want.Attributes["Policy"] == "" {
		sends = func(statement) bool { return false }
	}
	if who, everybody := others(list, sends); len(who) > 0 {
		f := f
		f.Severity, f.Is, f.Text = Warning, strings.Join(who, "; "), "somebody may use the queue whom the declaration does not know"
		if everybody {
			f.Severity, f.Text = Error, "anybody may use the queue"
		}
		j.add(f)
	}
	if !j.o.Bare && !slices.ContainsFunc(list, statement.wantsTLS) {
		f := f
		f.Severity, f.Want, f.Text = Warning, "TLS", "messages may be sent and received without TLS"
		j.add(f)
	}
}

// relied reports what a consumer would warn of at its start, or refuse, and no comparison with the declaration has said.
func (j *judge) relied(s topology.Service, want provision.Service) {
	queue, dlq := j.o.Queues[want.Queue.Name], j.o.Queues[want.DLQ.Name]
	if s.Standard || queue.Attributes == nil || dlq.Attributes == nil {
		return
	}
	for _, fault := range queueneeds.Check(queue.Attributes, dlq.Attributes, queueneeds.Needs{HandlerTimeout: s.HandlerTimeout}) {
		name := want.Queue.Name
		if fault.DLQ {
			name = want.DLQ.Name
		}
		if slices.ContainsFunc(j.report.Findings, func(f Finding) bool { return f.Resource == name && f.Attribute == fault.Attribute }) {
			continue
		}
		f := Finding{Severity: Warning, Code: "queue_attribute", Service: s.Name, Resource: name, Attribute: fault.Attribute, Text: "it " + fault.Text, Advice: "set it back"}
		if fault.Fatal {
			f.Severity = Error
		}
		switch of := j.o.Queues[name]; fault.Attribute {
		case "DelaySeconds":
			f.Is, f.Want = of.Attributes[fault.Attribute], "0"
		case "MaximumMessageSize":
			f.Is, f.Want = of.Attributes[fault.Attribute], queue.Attributes[fault.Attribute]
		}
		if f.Want != "" {
			f.Commands = []string{j.do.setQueue(j.o.Queues[name].URL, map[string]string{f.Attribute: f.Want})}
		}
		j.add(f)
	}
}

// Thresholds of what waits.
const (
	unreadAfter = time.Minute // messages that wait longer while none is in flight are read by nobody
	nearlyFull  = 100_000     // in flight; SQS gives out no more than 120,000
)

// nearEnd tells whether a message has used up three quarters of its time.
func nearEnd(age, retention time.Duration) bool { return retention > 0 && age >= retention*3/4 }

// depth judges what waits in a service's queues.
func (j *judge) depth(s topology.Service, want provision.Service) {
	q := j.o.Queues[want.Queue.Name]
	f := Finding{Service: s.Name, Resource: want.Queue.Name}
	retention := queueneeds.Seconds(q.Attributes["MessageRetentionPeriod"])
	if nearEnd(q.Age, retention) {
		f := f
		f.Severity, f.Code, f.Is = Error, "expiring", age(q.Age)
		f.Text = fmt.Sprintf("the oldest event has waited for %s and is deleted unread after %s", age(q.Age), age(retention))
		f.Advice = "win time with the longest retention, and mend the consumer; set it back later"
		f.Commands = []string{j.do.setQueue(q.URL, map[string]string{"MessageRetentionPeriod": fmt.Sprint(int(topology.DLQRetention.Seconds()))})}
		j.add(f)
	} else if s.MaxAge > 0 && q.Age > s.MaxAge {
		f := f
		f.Severity, f.Code, f.Is, f.Want = Warning, "too_old", age(q.Age), age(s.MaxAge)
		f.Text = fmt.Sprintf("the oldest of %s has waited for %s, the service's budget is %s", plural(q.messages(), "event"), age(q.Age), age(s.MaxAge))
		f.Advice, f.Commands = "see what holds its consumer up: the runbook, \"The queue grows\"", []string{j.do.program("console")}
		j.add(f)
	}
	if q.visible() > 0 && q.inFlight() == 0 && (q.Age == 0 || q.Age >= unreadAfter) {
		f := f
		f.Severity, f.Code, f.Is = Warning, "not_read", fmt.Sprint(q.visible())
		f.Text = plural(q.visible(), "event") + " waiting and none in flight: nobody seems to read the queue"
		if q.Age == 0 {
			f.Text += ", unless they have only just come"
		}
		f.Advice, f.Commands = "start the consumer, or see why it does not receive", []string{j.do.program("consume", s.Name)}
		if s.Compute.Kind != "" {
			f.Advice, f.Commands = "see why its tasks or functions do not receive: their log, and the state of the stack", []string{
				j.do.aws("cloudformation", "describe-stack-resources", "--stack-name", j.d.ServiceStack(s.Name), "--output", "table"),
			}
		}
		j.add(f)
	}
	if q.inFlight() >= nearlyFull {
		f := f
		f.Severity, f.Code, f.Is = Warning, "in_flight", fmt.Sprint(q.inFlight())
		f.Text = fmt.Sprintf("%d messages are in flight; at 120,000 the queue gives out no more", q.inFlight())
		f.Advice, f.Commands = "find the consumer that receives and does not delete", []string{j.do.program("console")}
		j.add(f)
	}
	j.dead(s.Name, want.DLQ.Name, "dead_letters", "could not be handled", j.do.program("dlq", "ls", s.Name))
	j.dead(s.Name, want.DeliveryDLQ.Name, "undelivered", "could not be delivered to the service's queue", j.do.program("dlq", "redrive", s.Name, "--delivery"))
}

// dead judges what a dead-letter queue holds.
func (j *judge) dead(service, name, code, what, command string) {
	q := j.o.Queues[name]
	if q.messages() == 0 {
		return
	}
	f := Finding{
		Severity: Warning, Code: code, Service: service, Resource: name, Is: fmt.Sprint(q.messages()), Want: "0",
		Text: plural(q.messages(), "event") + " " + what, Advice: "see what they are, mend the cause and redrive them", Commands: []string{command},
	}
	if grown := q.visible() - q.HourAgo; q.HourAgo >= 0 && grown > 0 {
		f.Text += fmt.Sprintf(", %d more than an hour ago", grown)
	}
	if retention := queueneeds.Seconds(q.Attributes["MessageRetentionPeriod"]); nearEnd(q.Age, retention) {
		f.Severity, f.Code = Error, "expiring"
		f.Text += fmt.Sprintf("; the oldest is %s old and is deleted after %s", age(q.Age), age(retention))
		f.Advice = "redrive them, or write them to a file before they are gone"
		export := []string{"dlq", "export", service, "--yes"}
		if code == "undelivered" {
			export = append(export, "--delivery")
		}
		f.Commands = []string{j.do.program(export...)}
	}
	j.add(f)
}

// plural counts things.
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// age is a duration in its largest units.
func age(d time.Duration) string {
	if d >= 24*time.Hour {
		return strings.TrimSuffix(fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour), "0h")
	}
	text := d.Round(time.Second).String()
	if d >= time.Hour {
		text = d.Round(time.Minute).String()
	}
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}
