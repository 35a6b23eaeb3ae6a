package local_test

import (
	"context"
	"fmt"
	"log"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/infra/local"
)

// A topic, a queue that subscribes to it, and a message on its way.
func Example() {
	ctx := context.Background()
	engine := local.New(local.Options{})
	topics, queues := engine.SNS(), engine.SQS()

	fifo := map[string]string{"FifoQueue": "true"}
	queue, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("state.fifo"), Attributes: fifo})
	if err != nil {
		log.Fatal(err)
	}
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{
		Name: aws.String("events.fifo"), Attributes: map[string]string{"FifoTopic": "true"},
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := topics.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"),
		Endpoint:   aws.String("arn:aws:sqs:eu-central-1:000000000000:state.fifo"),
		Attributes: map[string]string{"RawMessageDelivery": "true"},
	}); err != nil {
		log.Fatal(err)
	}
	if _, err := topics.Publish(ctx, &sns.PublishInput{
		TopicArn: topic.TopicArn, Message: aws.String(`{"on":true}`),
		MessageGroupId: aws.String("lamp-1"), MessageDeduplicationId: aws.String("event-1"),
	}); err != nil {
		log.Fatal(err)
	}
	received, err := queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, WaitTimeSeconds: 20})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(*received.Messages[0].Body)
	// Output: {"on":true}
}
