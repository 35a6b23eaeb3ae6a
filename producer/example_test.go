package producer_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/producer"
)

// A gateway publishes what its devices say. Here it talks to the local engine; with sns.NewFromConfig it talks to AWS.
func Example() {
	ctx := context.Background()
	client := local.New(local.Options{}).SNS()
	topic, err := client.CreateTopic(ctx, &sns.CreateTopicInput{
		Name: aws.String("dev-device-events.fifo"), Attributes: map[string]string{"FifoTopic": "true"},
	})
	if err != nil {
		log.Fatal(err)
	}

	p, err := producer.New(client, aws.ToString(topic.TopicArn), producer.Config{Source: "gateway/hall"})
	if err != nil {
		log.Fatal(err)
	}

	// One event: Publish returns once the topic has confirmed it.
	if err := p.Publish(ctx, events.New("lamp-7", events.PowerChanged{On: true})); err != nil {
		log.Fatal(err)
	}
	fmt.Println("lamp-7 is on")

	// Many events: one result for each, in their order. What is wrong with one does not hinder the others.
	results := p.PublishAll(ctx, []events.Event{
		events.New("hall", events.HumidityMeasured{Percent: 45}),
		events.New("cellar", events.HumidityMeasured{Percent: 140}),
		events.New("hall", events.HumidityMeasured{Percent: 46}),
	})
	for _, r := range results {
		var invalid *producer.InvalidError
		switch {
		case errors.As(r.Err, &invalid):
			fmt.Printf("%s: refused: %v\n", r.Event.DeviceID, invalid.Err)
		case r.Err != nil:
			log.Fatal(r.Err)
		default:
			fmt.Printf("%s: confirmed\n", r.Event.DeviceID)
		}
	}

	// Close sends what is still buffered and answers for every event.
	if err := p.Close(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Stats().Confirmed, "confirmed")
	// Output:
	// lamp-7 is on
	// hall: confirmed
	// cellar: refused: events: invalid data of device.humidity.measured.v1: data.percent: got 140, want a number from 0 to 100
	// hall: confirmed
	// 3 confirmed
}

// Enqueue does not wait for the topic: the answer comes to a func. TryEnqueue does not even wait for room.
func ExampleProducer_TryEnqueue() {
	ctx := context.Background()
	client := local.New(local.Options{}).SNS()
	topic, err := client.CreateTopic(ctx, &sns.CreateTopicInput{
		Name: aws.String("dev-device-events.fifo"), Attributes: map[string]string{"FifoTopic": "true"},
	})
	if err != nil {
		log.Fatal(err)
	}
	p, err := producer.New(client, aws.ToString(topic.TopicArn), producer.Config{Source: "gateway/hall"})
	if err != nil {
		log.Fatal(err)
	}
	err = p.TryEnqueue(events.New("door-1", events.ContactChanged{Open: true}), func(r producer.Result) {
		fmt.Println(r.Event.DeviceID, "confirmed:", r.Err == nil)
	})
	switch {
	case errors.Is(err, producer.ErrBufferFull):
		fmt.Println("no room: drop it, or keep it elsewhere")
	case err != nil:
		log.Fatal(err)
	}
	if err := p.Close(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: door-1 confirmed: true
}
