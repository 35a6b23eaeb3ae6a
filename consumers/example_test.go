package consumers_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
)

// A service handles the events of its queue. Here it talks to the local engine; with sqs.NewFromConfig it talks to AWS.
func Example() {
	ctx, stop := context.WithCancel(context.Background()) // a service would use signal.NotifyContext
	client := local.New(local.Options{}).SQS()
	queue := consumers.Queue{Service: "lights", URL: createQueue(client, "dev-lights.fifo"), DLQURL: createQueue(client, "dev-lights-dlq.fifo")}

	var mux consumers.Mux
	consumers.On(&mux, func(_ context.Context, e events.Event, data device.PowerChanged) error {
		if e.DeviceID == "lamp-9" {
			return consumers.Known("no_such_device", fmt.Errorf("device %s is not registered", e.DeviceID))
		}
		fmt.Printf("%s is on: %t\n", e.DeviceID, data.On)
		if !data.On {
			stop() // for this example: what has begun is finished before Run returns
		}
		return nil
	})

	// What the topic would deliver.
	for _, e := range []events.Event{
		events.New("lamp-9", device.PowerChanged{On: true}),
		events.New("lamp-7", device.PowerChanged{On: true}),
		events.New("lamp-7", device.PowerChanged{On: false}),
	} {
		e.Source = "gateway/hall"
		body, err := events.Encode(e)
		if err != nil {
			log.Fatal(err)
		}
		_, err = client.SendMessage(ctx, &sqs.SendMessageInput{
			QueueUrl: &queue.URL, MessageBody: aws.String(string(body)), MessageGroupId: &e.DeviceID, MessageDeduplicationId: &e.ID,
		})
		if err != nil {
			log.Fatal(err)
		}
	}

	c, err := consumers.New(client, queue, mux.Dispatch, consumers.Config{WaitTime: time.Second})
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Run(ctx); err != nil {
		log.Fatal(err)
	}
	stats := c.Stats()
	fmt.Println("handled:", stats.Handled, "dead-lettered:", stats.DeadLettered)
	// Output:
	// lamp-7 is on: true
	// lamp-7 is on: false
	// handled: 2 dead-lettered: 1
}

func createQueue(client *sqs.Client, name string) (url string) {
	out, err := client.CreateQueue(context.Background(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{"FifoQueue": "true"}})
	if err != nil {
		log.Fatal(err)
	}
	return aws.ToString(out.QueueUrl)
}
