package provision

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers/sqsapi"
	"github.com/device-fanout/fanout/infra/topology"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// TopicAPI is what provisioning needs of Amazon SNS; [*sns.Client] has it.
type TopicAPI interface {
	CreateTopic(ctx context.Context, in *sns.CreateTopicInput, optFns ...func(*sns.Options)) (*sns.CreateTopicOutput, error)
	Subscribe(ctx context.Context, in *sns.SubscribeInput, optFns ...func(*sns.Options)) (*sns.SubscribeOutput, error)
	ListTopics(ctx context.Context, in *sns.ListTopicsInput, optFns ...func(*sns.Options)) (*sns.ListTopicsOutput, error)
}

// QueueAPI is what provisioning needs of Amazon SQS; [*sqs.Client] has it.
type QueueAPI interface {
	CreateQueue(ctx context.Context, in *sqs.CreateQueueInput, optFns ...func(*sqs.Options)) (*sqs.CreateQueueOutput, error)
	sqsapi.Finder
}

// Resources are the topic and the queues of a deployment.
type Resources struct {
	TopicARN string
	Queues   map[string]Queues // by service
}

// Queues are the queues of a service. [FindQueues] leaves DeliveryDLQURL empty.
type Queues = sqsapi.Queues

// Apply creates the topic, and a queue, two dead-letter queues and a subscription for every service.
func Apply(ctx context.Context, topics TopicAPI, queues QueueAPI, d topology.Deployment) (Resources, error) {
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String(d.TopicName()), Attributes: TopicAttributes()})
	if err != nil {
		return Resources{}, fmt.Errorf("provision: create topic %s: %w", d.TopicName(), err)
	}
	r := Resources{TopicARN: aws.ToString(topic.TopicArn), Queues: map[string]Queues{}}
	for _, s := range d.Services {
		q, err := applyService(ctx, topics, queues, r.TopicARN, Declare(d, s, PlaceOf(r.TopicARN)))
		if err != nil {
			return Resources{}, fmt.Errorf("provision: service %s: %w", s.Name, err)
		}
		r.Queues[s.Name] = q
	}
	return r, nil
}

func applyService(ctx context.Context, topics TopicAPI, queues QueueAPI, topicARN string, s Service) (Queues, error) {
	made := Queues{Service: s.Name}
	for _, q := range []struct {
		declared Queue
		url      *string
	}{{s.DLQ, &made.DLQURL}, {s.DeliveryDLQ, &made.DeliveryDLQURL}, {s.Queue, &made.URL}} { // what the queue names comes before it
		created, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &q.declared.Name, Attributes: q.declared.Attributes})
		if err != nil {
			return Queues{}, fmt.Errorf("create queue %s: %w", q.declared.Name, err)
		}
		*q.url = aws.ToString(created.QueueUrl)
	}
	_, err := topics.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: &topicARN, Protocol: aws.String("sqs"), Endpoint: &s.Queue.ARN, Attributes: s.Subscription, ReturnSubscriptionArn: true,
	})
	if err != nil {
		return Queues{}, fmt.Errorf("subscribe %s: %w", s.Queue.Name, err)
	}
	return made, nil
}

// Find looks up the topic and the queues of a deployment by their names.
func Find(ctx context.Context, topics TopicAPI, queues QueueAPI, d topology.Deployment) (Resources, error) {
	arn, err := FindTopic(ctx, topics, d)
	if err != nil {
		return Resources{}, err
	}
	r := Resources{TopicARN: arn, Queues: map[string]Queues{}}
	for _, s := range d.Services {
		q, err := FindQueues(ctx, queues, d, s.Name)
		if err != nil {
			return Resources{}, err
		}
		if q.DeliveryDLQURL, err = FindDeliveryDLQ(ctx, queues, d, s.Name); err != nil {
			return Resources{}, err
		}
		r.Queues[s.Name] = q
	}
	return r, nil
}

// NotFoundError says that a resource of a deployment does not exist at the endpoint.
type NotFoundError struct {
	Kind, Name, Environment string
	Err                     error
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("provision: no %s %s: environment %s is not deployed at this endpoint", e.Kind, e.Name, e.Environment)
}

func (e *NotFoundError) Unwrap() error { return e.Err }

// FindTopic looks up the ARN of a deployment's topic.
func FindTopic(ctx context.Context, topics TopicAPI, d topology.Deployment) (string, error) {
	suffix := ":" + d.TopicName()
	for pages := sns.NewListTopicsPaginator(topics, &sns.ListTopicsInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", fmt.Errorf("provision: look for topic %s: %w", d.TopicName(), err)
		}
		for _, t := range page.Topics {
			if arn := aws.ToString(t.TopicArn); strings.HasSuffix(arn, suffix) {
				return arn, nil
			}
		}
	}
	return "", &NotFoundError{Kind: "topic", Name: d.TopicName(), Environment: d.Environment.Name}
}

// FindQueues looks up the URLs of a service's queue and dead-letter queue, which is all that its consumer may use.
func FindQueues(ctx context.Context, queues QueueAPI, d topology.Deployment, service string) (Queues, error) {
	url, err := findQueue(ctx, queues, d, d.QueueName(service))
	if err != nil {
		return Queues{}, err
	}
	dlqURL, err := findQueue(ctx, queues, d, d.DLQName(service))
	if err != nil {
		return Queues{}, err
	}
	return Queues{Service: service, URL: url, DLQURL: dlqURL}, nil
}

// FindDeliveryDLQ looks up the URL of the queue of what SNS could not deliver to a service's queue.
func FindDeliveryDLQ(ctx context.Context, queues QueueAPI, d topology.Deployment, service string) (string, error) {
	return findQueue(ctx, queues, d, d.DeliveryDLQName(service))
}

func findQueue(ctx context.Context, queues QueueAPI, d topology.Deployment, name string) (string, error) {
	out, err := queues.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
	if awsx.VerdictOf(err).Class == awsx.Gone {
		return "", &NotFoundError{Kind: "queue", Name: name, Environment: d.Environment.Name, Err: err}
	}
	if err != nil {
		return "", fmt.Errorf("provision: look for queue %s: %w", name, err)
	}
	return aws.ToString(out.QueueUrl), nil
}
