package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/gateway"
)

// A gateway in a program of one's own: a producer, keys, and a listener.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	client, topicARN := exampleTopic(ctx)

	p, err := producer.New(client, topicARN, producer.Config{Source: "gateway/hall"}) // with Spool: a folder, in production
	if err != nil {
		panic(err)
	}
	g, err := gateway.New(p, gateway.Anyone(), gateway.Config{}) // gateway.LoadKeys("keys.json"), in production
	if err != nil {
		panic(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(ctx, listener) }()

	// A device sends one good event, and one that is not.
	url := "http://" + listener.Addr().String() + "/v1/events"
	for _, percent := range []int{40, 140} {
		event := fmt.Sprintf(`{"id":"h-%d","device_id":"hall/7","type":"device.humidity.measured.v1","time":"2026-01-31T12:00:00Z","data":{"percent":%d}}`, percent, percent)
		answer, err := http.Post(url, "application/json", strings.NewReader(event))
		if err != nil {
			panic(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		fmt.Printf("%d %s", answer.StatusCode, body)
	}
	http.DefaultClient.CloseIdleConnections()

	stop() // as SIGTERM does, by signal.NotifyContext
	if err := <-served; err != nil {
		panic(err)
	}
	if err := p.Close(context.Background()); err != nil { // publishes what is buffered
		panic(err)
	}
	fmt.Println("published:", p.Stats().Confirmed)
	// Output:
	// 202 {"event_id":"h-40"}
	// 422 {"type":"https://device-fanout.github.io/fanout/problems/invalid-event","title":"The event breaks its contract","status":422,"errors":[{"pointer":"/data/percent","detail":"got 140, want a number from 0 to 100"}]}
	// published: 1
}

// exampleTopic is a topic without an account.
func exampleTopic(ctx context.Context) (producer.TopicAPI, string) {
	engine := local.New(local.Options{})
	d, err := declaration.Topology().In("dev")
	if err != nil {
		panic(err)
	}
	resources, err := provision.Apply(ctx, engine.SNS(), engine.SQS(), d)
	if err != nil {
		panic(err)
	}
	return engine.SNS(), resources.TopicARN
}
