package producer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/local/faults"
	"github.com/device-fanout/fanout/producer"
)

// A gateway publishes what its devices say. Here it talks to the local engine; with sns.NewFromConfig it talks to AWS.
func Example() {
	ctx := context.Background()
	client := local.New(local.Options{}).SNS()

	p, err := producer.New(client, newTopicOn(client), producer.Config{Source: "gateway/hall"})
	if err != nil {
		log.Fatal(err)
	}

	// One event: Publish returns once the topic has confirmed it.
	if err := p.Publish(ctx, events.New("lamp-7", device.PowerChanged{On: true})); err != nil {
		log.Fatal(err)
	}
	fmt.Println("lamp-7 is on")

	// Many events: one result for each, in their order. What is wrong with one does not hinder the others.
	results := p.PublishAll(ctx, []events.Event{
		events.New("hall", device.HumidityMeasured{Percent: 45}),
		events.New("cellar", device.HumidityMeasured{Percent: 140}),
		events.New("hall", device.HumidityMeasured{Percent: 46}),
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
	p, err := producer.New(client, newTopicOn(client), producer.Config{Source: "gateway/hall"})
	if err != nil {
		log.Fatal(err)
	}
	err = p.TryEnqueue(events.New("door-1", device.ContactChanged{Open: true}), func(r producer.Result) {
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

// newTopicOn makes a topic like that of the fan-out.
func newTopicOn(client *sns.Client) (arn string) {
	topic, err := client.CreateTopic(context.Background(), &sns.CreateTopicInput{
		Name: aws.String("dev-device-events.fifo"), Attributes: map[string]string{"FifoTopic": "true"},
	})
	if err != nil {
		log.Fatal(err)
	}
	return aws.ToString(topic.TopicArn)
}

// With a spool, an event is safe as soon as Publish returns, whatever happens to the network or to this process. Here the network is
// down, the process ends, and the next one sends what was accepted.
func Example_spool() {
	ctx := context.Background()
	engine := local.New(local.Options{})
	topicARN := newTopicOn(engine.SNS())
	folder, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	cfg := producer.Config{Source: "gateway/hall", Spool: folder}

	engine.Faults().Add(faults.Rule{Kind: faults.CloseConnection, Action: "PublishBatch"})
	p, err := producer.New(engine.SNS(), topicARN, cfg)
	if err != nil {
		log.Fatal(err)
	}
	for _, open := range []bool{true, false, true} {
		if err := p.Publish(ctx, events.New("door-1", device.ContactChanged{Open: open})); err != nil {
			log.Fatal(err)
		}
	}
	atOnce, cancel := context.WithCancel(ctx)
	cancel()
	if err := p.Close(atOnce); err != nil { // what is left stays in the spool, and is no error
		log.Fatal(err)
	}
	fmt.Println(p.Stats().Spooled, "events wait for the network")

	engine.Faults().Clear()
	p, err = producer.New(engine.SNS(), topicARN, cfg)
	if err != nil {
		log.Fatal(err)
	}
	if err := p.Close(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(p.Stats().Confirmed, "confirmed")
	// Output:
	// 3 events wait for the network
	// 3 confirmed
}

// A gateway answers a device only when the event is safe, and says which of the two sides is to blame when it is not.
func Example_gateway() {
	client := local.New(local.Options{}).SNS()
	p, err := producer.New(client, newTopicOn(client), producer.Config{Source: "gateway/hall"})
	if err != nil {
		log.Fatal(err)
	}
	handle := func(w http.ResponseWriter, r *http.Request) {
		line, err := io.ReadAll(http.MaxBytesReader(w, r.Body, producer.DefaultMaxMessageBytes))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		event, err := events.ParseLine(line)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer := make(chan producer.Result, 1)
		err = p.TryEnqueue(event, func(r producer.Result) { answer <- r })
		if err == nil {
			err = (<-answer).Err
		}
		var invalid *producer.InvalidError
		var large *producer.TooLargeError
		switch {
		case err == nil:
			w.WriteHeader(http.StatusAccepted)
		case errors.As(err, &invalid), errors.As(err, &large):
			http.Error(w, err.Error(), http.StatusBadRequest)
		default: // ErrBufferFull, and whatever the topic or the disk said
			w.Header().Set("Retry-After", "1")
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}
	for _, body := range []string{
		`{"device_id":"lamp-7","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`,
		`{"device_id":"lamp-7","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":"yes"}}`,
	} {
		w := httptest.NewRecorder()
		handle(w, httptest.NewRequest(http.MethodPost, "/events", strings.NewReader(body)))
		fmt.Println(strings.TrimSpace(fmt.Sprintf("%d %s", w.Code, w.Body)))
	}
	if err := p.Close(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 202
	// 400 events: invalid data of device.power.changed.v1: data.on: got "yes", want a boolean
}
