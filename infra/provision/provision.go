package provision

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

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
	sqsapi.Describer
	SetQueueAttributes(ctx context.Context, in *sqs.SetQueueAttributesInput, optFns ...func(*sqs.Options)) (*sqs.SetQueueAttributesOutput, error)
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
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{
		Name: aws.String(d.TopicName()),
		Attributes: map[string]string{
			"FifoTopic":                 "true",
			"ContentBasedDeduplication": "false",
			"FifoThroughputScope":       "MessageGroup",
		},
	})
	if err != nil {
		return Resources{}, fmt.Errorf("provision: create topic %s: %w", d.TopicName(), err)
	}
	r := Resources{TopicARN: aws.ToString(topic.TopicArn), Queues: map[string]Queues{}}
	for _, s := range d.Services {
		q, err := applyService(ctx, topics, queues, r.TopicARN, d, s)
		if err != nil {
			return Resources{}, fmt.Errorf("provision: service %s: %w", s.Name, err)
		}
		r.Queues[s.Name] = q
	}
	return r, nil
}

func applyService(ctx context.Context, topics TopicAPI, queues QueueAPI, topicARN string, d topology.Deployment, s topology.Service) (Queues, error) {
	dlqURL, dlqARN, err := createQueue(ctx, queues, d.DLQName(s.Name), s.Standard, map[string]string{
		"MessageRetentionPeriod": seconds(topology.DLQRetention),
	})
	if err != nil {
		return Queues{}, err
	}
	arns := strings.TrimSuffix(dlqARN, d.DLQName(s.Name)) // what the ARN of every queue here begins with
	deliveryURL, deliveryARN, err := createQueue(ctx, queues, d.DeliveryDLQName(s.Name), s.Standard, map[string]string{
		"MessageRetentionPeriod": seconds(topology.DLQRetention),
		"Policy":                 marshal(queuePolicy(arns+d.DeliveryDLQName(s.Name), topicARN)),
	})
	if err != nil {
		return Queues{}, err
	}
	url, arn, err := createQueue(ctx, queues, d.QueueName(s.Name), s.Standard, map[string]string{
		"MessageRetentionPeriod":        seconds(s.Retention),
		"VisibilityTimeout":             seconds(s.VisibilityTimeout()),
		"ReceiveMessageWaitTimeSeconds": seconds(d.Environment.WaitTime),
		"RedrivePolicy":                 marshal(map[string]any{"deadLetterTargetArn": dlqARN, "maxReceiveCount": s.MaxReceiveCount}),
		"RedriveAllowPolicy":            marshal(map[string]any{"redrivePermission": "denyAll"}), // no queue may use it as its dead-letter queue
		"Policy":                        marshal(queuePolicy(arns+d.QueueName(s.Name), topicARN)),
	})
	if err != nil {
		return Queues{}, err
	}
	// Only this queue may use the dead-letter queue. It had to exist before it could be named.
	_, err = queues.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &dlqURL, Attributes: map[string]string{
		"RedriveAllowPolicy": marshal(map[string]any{"redrivePermission": "byQueue", "sourceQueueArns": []string{arn}}),
	}})
	if err != nil {
		return Queues{}, fmt.Errorf("restrict %s to its queue: %w", d.DLQName(s.Name), err)
	}
	attributes := map[string]string{
		"RawMessageDelivery": "true",
		"RedrivePolicy":      marshal(map[string]any{"deadLetterTargetArn": deliveryARN}),
	}
	if filter := s.FilterPolicy(); filter != nil {
		attributes["FilterPolicy"] = marshal(filter)
	}
	_, err = topics.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: &topicARN, Protocol: aws.String("sqs"), Endpoint: &arn, Attributes: attributes, ReturnSubscriptionArn: true,
	})
	if err != nil {
		return Queues{}, fmt.Errorf("subscribe %s: %w", d.QueueName(s.Name), err)
	}
	return Queues{Service: s.Name, URL: url, DLQURL: dlqURL, DeliveryDLQURL: deliveryURL}, nil
}

// createQueue creates a high-throughput FIFO queue, or a standard one, and returns its URL and ARN.
func createQueue(ctx context.Context, queues QueueAPI, name string, standard bool, attributes map[string]string) (url, arn string, err error) {
	if !standard {
		attributes["FifoQueue"] = "true"
		attributes["ContentBasedDeduplication"] = "false"
		attributes["DeduplicationScope"] = "messageGroup"
		attributes["FifoThroughputLimit"] = "perMessageGroupId"
	}
	created, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		return "", "", fmt.Errorf("create queue %s: %w", name, err)
	}
	url = aws.ToString(created.QueueUrl)
	out, err := queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{sqstypes.QueueAttributeNameQueueArn},
	})
	if err != nil {
		return "", "", fmt.Errorf("read the ARN of queue %s: %w", name, err)
	}
	return url, out.Attributes[string(sqstypes.QueueAttributeNameQueueArn)], nil
}

// queuePolicy lets exactly this topic send to the queue.
func queuePolicy(queueARN, topicARN string) map[string]any {
	return map[string]any{
		"Version": "2012-10-17",
		"Statement": []map[string]any{{
			"Sid":       "FromTopic",
			"Effect":    "Allow",
			"Principal": map[string]string{"Service": "sns.amazonaws.com"},
			"Action":    "sqs:SendMessage",
			"Resource":  queueARN,
			"Condition": map[string]any{"ArnEquals": map[string]string{"aws:SourceArn": topicARN}},
		}},
	}
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

func seconds(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }

// marshal encodes a policy; its maps are sorted, so that equal policies are equal text.
func marshal(policy any) string {
	text, err := json.Marshal(policy)
	if err != nil {
		panic(err) // maps, strings and numbers always encode
	}
	return string(text)
}
