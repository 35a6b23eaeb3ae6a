package deadletter_test

import (
	"context"
	"fmt"
	"log"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/infra/local"
)

// Once the cause is fixed, the events that failed for it go back to their queue.
func Example() {
	ctx := context.Background()
	client := local.New(local.Options{}).SQS()
	queue := createQueue(client, "dev-lights.fifo")
	from := deadletter.Source{Service: "lights", URL: createQueue(client, "dev-lights-dlq.fifo"), Queue: "dev-lights.fifo"}

	// What a consumer has put there.
	for i, code := range []string{"no_such_room", "panic", "no_such_room"} {
		record := deadletter.Record{
			Service: "lights", Queue: "arn:aws:sqs:eu-central-1:000000000000:dev-lights.fifo",
			Class: deadletter.Known, Code: code, Error: "the room of lamp-7 was not imported", Attempts: 1,
		}
		_, err := client.SendMessage(ctx, &sqs.SendMessageInput{
			QueueUrl: &from.URL, MessageBody: aws.String(fmt.Sprintf(`{"id":"e%d","type":"device.power.changed.v1"}`, i+1)),
			MessageGroupId: aws.String("lamp-7"), MessageDeduplicationId: aws.String(fmt.Sprint(i)),
			MessageAttributes: map[string]types.MessageAttributeValue{
				deadletter.Attribute: {DataType: aws.String("String"), StringValue: aws.String(record.Encode())},
			},
		})
		if err != nil {
			log.Fatal(err)
		}
	}

	sum, err := deadletter.Redrive(ctx, client, from, deadletter.Config{
		Filter: deadletter.Filter{Code: "no_such_room"},
		Report: func(o deadletter.Outcome) {
			fmt.Printf("%s %s: %s: moved: %t\n", o.Message.DeviceID, o.Message.EventID, o.Message.Record.Error, o.Err == nil)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sum.Moved, "of", sum.Seen, "moved")

	waiting, err := deadletter.ReadDepth(ctx, client, queue)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(waiting.Visible, "wait in the queue")
	// Output:
	// lamp-7 e1: the room of lamp-7 was not imported: moved: true
	// lamp-7 e3: the room of lamp-7 was not imported: moved: true
	// 2 of 3 moved
	// 2 wait in the queue
}

func createQueue(client *sqs.Client, name string) (url string) {
	out, err := client.CreateQueue(context.Background(), &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{"FifoQueue": "true"}})
	if err != nil {
		log.Fatal(err)
	}
	return aws.ToString(out.QueueUrl)
}
