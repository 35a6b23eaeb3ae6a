package doctor

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/sync/errgroup"

	"github.com/device-fanout/fanout/consumers/sqsapi"
	"github.com/device-fanout/fanout/infra/topology"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// Clients are what [Look] asks. All of them are needed; those of the SDK have what it takes.
type Clients struct {
	SNS            TopicAPI
	SQS            QueueAPI
	STS            CallerAPI
	IAM            RightsAPI
	CloudFormation cloudformation.DescribeStacksAPIClient
	CloudWatch     cloudwatch.GetMetricDataAPIClient
}

// TopicAPI is what it takes of SNS.
type TopicAPI interface {
	sns.ListTopicsAPIClient
	sns.ListSubscriptionsByTopicAPIClient
	GetTopicAttributes(context.Context, *sns.GetTopicAttributesInput, ...func(*sns.Options)) (*sns.GetTopicAttributesOutput, error)
	GetSubscriptionAttributes(context.Context, *sns.GetSubscriptionAttributesInput, ...func(*sns.Options)) (*sns.GetSubscriptionAttributesOutput, error)
}

// QueueAPI is what it takes of SQS.
type QueueAPI interface {
	sqs.ListQueuesAPIClient
	sqsapi.Finder
	sqsapi.Describer
	ListQueueTags(context.Context, *sqs.ListQueueTagsInput, ...func(*sqs.Options)) (*sqs.ListQueueTagsOutput, error)
}

// CallerAPI is what it takes of STS.
type CallerAPI interface {
	GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error)
}

// RightsAPI is what it takes of IAM.
type RightsAPI interface {
	iam.SimulatePrincipalPolicyAPIClient
	GetRole(context.Context, *iam.GetRoleInput, ...func(*iam.Options)) (*iam.GetRoleOutput, error)
}

// atOnce is how many requests are under way at most.
const atOnce = 8

// Look reads what is there of a deployment in a region. It changes nothing, and receives no message. What can't be read is named in
// Observed.Unseen. It blocks until every request has been answered; the error is that of ctx, if it ends before.
func Look(ctx context.Context, c Clients, d topology.Deployment, region string) (Observed, error) {
	l := &look{Clients: c, d: d, o: Observed{Region: region, Queues: map[string]Queue{}}}
	if l.caller(ctx) && len(misplaced(d, l.o)) == 0 {
		l.topic(ctx)
		l.queues(ctx)
		if !l.o.Bare {
			l.stacks(ctx)
			l.metrics(ctx)
			l.rights(ctx)
		}
	}
	return l.o, ctx.Err()
}

// look is one look.
type look struct {
	Clients
	d topology.Deployment

	mu sync.Mutex // guards what follows while several requests are under way
	o  Observed
}

// unseen notes that a part can't be read.
func (l *look) unseen(part, action string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := Unseen{Part: part, Reason: firstLine(err.Error())}
	switch verdict := awsx.VerdictOf(err); {
	case verdict.Class == awsx.Denied && verdict.By != "KMS":
		u.Reason = "denied"
		u.Advice = "allow " + action + " to the caller; the managed policy for whoever is on call has it"
	default:
		u.Advice = verdict.Hint()
	}
	if !slices.Contains(l.o.Unseen, u) { // once, not for every queue
		l.o.Unseen = append(l.o.Unseen, u)
	}
}

func firstLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}

// caller asks who asks, and so whether the endpoint is all of AWS, and tells whether anything else can be asked.
func (l *look) caller(ctx context.Context) bool {
	out, err := l.STS.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	switch verdict := awsx.VerdictOf(err); {
	case err == nil:
		l.o.Account, l.o.Caller = aws.ToString(out.Account), aws.ToString(out.Arn)
		return true
	case verdict.Answered && slices.Contains(notThere, verdict.Code):
		l.o.Bare = true
		return true
	default:
		l.unseen("credentials", "sts:GetCallerIdentity", err)
		return false
	}
}

// notThere are the codes with which an endpoint says that it has no such service.
var notThere = []string{"InvalidAction", "UnknownOperation", "UnknownOperationException", "UnsupportedOperation", "NotImplemented"}

// group runs requests side by side.
func group(ctx context.Context) (*errgroup.Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	return g, ctx
}

func (l *look) topic(ctx context.Context) {
	var arn string
	l.o.TopicsSeen = true
	for pages := sns.NewListTopicsPaginator(l.SNS, &sns.ListTopicsInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			l.o.TopicsSeen = false
			l.unseen("topics", "sns:ListTopics", err)
			break
		}
		for _, t := range page.Topics {
			name := lastPart(aws.ToString(t.TopicArn))
			if strings.HasPrefix(name, l.d.Scope()+"-") {
				l.o.Topics = append(l.o.Topics, name)
			}
			if name == l.d.TopicName() {
				arn = aws.ToString(t.TopicArn)
			}
		}
	}
	if arn == "" {
		return
	}
	t := &Topic{ARN: arn, SubscriptionsSeen: true}
	l.o.Topic = t
	if out, err := l.SNS.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &arn}); err != nil {
		l.unseen("topic_attributes", "sns:GetTopicAttributes", err)
	} else {
		t.Attributes = out.Attributes
	}
	for pages := sns.NewListSubscriptionsByTopicPaginator(l.SNS, &sns.ListSubscriptionsByTopicInput{TopicArn: &arn}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.SubscriptionsSeen = false
			l.unseen("subscriptions", "sns:ListSubscriptionsByTopic", err)
			break
		}
		for _, s := range page.Subscriptions {
			t.Subscriptions = append(t.Subscriptions, Subscription{
				ARN: aws.ToString(s.SubscriptionArn), Protocol: aws.ToString(s.Protocol), Endpoint: aws.ToString(s.Endpoint),
			})
		}
	}
	g, ctx := group(ctx)
	for i := range t.Subscriptions {
		s := &t.Subscriptions[i]
		if !strings.HasPrefix(s.ARN, "arn:") { // not confirmed
			continue
		}
		g.Go(func() error {
			out, err := l.SNS.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &s.ARN})
			switch {
			case awsx.VerdictOf(err).Class == awsx.Gone: // it has ended meanwhile
			case err != nil:
				l.unseen("subscription_attributes", "sns:GetSubscriptionAttributes", err)
			default:
				s.Attributes = out.Attributes
			}
			return nil
		})
	}
	_ = g.Wait() // nobody returns an error
}

func (l *look) queues(ctx context.Context) {
	urls := map[string]string{}
	l.o.QueuesSeen = true
	in := sqs.ListQueuesInput{QueueNamePrefix: aws.String(l.d.Scope() + "-"), MaxResults: aws.Int32(1000)}
	for pages := sqs.NewListQueuesPaginator(l.SQS, &in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			l.o.QueuesSeen = false
			l.unseen("queues", "sqs:ListQueues", err)
			break
		}
		for _, url := range page.QueueUrls {
			urls[lastPart(url)] = url
		}
	}
	declared := map[string]bool{}
	for _, s := range l.d.Services {
		for _, name := range []string{l.d.QueueName(s.Name), l.d.DLQName(s.Name), l.d.DeliveryDLQName(s.Name)} {
			declared[name] = true
			if l.o.QueuesSeen {
				continue
			}
			out, err := l.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
			switch {
			case err == nil:
				urls[name] = aws.ToString(out.QueueUrl)
			case awsx.VerdictOf(err).Class != awsx.Gone:
				l.unseen("queues", "sqs:GetQueueUrl", err)
			}
		}
	}
	g, ctx := group(ctx)
	for name, url := range urls {
		g.Go(func() error {
			l.queue(ctx, name, url, declared[name])
			return nil
		})
	}
	_ = g.Wait() // nobody returns an error
}

func (l *look) queue(ctx context.Context, name, url string, declared bool) {
	q := Queue{Name: name, URL: url, HourAgo: -1}
	out, err := l.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameAll},
	})
	switch {
	case awsx.VerdictOf(err).Class == awsx.Gone: // the list still had it
		return
	case err != nil:
		if !declared { // of another product, perhaps
			break
		}
		l.unseen("queue_attributes", "sqs:GetQueueAttributes", err)
	default:
		q.Attributes = out.Attributes
	}
	if !declared && !l.o.Bare {
		if out, err := l.SQS.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: &url}); err == nil {
			if q.Tags = out.Tags; q.Tags == nil {
				q.Tags = map[string]string{}
			}
		} // else its name has to do
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.o.Queues[name] = q
}

func (l *look) stacks(ctx context.Context) {
	for pages := cloudformation.NewDescribeStacksPaginator(l.CloudFormation, &cloudformation.DescribeStacksInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			l.unseen("stacks", "cloudformation:DescribeStacks", err)
			return
		}
		for _, s := range page.Stacks {
			status := string(s.StackStatus)
			if !strings.HasPrefix(aws.ToString(s.StackName), l.d.Scope()+"-") || status == "DELETE_COMPLETE" {
				continue
			}
			stack := Stack{Name: aws.ToString(s.StackName), Status: status, Reason: aws.ToString(s.StackStatusReason), Tags: map[string]string{}}
			for _, tag := range s.Tags {
				stack.Tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
			}
			l.o.Stacks = append(l.o.Stacks, stack)
		}
	}
	slices.SortFunc(l.o.Stacks, func(a, b Stack) int { return cmp.Compare(a.Name, b.Name) })
	l.o.StacksSeen = true
}
