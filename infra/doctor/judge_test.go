package doctor

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
)

const (
	account = "123456789012"
	caller  = "arn:aws:sts::123456789012:assumed-role/on-call/anna"
)

// deployment is an environment of two services, of which one hears all events.
func deployment(t *testing.T, environment string) topology.Deployment {
	t.Helper()
	top := topology.Topology{
		Environments: []topology.Environment{
			{Name: "dev"},
			{
				Name: "prod", Production: true, Account: account, Region: "eu-central-1", Encryption: topology.CustomerKey, ArchiveDays: 30,
				AlarmTarget: "a@example.com",
			},
		},
		Services: []topology.Service{
			{Name: "history", HandlerTimeout: 10 * time.Second},
			{Name: "lights", HandlerTimeout: 10 * time.Second, Standard: true},
		},
	}
	d, err := top.In(environment)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// deployed is what is seen of a deployment in AWS just after it was deployed.
func deployed(d topology.Deployment) *Observed {
	place := provision.Place{Partition: "aws", Region: "eu-central-1", Account: account}
	topicARN := place.ARN("sns", d.TopicName())
	o := &Observed{
		Account: account, Caller: caller, Region: place.Region, TopicsSeen: true, QueuesSeen: true, StacksSeen: true,
		Topics: []string{d.TopicName(), d.AlarmTopicName()}, Queues: map[string]Queue{},
		Topic: &Topic{ARN: topicARN, Attributes: provision.TopicAttributes(), SubscriptionsSeen: true},
	}
	o.Topic.Attributes["Policy"] = withTLS("{}", topicARN, "sns:Publish")
	if d.Environment.ArchiveDays > 0 {
		o.Topic.Attributes["ArchivePolicy"] = fmt.Sprintf(`{"MessageRetentionPeriod":%d}`, d.Environment.ArchiveDays)
	}
	key := d.Environment.Encryption == topology.CustomerKey
	if key {
		o.Topic.Attributes["KmsMasterKeyId"] = "arn:aws:kms:eu-central-1:123456789012:key/1"
	}
	for _, s := range d.Services {
		declared := provision.Declare(d, s, place)
		for _, q := range []provision.Queue{declared.Queue, declared.DLQ, declared.DeliveryDLQ} {
			all := maps.Clone(q.Attributes)
			all["QueueArn"], all["Policy"] = q.ARN, withTLS(all["Policy"], q.ARN, "sqs:*")
			all["SqsManagedSseEnabled"] = fmt.Sprint(!key)
			if key {
				all["KmsMasterKeyId"], all["KmsDataKeyReusePeriodSeconds"] = "arn:aws:kms:eu-central-1:123456789012:key/2", "3600"
			}
			o.Queues[q.Name] = Queue{Name: q.Name, URL: "https://sqs/" + q.Name, Attributes: all, HourAgo: -1}
		}
		o.Topic.Subscriptions = append(o.Topic.Subscriptions, Subscription{
			ARN: topicARN + ":" + s.Name, Protocol: "sqs", Endpoint: declared.Queue.ARN, Attributes: maps.Clone(declared.Subscription),
		})
	}
	for _, name := range declaredStacks(d) {
		o.Stacks = append(o.Stacks, Stack{Name: name, Status: "UPDATE_COMPLETE", Tags: map[string]string{tagEnvironment: d.Environment.Name}})
	}
	return o
}

// set changes attributes of a queue.
func (o *Observed) set(queue string, pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		o.Queues[queue].Attributes[pairs[i]] = pairs[i+1]
	}
}

// put adds or changes a queue.
func (o *Observed) put(name string, change func(*Queue)) {
	q := o.Queues[name]
	if q.Name == "" {
		q = Queue{Name: name, URL: "https://sqs/" + name, HourAgo: -1, Attributes: map[string]string{}}
	}
	change(&q)
	o.Queues[name] = q
}

func short(f Finding) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s", f.Severity, f.Code, f.Resource, f.Attribute))
}

func shorts(r Report) (list []string) {
	for _, f := range r.Findings {
		list = append(list, short(f))
	}
	return list
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const queue, dlq, delivery = "dev-history.fifo", "dev-history-dlq.fifo", "dev-history-delivery-dlq.fifo"
	const topicARN = "arn:aws:sns:eu-central-1:123456789012:dev-device-events.fifo"
	holds := func(name, visible, inFlight string, age time.Duration) func(*Observed) {
		return func(o *Observed) {
			o.set(name, "ApproximateNumberOfMessages", visible, "ApproximateNumberOfMessagesNotVisible", inFlight)
			o.put(name, func(q *Queue) { q.Age = age })
		}
	}
	stack := func(i int, status string) func(*Observed) {
		return func(o *Observed) { o.Stacks[i].Status = status } // 0 is that of operations
	}
	tagged := func(environment, service string) map[string]string {
		return map[string]string{tagEnvironment: environment, tagService: service, "app": "fanout"}
	}
	left := func(o *Observed) {
		for _, name := range []string{"dev-old.fifo", "dev-old-dlq.fifo", "dev-old-delivery-dlq.fifo"} {
			o.put(name, func(q *Queue) { q.Tags = tagged("dev", "old") })
		}
	}
	for _, row := range []struct {
		name   string
		change func(o *Observed)
		want   []string
		say    string // in the text, the advice or the commands of the first
	}{
		{"fresh", func(*Observed) {}, nil, ""},
		{"encryption of a queue off", func(o *Observed) { o.set(queue, "SqsManagedSseEnabled", "false") }, []string{"error encryption " + queue + " SqsManagedSseEnabled"}, "SqsManagedSseEnabled"},
		{"a strange key on a queue", func(o *Observed) { o.set(queue, "KmsMasterKeyId", "alias/x", "SqsManagedSseEnabled", "false") }, []string{"error encryption " + queue + " KmsMasterKeyId"}, "SqsManagedSseEnabled"},
		{"a strange key on the topic", func(o *Observed) { o.Topic.Attributes["KmsMasterKeyId"] = "alias/x" }, []string{"error encryption dev-device-events.fifo KmsMasterKeyId"}, "--attribute-value ''"},
		{"an archive", func(o *Observed) { o.Topic.Attributes["ArchivePolicy"] = `{"MessageRetentionPeriod":"3"}` }, []string{"warning topic_attribute dev-device-events.fifo ArchivePolicy"}, "'{}'"},
		{"no TLS to a queue", func(o *Observed) {
			o.set(queue, "Policy", provision.Declare(deployment(t, "dev"), deployment(t, "dev").Services[0], provision.PlaceOf(topicARN)).Queue.Attributes["Policy"])
		}, []string{"warning queue_policy " + queue + " Policy"}, "SecureTransport"},
		{"no TLS to the topic", func(o *Observed) { o.Topic.Attributes["Policy"] = `{"Statement":[]}` }, []string{"warning topic_policy dev-device-events.fifo Policy"}, "SecureTransport"},
		{"another topic may send", func(o *Observed) {
			o.set(queue, "Policy", strings.ReplaceAll(o.Queues[queue].Attributes["Policy"], "dev-device-events", "other"))
		}, []string{"error queue_policy " + queue + " Policy", "warning queue_policy " + queue + " Policy"}, "may not send"},
		{"a subscription that waits for its confirmation", func(o *Observed) { o.Topic.Subscriptions[0].Attributes["PendingConfirmation"] = "true" }, []string{"error subscription_attribute " + topicARN + ":history PendingConfirmation"}, "unsubscribe"},
		{"a subscription of the queue that somebody else made", func(o *Observed) {
			o.Topic.Subscriptions[0] = Subscription{ARN: "PendingConfirmation", Protocol: "sqs", Endpoint: o.Topic.Subscriptions[0].Endpoint}
		}, []string{"error subscription_attribute PendingConfirmation PendingConfirmation"}, "aws sns subscribe"},
		{"one that works beside it", func(o *Observed) {
			o.Topic.Subscriptions = append([]Subscription{{ARN: "PendingConfirmation", Protocol: "sqs", Endpoint: o.Topic.Subscriptions[0].Endpoint}}, o.Topic.Subscriptions...)
		}, []string{"error subscription_twice PendingConfirmation"}, "a second time"},
		{"a second subscription", func(o *Observed) {
			again := o.Topic.Subscriptions[0]
			again.ARN = topicARN + ":again"
			o.Topic.Subscriptions = append(o.Topic.Subscriptions, again)
		}, []string{"error subscription_twice " + topicARN + ":again"}, "unsubscribe"},
		{"a function that is subscribed", func(o *Observed) {
			o.Topic.Subscriptions = append(o.Topic.Subscriptions, Subscription{ARN: topicARN + ":f", Protocol: "lambda", Endpoint: "arn:aws:lambda:f"})
		}, []string{"warning subscription_unknown " + topicARN + ":f Endpoint"}, "unsubscribe"},
		{"somebody who has not confirmed", func(o *Observed) {
			o.Topic.Subscriptions = append(o.Topic.Subscriptions, Subscription{ARN: "PendingConfirmation", Protocol: "email", Endpoint: "a@example.com"})
		}, []string{"warning subscription_unknown PendingConfirmation Endpoint"}, "a@example.com"},

		{"old", holds(queue, "1", "1", 6*time.Minute), []string{"warning too_old " + queue}, "6m"},
		{"not too old", holds(queue, "1", "1", 5*time.Minute), nil, ""},
		{"near its end", holds(queue, "1", "1", 72*time.Hour), []string{"error expiring " + queue}, "3d"},
		{"not read", holds(queue, "7", "0", time.Minute), []string{"warning not_read " + queue}, "7 events"},
		{"not read, and nobody knows for how long", holds(queue, "7", "0", 0), []string{"warning not_read " + queue}, "only just come"},
		{"just come", holds(queue, "7", "0", time.Minute-1), nil, ""},
		{"in flight", holds(queue, "7", "100000", time.Second), []string{"warning in_flight " + queue}, "120,000"},
		{"dead letters", holds(dlq, "2", "1", time.Hour), []string{"warning dead_letters " + dlq}, "fanout dlq ls history --env dev"},
		{"dead letters, more of them", func(o *Observed) {
			holds(dlq, "5", "0", time.Hour)(o)
			o.put(dlq, func(q *Queue) { q.HourAgo = 2 })
		}, []string{"warning dead_letters " + dlq}, "3 more than an hour ago"},
		{"dead letters near their end", holds(dlq, "2", "0", 11*24*time.Hour), []string{"error expiring " + dlq}, "fanout dlq export history --yes --env dev"},
		{"not delivered", holds(delivery, "2", "0", time.Hour), []string{"warning undelivered " + delivery}, "fanout dlq redrive history --delivery --env dev"},
		{"not delivered, near their end", holds(delivery, "2", "0", 11*24*time.Hour), []string{"error expiring " + delivery}, "export history --yes --delivery"},

		{"a stack in order", stack(0, "CREATE_COMPLETE"), nil, ""},
		{"a stack that was never deployed", stack(2, "ROLLBACK_COMPLETE"), []string{"error stack_state dev-history StackStatus"}, "npx cdk deploy dev-history -c env=dev"},
		{"a stack that can't go back", stack(2, "UPDATE_ROLLBACK_FAILED"), []string{"error stack_state dev-history StackStatus"}, "continue-update-rollback"},
		{"a stack that was left half-way", stack(2, "UPDATE_FAILED"), []string{"error stack_state dev-history StackStatus"}, "rollback-stack"},
		{"a stack that was not deleted", stack(2, "DELETE_FAILED"), []string{"error stack_state dev-history StackStatus"}, "delete-stack"},
		{"a stack that was put back", stack(2, "UPDATE_ROLLBACK_COMPLETE"), []string{"warning stack_state dev-history StackStatus"}, "describe-stack-events"},
		{"a stack without a change set", stack(2, "REVIEW_IN_PROGRESS"), []string{"warning stack_state dev-history StackStatus"}, "delete-stack"},
		{"a stack that changes", stack(2, "UPDATE_IN_PROGRESS"), []string{"note stack_state dev-history StackStatus"}, ""},
		{"no stack", func(o *Observed) { o.Stacks = o.Stacks[1:] }, []string{"warning stack_missing dev-operations"}, "npx cdk deploy dev-operations"},
		{"stacks that nobody could see", func(o *Observed) { o.Stacks, o.StacksSeen = nil, false }, nil, ""},
		{"queues that nobody could see", func(o *Observed) { o.Queues, o.QueuesSeen = nil, false }, nil, ""},
		{"a queue that nobody could read", func(o *Observed) { o.put(queue, func(q *Queue) { q.Attributes = nil }) }, nil, ""},

		{"a removed service", func(o *Observed) {
			left(o)
			o.Stacks = append(o.Stacks, Stack{Name: "dev-old", Status: "CREATE_COMPLETE", Tags: tagged("dev", "old")})
			o.Topic.Subscriptions = append(o.Topic.Subscriptions, Subscription{ARN: topicARN + ":old", Protocol: "sqs", Endpoint: "arn:aws:sqs:eu-central-1:123456789012:dev-old.fifo"})
		}, []string{"error service_removed dev-old"}, "aws cloudformation delete-stack --stack-name dev-old --region eu-central-1"},
		{"its queues alone", left, []string{"warning service_removed dev-old"}, "aws sqs delete-queue --queue-url https://sqs/dev-old.fifo"},
		{"its subscription alone", func(o *Observed) {
			o.Topic.Subscriptions = append(o.Topic.Subscriptions, Subscription{ARN: topicARN + ":old", Protocol: "sqs", Endpoint: "arn:aws:sqs:eu-central-1:123456789012:dev-old.fifo"})
		}, []string{"error service_removed dev-old"}, "unsubscribe"},
		{"its queue, and tags that nobody could read", func(o *Observed) { o.put("dev-old.fifo", func(*Queue) {}) }, []string{"warning service_removed dev-old"}, "aws sqs list-queue-tags"}, // and not how to delete it
		{"an environment whose name begins alike, and tags of its queues that nobody could read", func(o *Observed) {
			for _, name := range []string{"dev-2-history.fifo", "dev-2-history-dlq.fifo", "dev-2-history-delivery-dlq.fifo"} {
				o.put(name, func(*Queue) {})
			}
			o.Topics = append(o.Topics, "dev-2-device-events.fifo", "dev-2-alarms")
			for _, name := range []string{"dev-2-history", "dev-2-device-events", "dev-2-operations"} {
				o.Stacks = append(o.Stacks, Stack{Name: name, Status: "UPDATE_ROLLBACK_FAILED", Tags: tagged("dev-2", "")})
			}
		}, nil, ""},
		{"a queue of another environment", func(o *Observed) { o.put("dev-2-old.fifo", func(q *Queue) { q.Tags = tagged("dev-2", "old") }) }, nil, ""},
		{"a queue without tags", func(o *Observed) { o.put("dev-old.fifo", func(q *Queue) { q.Tags = map[string]string{} }) }, []string{"note queue_unknown dev-old.fifo"}, ""},
		{"a queue of an extension", func(o *Observed) { o.put("dev-more.fifo", func(q *Queue) { q.Tags = tagged("dev", "history") }) }, []string{"note queue_unknown dev-more.fifo"}, ""},
		{"a stack of an extension", func(o *Observed) {
			o.Stacks = append(o.Stacks, Stack{Name: "dev-more", Status: "CREATE_COMPLETE", Tags: tagged("dev", "")})
		}, []string{"note stack_unknown dev-more"}, ""},
		{"a failed stack of an extension", func(o *Observed) {
			o.Stacks = append(o.Stacks, Stack{Name: "dev-more", Status: "DELETE_FAILED", Tags: tagged("dev", "")})
		}, []string{"error stack_state dev-more StackStatus", "note stack_unknown dev-more"}, "delete-stack"},
		{"a stack of another environment", func(o *Observed) {
			o.Stacks = append(o.Stacks, Stack{Name: "dev-2-old", Status: "DELETE_FAILED", Tags: tagged("dev-2", "old")})
		}, nil, ""},
		{"no topic, and a change set for it that waits for its approval", func(o *Observed) {
			o.Topic = nil
			for i := range o.Stacks {
				if o.Stacks[i].Name == "dev-device-events" {
					o.Stacks[i].Status = "REVIEW_IN_PROGRESS"
				}
			}
		}, []string{"error topic_missing dev-device-events.fifo", "warning stack_state dev-device-events StackStatus"}, "npx cdk deploy dev-device-events"},
		{"a topic of somebody", func(o *Observed) { o.Topics = append(o.Topics, "dev-more") }, []string{"note topic_unknown dev-more"}, ""},

		{"another endpoint's account", func(o *Observed) { o.Account = "999999999999" }, nil, ""}, // dev is wherever it was deployed
		{"not simulated", func(o *Observed) { o.NotSimulated = "why" }, []string{"note rights_not_simulated " + caller}, ""},
		{"no right to redrive", func(o *Observed) {
			o.Rights = []Right{{"redrive", "sqs:SendMessage", false}, {"redrive", "sqs:DeleteMessage", true}, {"doctor", "sns:ListTopics", true}}
		}, []string{"note right_missing " + caller + " redrive"}, "--role-name on-call --policy-arn arn:aws:iam::123456789012:policy/dev-redrive-operator-eu-central-1"},
	} {
		d := deployment(t, "dev")
		o := deployed(d)
		row.change(o)
		r := Judge(d, *o, Words{Program: "fanout"})
		if got := shorts(r); !slices.Equal(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.name, got, row.want)
			continue
		}
		if len(r.Findings) > 0 {
			f := r.Findings[0]
			if all := strings.Join(append([]string{f.Text, f.Advice, f.Is}, f.Commands...), "\n"); !strings.Contains(all, row.say) {
				t.Errorf("%s: got\n%s\nwant it to say %q", row.name, all, row.say)
			}
		}
	}
}

func TestJudge_InProduction(t *testing.T) {
	t.Parallel()
	d := deployment(t, "prod")
	const queue = "prod-history.fifo"
	for _, row := range []struct {
		change func(o *Observed)
		want   []string
	}{
		{func(*Observed) {}, nil},
		{func(o *Observed) { o.set(queue, "KmsMasterKeyId", "alias/aws/sqs") }, []string{"error encryption " + queue + " KmsMasterKeyId"}},
		{func(o *Observed) { o.set(queue, "KmsDataKeyReusePeriodSeconds", "300") }, []string{"warning encryption " + queue + " KmsDataKeyReusePeriodSeconds"}},
		{func(o *Observed) { delete(o.Topic.Attributes, "KmsMasterKeyId") }, []string{"error encryption prod-device-events.fifo KmsMasterKeyId"}},
		{func(o *Observed) { delete(o.Topic.Attributes, "ArchivePolicy") }, []string{"warning topic_attribute prod-device-events.fifo ArchivePolicy"}},
		{func(o *Observed) { o.Account = "999999999999" }, []string{"error wrong_account prod"}},
		{func(o *Observed) { o.Region = "eu-west-1" }, []string{"error wrong_region prod"}},
	} {
		o := deployed(d)
		row.change(o)
		r := Judge(d, *o, Words{Program: "fanout"})
		if got := shorts(r); !slices.Equal(got, row.want) {
			t.Errorf("got %q, want %q", got, row.want)
		}
		if wrong := len(row.want) > 0 && strings.Contains(row.want[0], "wrong"); wrong == r.Complete() {
			t.Errorf("%q: got complete %t", row.want, r.Complete())
		}
	}
	for _, status := range []string{"ROLLBACK_COMPLETE", "DELETE_FAILED", "REVIEW_IN_PROGRESS"} {
		o := deployed(d)
		o.Stacks[0].Status = status
		if all := strings.Join(Judge(d, *o, Words{Program: "fanout"}).Findings[0].Commands, "\n"); !strings.Contains(all, "--no-enable-termination-protection --stack-name prod-operations") {
			t.Errorf("%s: got\n%s\nwant the protection to go first", status, all)
		}
	}
	o := deployed(d)
	o.Stacks = append(o.Stacks, Stack{Name: "prod-old", Status: "CREATE_COMPLETE", Tags: map[string]string{tagEnvironment: "prod", tagService: "old"}})
	o.put("prod-old.fifo", func(q *Queue) { q.Tags = map[string]string{tagEnvironment: "prod", tagService: "old"} })
	r := Judge(d, *o, Words{Program: "fanout"})
	if len(r.Findings) != 1 || len(r.Findings[0].Commands) != 3 || !strings.Contains(r.Findings[0].Commands[0], "--no-enable-termination-protection") ||
		!strings.Contains(r.Findings[0].Advice, "its queues stay") {
		t.Errorf("got %+v, want the protection to go first, and a word on the queues", r.Findings)
	}
}

// TestDeclaredStacks_AreThoseOfTheEnvironment: what an environment has beside topic and services is declared, too.
func TestDeclaredStacks_AreThoseOfTheEnvironment(t *testing.T) {
	t.Parallel()
	d := deployment(t, "dev")
	d.Environment.Network.CIDR = "10.42.0.0/16"
	d.Environment.Database.Kind = topology.AuroraServerless
	d.Environment.Gateway = &topology.Gateway{}
	want := []string{"dev-operations", "dev-device-events", "dev-network", "dev-database", "dev-gateway", "dev-history", "dev-lights"}
	if got := declaredStacks(d); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestJudge_NothingThere tells an environment that was never deployed, and one of which something is left.
func TestJudge_NothingThere(t *testing.T) {
	t.Parallel()
	d := deployment(t, "dev")
	o := Observed{Account: account, Caller: caller, Region: "eu-central-1", TopicsSeen: true, QueuesSeen: true, StacksSeen: true, Queues: map[string]Queue{}}
	if got, want := shorts(Judge(d, o, Words{})), []string{"error not_deployed dev"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	o.put("dev-old.fifo", func(q *Queue) { q.Tags = map[string]string{tagEnvironment: "dev"} })
	if got, want := shorts(Judge(d, o, Words{})), []string{"error not_deployed dev", "warning service_removed dev-old"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	d.Services[0].Compute.Kind = topology.Fargate
	if got, want := Judge(d, o, Words{}).Findings[0].Commands[0], `npx cdk deploy --all -c env=dev -c "image_tag=$(git rev-parse HEAD)"`; got != want {
		t.Errorf("with an image: got %s, want %s", got, want)
	}
	o.QueuesSeen = false
	if r := Judge(d, o, Words{}); slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == "not_deployed" }) {
		t.Errorf("got %q though the queues could not be listed", shorts(r))
	}
}

// TestReport_KeepsItsKeys: scripts read them.
func TestReport_KeepsItsKeys(t *testing.T) {
	t.Parallel()
	d := deployment(t, "dev")
	o := deployed(d)
	o.set("dev-history.fifo", "VisibilityTimeout", "5")
	o.Unseen = []Unseen{{Part: "age", Reason: "denied", Advice: "allow it"}}
	got, err := json.Marshal(Judge(d, *o, Words{Program: "fanout"}))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"environment":"dev","account":"123456789012","region":"eu-central-1","caller":"` + caller + `","deployed":true,"findings":[` +
		`{"severity":"error","code":"queue_attribute","service":"history","resource":"dev-history.fifo","attribute":"VisibilityTimeout","is":"5","want":"30",` +
		`"text":"a shorter one ends while an event is still handled; after a longer one a device waits longer when its consumer has died","advice":"set it back",` +
		`"commands":["aws sqs set-queue-attributes --queue-url https://sqs/dev-history.fifo --attributes '{\"VisibilityTimeout\":\"30\"}' --region eu-central-1"]}],` +
		`"unseen":[{"part":"age","reason":"denied","advice":"allow it"}],"counts":{"errors":1,"warnings":0,"notes":0}}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestShell_QuotesWhatAShellWouldRead(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"a-b_c.d/e:f=g": "a-b_c.d/e:f=g", "": "''", "a b": "'a b'", `{"a":"b"}`: `'{"a":"b"}'`, "it's": `'it'\''s'`, "$x": "'$x'", "a*": "'a*'",
		"a;b": "'a;b'", "x`y`": "'x`y`'", "häh": "'häh'",
	} {
		if got := shell(word); got != want {
			t.Errorf("%q: got %s, want %s", word, got, want)
		}
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		a, b string
		want bool
	}{
		{"30", "30", true},
		{"30", "31", false},
		{"", "{}", false},
		{`{"a":1,"b":"2"}`, `{ "b": 2, "a": "1" }`, true},
		{`{"a":["x","y"]}`, `{"a":["y","x"]}`, true},
		{`{"a":["x","y"]}`, `{"a":["x"]}`, false},
		{`{"a":[{"prefix":"x"},"y"]}`, `{"a":["y",{"prefix":"x"}]}`, true},
		{`{"a"`, `{"a"`, true},
		{`{"a"`, `{"a":1}`, false},
		{`{"a":true}`, `{"a":"true"}`, true},
		{`{"a":null}`, `{}`, false},
	} {
		if got := same(row.a, row.b); got != row.want {
			t.Errorf("%s and %s: got %t", row.a, row.b, got)
		}
	}
}
