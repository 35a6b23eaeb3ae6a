// Package watermill_test runs watermill-aws, a Go client that nobody here wrote, against the engine over a socket. It is a
// module of its own, so that the root module does not need watermill.
package watermill_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	wsns "github.com/ThreeDotsLabs/watermill-aws/sns"
	wsqs "github.com/ThreeDotsLabs/watermill-aws/sqs"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/infra/local"
)

// serve starts an engine that delivers only where policies allow it, and returns a configuration for its endpoint.
func serve(t *testing.T) (*local.Engine, aws.Config) {
	t.Helper()
	e := local.New(local.Options{EnforcePolicies: true})
	endpoint, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, aws.Config{
		Region: e.Region(), BaseEndpoint: &endpoint, Credentials: credentials.NewStaticCredentialsProvider("x", "x", ""),
	}
}

var quiet = watermill.NopLogger{}

// closing closes what a test opened.
func closing(t *testing.T, c interface{ Close() error }) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// take waits for a message.
func take(t *testing.T, messages <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m := <-messages:
		return m
	case <-time.After(30 * time.Second):
		t.Fatal("no message came")
		return nil
	}
}

// Watermill makes topic, queue, policy and subscription by itself.
func TestSNS_FansOut(t *testing.T) {
	t.Parallel()
	_, cfg := serve(t)
	topics, err := wsns.NewGenerateArnTopicResolver(local.DefaultAccount, cfg.Region)
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := wsns.NewPublisher(wsns.PublisherConfig{AWSConfig: cfg, TopicResolver: topics}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, publisher)
	if err := publisher.Publish("events", message.NewMessage(watermill.NewUUID(), []byte("nobody hears this"))); err != nil {
		t.Fatal(err) // it makes the topic
	}
	var services []<-chan *message.Message
	for i := range 2 {
		subscriber, err := wsns.NewSubscriber(wsns.SubscriberConfig{
			AWSConfig: cfg, TopicResolver: topics,
			GenerateSqsQueueName: func(context.Context, wsns.TopicArn) (string, error) { return fmt.Sprint("service-", i), nil },
		}, wsqs.SubscriberConfig{AWSConfig: cfg}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		closing(t, subscriber)
		messages, err := subscriber.Subscribe(t.Context(), "events")
		if err != nil {
			t.Fatal(err)
		}
		services = append(services, messages)
	}
	sent := message.NewMessage(watermill.NewUUID(), []byte(`{"on":true}`))
	sent.Metadata.Set("type", "power")
	if err := publisher.Publish("events", sent); err != nil {
		t.Fatal(err)
	}
	for _, messages := range services {
		got := take(t, messages)
		if string(got.Payload) != `{"on":true}` || got.Metadata.Get("type") != "power" {
			t.Errorf("got %s with %v", got.Payload, got.Metadata)
		}
		got.Ack()
	}
}

// Three workers poll one FIFO queue. Each group comes in order, also when a message is refused once.
func TestSQS_KeepsTheOrderOfGroups(t *testing.T) {
	t.Parallel()
	const groups, each = 5, 20
	e, cfg := serve(t)
	fifo := wsqs.QueueConfigAttributes{FifoQueue: true}
	publisher, err := wsqs.NewPublisher(wsqs.PublisherConfig{
		AWSConfig: cfg, CreateQueueConfig: fifo,
		GenerateSendMessageInput: func(_ context.Context, url wsqs.QueueURL, m *types.Message) (*sqs.SendMessageInput, error) {
			group := m.MessageAttributes["group"].StringValue
			return &sqs.SendMessageInput{
				QueueUrl: aws.String(string(url)), MessageBody: m.Body, MessageAttributes: m.MessageAttributes,
				MessageGroupId: group, MessageDeduplicationId: aws.String(*group + "-" + *m.Body),
			}, nil
		},
	}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, publisher)
	subscriber, err := wsqs.NewSubscriber(wsqs.SubscriberConfig{
		AWSConfig: cfg, QueueConfigAttributes: fifo, ConsumeWorkers: 3,
		GenerateReceiveMessageInput: func(_ context.Context, url wsqs.QueueURL) (*sqs.ReceiveMessageInput, error) {
			return &sqs.ReceiveMessageInput{
				QueueUrl: aws.String(string(url)), MaxNumberOfMessages: 1, WaitTimeSeconds: 1, VisibilityTimeout: 1,
				MessageAttributeNames: []string{"All"},
			}, nil
		},
	}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, subscriber)
	messages, err := subscriber.Subscribe(t.Context(), "q.fifo")
	if err != nil {
		t.Fatal(err)
	}
	for i := range each {
		for g := range groups {
			m := message.NewMessage(watermill.NewUUID(), []byte(strconv.Itoa(i)))
			m.Metadata.Set("group", fmt.Sprint("g", g))
			if err := publisher.Publish("q.fifo", m); err != nil {
				t.Fatal(err)
			}
		}
	}
	handled := map[string][]string{}
	refused := false
	for total := 0; total < groups*each; {
		m := take(t, messages)
		group := m.Metadata.Get("group")
		if group == "g3" && string(m.Payload) == "7" && !refused {
			refused = true
			m.Nack() // it comes again when its visibility timeout has ended
			continue
		}
		handled[group] = append(handled[group], string(m.Payload))
		total++
		m.Ack()
	}
	var want []string
	for i := range each {
		want = append(want, strconv.Itoa(i))
	}
	for g := range groups {
		if got := handled[fmt.Sprint("g", g)]; !slices.Equal(got, want) {
			t.Errorf("group %d came as %v", g, got)
		}
	}
	if !refused {
		t.Error("no message was refused")
	}
	for deadline := time.Now().Add(2 * time.Minute); !e.Idle(); time.Sleep(time.Millisecond) { // the last delete
		if time.Now().After(deadline) {
			t.Fatalf("the queue holds %+v", e.Queues())
		}
	}
}
