package doctor

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
)

var errDenied = &smithy.GenericAPIError{Code: "AccessDenied", Message: "not authorized"}

// fakeAWS is what AWS has beside SNS and SQS, which are those of a local engine. What a test denies is refused.
type fakeAWS struct {
	*sns.Client
	caller    string
	denied    []string
	stacks    []cfntypes.Stack
	role      string // ARN, as IAM knows it; empty if it may not be read
	simulated string // the principal that was simulated last
	age       float64
}

func (f *fakeAWS) refuse(action string) error {
	if slices.Contains(f.denied, action) {
		return errDenied
	}
	return nil
}

func (f *fakeAWS) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return &sts.GetCallerIdentityOutput{Account: aws.String("000000000000"), Arn: &f.caller}, f.refuse("sts")
}

func (f *fakeAWS) GetRole(context.Context, *iam.GetRoleInput, ...func(*iam.Options)) (*iam.GetRoleOutput, error) {
	if f.role == "" {
		return nil, errDenied
	}
	return &iam.GetRoleOutput{Role: &iamtypes.Role{Arn: &f.role}}, nil
}

func (f *fakeAWS) SimulatePrincipalPolicy(_ context.Context, in *iam.SimulatePrincipalPolicyInput, _ ...func(*iam.Options)) (*iam.SimulatePrincipalPolicyOutput, error) {
	f.simulated = aws.ToString(in.PolicySourceArn)
	var out iam.SimulatePrincipalPolicyOutput
	for _, action := range in.ActionNames {
		decision := iamtypes.PolicyEvaluationDecisionTypeAllowed
		if action == "sqs:SendMessage" {
			decision = iamtypes.PolicyEvaluationDecisionTypeImplicitDeny
		}
		out.EvaluationResults = append(out.EvaluationResults, iamtypes.EvaluationResult{EvalActionName: &action, EvalDecision: decision})
	}
	return &out, f.refuse("iam")
}

func (f *fakeAWS) DescribeStacks(context.Context, *cloudformation.DescribeStacksInput, ...func(*cloudformation.Options)) (*cloudformation.DescribeStacksOutput, error) {
	return &cloudformation.DescribeStacksOutput{Stacks: f.stacks}, f.refuse("stacks")
}

func (f *fakeAWS) GetMetricData(_ context.Context, in *cloudwatch.GetMetricDataInput, _ ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricDataOutput, error) {
	var out cloudwatch.GetMetricDataOutput
	for _, q := range in.MetricDataQueries {
		r := cwtypes.MetricDataResult{Id: q.Id, Timestamps: []time.Time{time.Now(), time.Now().Add(-55 * time.Minute)}, Values: []float64{f.age, 1}}
		if aws.ToString(q.MetricStat.Metric.MetricName) != "ApproximateAgeOfOldestMessage" {
			r.Values = []float64{9, 1}
		}
		out.MetricDataResults = append(out.MetricDataResults, r)
	}
	return &out, f.refuse("metrics")
}

func (f *fakeAWS) GetTopicAttributes(ctx context.Context, in *sns.GetTopicAttributesInput, o ...func(*sns.Options)) (*sns.GetTopicAttributesOutput, error) {
	if err := f.refuse("topic"); err != nil {
		return nil, err
	}
	return f.Client.GetTopicAttributes(ctx, in, o...)
}

// fakeSQS is SQS where listing may be denied.
type fakeSQS struct {
	*sqs.Client
	denied []string
}

func (f fakeSQS) ListQueues(ctx context.Context, in *sqs.ListQueuesInput, o ...func(*sqs.Options)) (*sqs.ListQueuesOutput, error) {
	if slices.Contains(f.denied, "queues") {
		return nil, errDenied
	}
	return f.Client.ListQueues(ctx, in, o...)
}

// inAWS is an environment that is just deployed, but for the policies that want TLS.
func inAWS(t *testing.T, change func(f *fakeAWS)) (topology.Deployment, *fakeAWS, Clients) {
	t.Helper()
	d := deployment(t, "dev")
	engine := local.Start(t, local.Options{})
	if _, err := provision.Apply(t.Context(), engine.SNS, engine.SQS, d); err != nil {
		t.Fatal(err)
	}
	f := &fakeAWS{Client: engine.SNS, caller: "arn:aws:sts::000000000000:assumed-role/on-call/anna", age: 30}
	for _, name := range declaredStacks(d) {
		f.stacks = append(f.stacks, cfntypes.Stack{StackName: &name, StackStatus: cfntypes.StackStatusCreateComplete})
	}
	f.stacks = append(f.stacks, cfntypes.Stack{StackName: aws.String("dev-old"), StackStatus: cfntypes.StackStatusDeleteComplete},
		cfntypes.Stack{StackName: aws.String("device"), StackStatus: cfntypes.StackStatusDeleteFailed})
	change(f)
	return d, f, Clients{SNS: f, SQS: fakeSQS{engine.SQS, f.denied}, STS: f, IAM: f, CloudFormation: f, CloudWatch: f}
}

func put(t *testing.T, q fakeSQS, name string) {
	t.Helper()
	_, err := q.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: aws.String("http://local/000000000000/" + name), MessageBody: aws.String("{}"), MessageGroupId: aws.String("d"), MessageDeduplicationId: aws.String("e"),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLook_GoesOnWithoutWhatIsDenied(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		denied []string
		want   []string // unseen parts
	}{
		{nil, nil},
		{[]string{"iam"}, nil}, // a note: the environment has no fault that this hides
		{[]string{"stacks"}, []string{"stacks"}},
		{[]string{"metrics"}, []string{"age"}},
		{[]string{"topic"}, []string{"topic_attributes"}},
		{[]string{"queues"}, []string{"queues"}},
		{[]string{"sts"}, []string{"credentials"}},
		{[]string{"stacks", "metrics", "topic", "queues"}, []string{"topic_attributes", "queues", "stacks", "age"}},
	} {
		d, _, clients := inAWS(t, func(f *fakeAWS) { f.denied = row.denied })
		put(t, clients.SQS.(fakeSQS), "dev-history.fifo") // the age of nothing is not asked
		o, err := Look(t.Context(), clients, d, "eu-central-1")
		if err != nil {
			t.Fatal(err)
		}
		r := Judge(d, o, Words{})
		var parts []string
		for _, u := range r.Unseen {
			parts = append(parts, u.Part)
			if u.Reason != "denied" || !strings.Contains(u.Advice, "allow ") {
				t.Errorf("%q: got %+v, want it to say what is to be allowed", row.denied, u)
			}
		}
		if !slices.Equal(parts, row.want) || r.Complete() != (row.want == nil) {
			t.Errorf("%q: got %q unseen, complete %t, want %q", row.denied, parts, r.Complete(), row.want)
		}
		for _, f := range r.Findings {
			if strings.Contains(f.Code, "missing") && f.Code != "right_missing" || f.Code == "not_deployed" {
				t.Errorf("%q: got %s, though nothing is missing", row.denied, short(f))
			}
		}
		if slices.Contains(row.denied, "iam") != (o.NotSimulated != "") && !slices.Contains(row.denied, "sts") {
			t.Errorf("%q: got not simulated %q", row.denied, o.NotSimulated)
		}
	}
}

func TestLook_ReadsAgesStacksAndRights(t *testing.T) {
	t.Parallel()
	d, _, clients := inAWS(t, func(f *fakeAWS) { f.age = 400 })
	q := clients.SQS.(fakeSQS)
	for _, name := range []string{"dev-history.fifo", "dev-history-dlq.fifo"} {
		put(t, q, name)
	}
	o, err := Look(t.Context(), clients, d, "eu-central-1")
	if err != nil {
		t.Fatal(err)
	}
	if got := o.Queues["dev-history.fifo"]; got.Age != 400*time.Second || got.HourAgo != 1 {
		t.Errorf("got an age of %v and %d an hour ago, want 400 s and 1", got.Age, got.HourAgo)
	}
	if len(o.Stacks) != len(declaredStacks(d)) {
		t.Errorf("got the stacks %+v, want those that are there and ours", o.Stacks)
	}
	r := Judge(d, o, Words{Program: "fanout"})
	for _, want := range []string{"warning too_old dev-history.fifo", "warning not_read dev-history.fifo", "warning dead_letters dev-history-dlq.fifo"} {
		if !slices.Contains(shorts(r), want) {
			t.Errorf("got %q, want %q", shorts(r), want)
		}
	}
	i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Code == "right_missing" })
	if i < 0 || r.Findings[i].Want != "sqs:SendMessage" || r.Findings[i].Severity != Note {
		t.Errorf("got %+v, want a note that sqs:SendMessage is missing", r.Findings)
	}
}

func TestLook_SimulatesTheRoleOfASession(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ caller, role, want, why string }{
		{caller: "arn:aws:sts::000000000000:assumed-role/on-call/anna", want: "arn:aws:iam::000000000000:role/on-call"},
		{
			caller: "arn:aws-cn:sts::000000000000:assumed-role/AWSReservedSSO_on-call_1/anna", role: "arn:aws-cn:iam::000000000000:role/aws-reserved/AWSReservedSSO_on-call_1",
			want: "arn:aws-cn:iam::000000000000:role/aws-reserved/AWSReservedSSO_on-call_1",
		},
		{caller: "arn:aws:iam::000000000000:user/path/anna", want: "arn:aws:iam::000000000000:user/path/anna"},
		{caller: "arn:aws:iam::000000000000:root", why: "root user"},
		{caller: "arn:aws:sts::000000000000:federated-user/anna", why: "neither a user nor a role"},
	} {
		d, f, clients := inAWS(t, func(f *fakeAWS) { f.caller, f.role = row.caller, row.role })
		o, err := Look(t.Context(), clients, d, "eu-central-1")
		if err != nil {
			t.Fatal(err)
		}
		if f.simulated != row.want || !strings.Contains(o.NotSimulated, row.why) || (row.why == "") != (o.NotSimulated == "") {
			t.Errorf("%s: simulated %q, or not because %q, want %q or %q", row.caller, f.simulated, o.NotSimulated, row.want, row.why)
		}
	}
	for caller, want := range map[string]string{
		"arn:aws:sts::1:assumed-role/on-call/anna": "on-call", "arn:aws:sts::1:assumed-role/AWSReservedSSO_x_1/anna": "", "arn:aws:iam::1:user/anna": "", "": "",
	} {
		if got := roleName(caller); got != want {
			t.Errorf("%s: got the role %q, want %q", caller, got, want)
		}
	}
}

// unreachable is STS that nobody reaches.
type unreachable struct{}

func (unreachable) GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	return nil, &smithy.OperationError{ServiceID: "STS", Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}
}

func TestLook_SaysThatNothingCouldBeLookedAt(t *testing.T) {
	t.Parallel()
	d := deployment(t, "dev")
	o, err := Look(t.Context(), Clients{STS: unreachable{}}, d, "eu-central-1")
	if err != nil {
		t.Fatal(err)
	}
	r := Judge(d, o, Words{})
	if r.Complete() || len(r.Unseen) != 1 || r.Unseen[0].Part != "credentials" || !r.Well() {
		t.Errorf("got %+v", r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Look(ctx, Clients{STS: unreachable{}}, d, "eu-central-1"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
