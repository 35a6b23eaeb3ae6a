package doctor

import (
	"maps"
	"slices"
	"strings"

	"github.com/device-fanout/fanout/infra/provision"
)

// leftover is what is there of a service that the declaration does not have any more: it was removed, or has another name now.
type leftover struct {
	service       string
	stack         string // empty if there is none
	queues        []Queue
	subscriptions []Subscription
	sure          bool // tags say so, not names alone
}

// leftovers finds them. A stack alone is none: it may be one that an extension of the app makes.
func (j *judge) leftovers() []*leftover {
	all := map[string]*leftover{}
	of := func(service string) *leftover {
		if all[service] == nil {
			all[service] = &leftover{service: service}
		}
		return all[service]
	}
	for _, name := range slices.Sorted(maps.Keys(j.o.Queues)) {
		q := j.o.Queues[name]
		if mine, sure := ours(j.d, j.tagsOf(q), j.o.Bare); mine && !j.declaredQueue(name) {
			l := of(serviceOf(j.d, name, q.Tags))
			l.queues, l.sure = append(l.queues, q), l.sure || sure
		}
	}
	if j.o.Topic != nil {
		for _, sub := range j.o.Topic.Subscriptions {
			name := lastPart(sub.Endpoint)
			if sub.Protocol != "sqs" || sub.Endpoint != j.place.ARN("sqs", name) || !strings.HasPrefix(name, j.d.Scope()+"-") || j.declaredQueue(name) {
				continue
			}
			q := j.o.Queues[name] // perhaps it is gone
			if mine, _ := ours(j.d, q.Tags, j.o.Bare); mine {
				l := of(serviceOf(j.d, name, q.Tags))
				l.subscriptions = append(l.subscriptions, sub)
			}
		}
	}
	var found []*leftover
	for _, service := range slices.Sorted(maps.Keys(all)) {
		if _, err := j.d.Service(service); err == nil { // of a service that is declared; a note tells of it
			continue
		}
		if _, there := j.o.named(j.d.ServiceStack(service)); there {
			all[service].stack = j.d.ServiceStack(service)
		}
		found = append(found, all[service])
	}
	return found
}

// tagsOf are a queue's tags or, where they can't be read, those of the stack that is called like its service: a queue of feature-x-y begins as
// those of feature-x do, and whoever is on call for the one may not read the tags of the other.
func (j *judge) tagsOf(q Queue) map[string]string {
	if q.Tags == nil {
		if s, there := j.o.named(j.d.ServiceStack(serviceOf(j.d, q.Name, nil))); there && s.Tags[tagEnvironment] != "" {
			return s.Tags
		}
	}
	return q.Tags
}

// topicStack is the name of the stack that makes a topic, if it is one of ours.
func topicStack(topic string) string {
	if scope, alarms := strings.CutSuffix(topic, "-alarms"); alarms {
		return scope + "-operations"
	}
	return strings.TrimSuffix(topic, ".fifo")
}

func (j *judge) declaredQueue(name string) bool {
	return slices.ContainsFunc(j.services, func(s provision.Service) bool {
		return name == s.Queue.Name || name == s.DLQ.Name || name == s.DeliveryDLQ.Name
	})
}

// unknown reports what begins with the scope and is not declared.
func (j *judge) unknown() {
	told := map[string]bool{} // stacks and queues of removed services
	for _, l := range j.leftovers() {
		j.removed(l)
		told[l.stack] = true
		for _, q := range l.queues {
			told[q.Name] = true
		}
	}
	note := func(code, name, what string, tags map[string]string) {
		if environment, tagged := tags[tagEnvironment]; tagged && environment != j.d.Environment.Name || told[name] {
			return // of another environment
		}
		j.add(Finding{
			Severity: Note, Code: code, Resource: name,
			Text: "this " + what + " is not declared; if no extension of the app makes it and it is no other product's, it is left over",
		})
	}
	for _, name := range slices.Sorted(maps.Keys(j.o.Queues)) {
		if !j.declaredQueue(name) {
			note("queue_unknown", name, "queue", j.tagsOf(j.o.Queues[name]))
		}
	}
	for _, name := range j.o.Topics {
		if name != j.d.TopicName() && name != j.d.AlarmTopicName() {
			stack, _ := j.o.named(topicStack(name))
			note("topic_unknown", name, "topic", stack.Tags)
		}
	}
	for _, s := range j.o.Stacks {
		if !slices.Contains(declaredStacks(j.d), s.Name) {
			note("stack_unknown", s.Name, "stack", s.Tags)
		}
	}
}

// removed reports a service that was removed from the declaration or has another name now, and says how it is ended.
func (j *judge) removed(l *leftover) {
	f := Finding{Severity: Warning, Code: "service_removed", Service: l.service, Resource: j.d.ServiceStack(l.service)}
	var parts []string
	if l.stack != "" {
		parts = append(parts, "stack "+l.stack)
	}
	messages := 0
	for _, q := range l.queues {
		parts = append(parts, "queue "+q.Name+" with "+plural(q.messages(), "message"))
		messages += q.messages()
	}
	if len(l.subscriptions) > 0 {
		parts = append(parts, "its subscription")
	}
	f.Text = "the service " + l.service + " is not declared any more, because it was removed or renamed, and is still there: " + strings.Join(parts, ", ")
	if !l.sure && !j.o.Bare {
		f.Text += " (by their names; tags can't be read)"
	}
	if len(l.subscriptions) > 0 {
		f.Severity = Error
		f.Text += ". Its queue still gets events that nobody reads"
	}
	rescue := "end it"
	if messages > 0 {
		rescue = "receive what is still wanted from its queues, then end it"
	}
	f.Advice = rescue + "; its stack is deleted by name, since the app does not know it any more and cdk destroy does nothing"
	switch {
	case l.stack == "" && !l.sure && !j.o.Bare && len(l.queues) > 0:
		f.Advice = "make sure that it is of this environment, by its tags; if it is, " + rescue
		for _, q := range l.queues {
			f.Commands = append(f.Commands, j.do.aws("sqs", "list-queue-tags", "--queue-url", q.URL))
		}
	case l.stack == "":
		f.Advice = rescue
		for _, sub := range l.subscriptions {
			f.Commands = append(f.Commands, j.unsubscribe(sub)...)
		}
		for _, q := range l.queues {
			f.Commands = append(f.Commands, j.do.aws("sqs", "delete-queue", "--queue-url", q.URL))
		}
	case j.d.Environment.Production:
		f.Advice += ". In production its queues stay with what they hold, unsubscribed; run doctor again to delete them"
		fallthrough
	default:
		f.Commands = append(f.Commands, j.deleteStack(l.stack)...)
	}
	j.add(f)
}

// deleteStack are the commands for it. Stacks of production are protected, also those whose first deployment has failed.
func (j *judge) deleteStack(name string) (commands []string) {
	if j.d.Environment.Production {
		commands = append(commands, j.do.aws("cloudformation", "update-termination-protection", "--no-enable-termination-protection", "--stack-name", name))
	}
	return append(
		commands,
		j.do.aws("cloudformation", "delete-stack", "--stack-name", name),
		j.do.aws("cloudformation", "wait", "stack-delete-complete", "--stack-name", name),
	)
}

// stacks judges the stacks: those that are declared, and the state of every one of this environment.
func (j *judge) stacks(missing map[string]bool) {
	if !j.o.StacksSeen {
		return
	}
	told := map[string]bool{} // of services of which nothing is there
	for service, is := range missing {
		told[j.d.ServiceStack(service)] = is
	}
	for _, name := range declaredStacks(j.d) {
		if _, there := j.o.named(name); !there && !told[name] {
			j.add(Finding{
				Severity: Warning, Code: "stack_missing", Resource: name,
				Text: "the stack is not there, and what it declares beside queues neither: alarms, policies, dashboards", Advice: "deploy it", Commands: j.deploy(name),
			})
		}
	}
	for _, s := range j.o.Stacks {
		if mine, _ := ours(j.d, s.Tags, false); mine || slices.Contains(declaredStacks(j.d), s.Name) {
			j.state(s)
		}
	}
}

// state judges in what state a stack is.
func (j *judge) state(s Stack) {
	f := Finding{Severity: Error, Code: "stack_state", Resource: s.Name, Attribute: "StackStatus", Is: s.Status}
	why := j.do.aws("cloudformation", "describe-stack-events", "--stack-name", s.Name, "--query",
		"StackEvents[?contains(ResourceStatus,`FAILED`)].[LogicalResourceId,ResourceStatusReason]", "--output", "text")
	declared := slices.Contains(declaredStacks(j.d), s.Name)
	switch s.Status {
	case "CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE":
		return
	case "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED":
		f.Text, f.Advice = "its first deployment failed; it can't be deployed to before it is deleted", "see why, delete it, and deploy it again"
		f.Commands = append([]string{why}, j.deleteStack(s.Name)...)
		if declared {
			f.Commands = append(f.Commands, j.deploy(s.Name)...)
		}
	case "UPDATE_ROLLBACK_FAILED":
		f.Text, f.Advice = "its last deployment failed, and so did putting it back; it can't be deployed to", "see why, mend that, and let it go on"
		f.Commands = []string{why, j.do.aws("cloudformation", "continue-update-rollback", "--stack-name", s.Name)}
	case "UPDATE_FAILED":
		f.Text, f.Advice = "its last deployment failed and was not put back", "see why, and put it back"
		f.Commands = []string{why, j.do.aws("cloudformation", "rollback-stack", "--stack-name", s.Name)}
	case "DELETE_FAILED":
		f.Text, f.Advice = "it could not be deleted as a whole", "see why, mend that, and delete it again"
		f.Commands = append([]string{why}, j.deleteStack(s.Name)...)
	case "UPDATE_ROLLBACK_COMPLETE", "IMPORT_ROLLBACK_COMPLETE", "IMPORT_ROLLBACK_FAILED":
		f.Severity, f.Text, f.Advice = Warning, "its last deployment failed and was put back: what is there is older than what was deployed", "see why, and deploy it again"
		f.Commands = []string{why}
		if declared {
			f.Commands = append(f.Commands, j.deploy(s.Name)...)
		}
	case "REVIEW_IN_PROGRESS":
		f.Severity, f.Text, f.Advice = Warning, "a change set was made for it and never executed: the stack is empty", "deploy it, or delete it"
		f.Commands = j.deleteStack(s.Name)
	default: // IN_PROGRESS of several kinds
		f.Severity, f.Text = Note, "it is being changed at the moment; look again when that is over"
	}
	if s.Reason != "" {
		f.Text += " (" + s.Reason + ")"
	}
	j.add(f)
}
