// Command quickstart is a gateway and a service in one program: it publishes one event and handles what comes, until Ctrl-C.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/producer"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg, err := config.LoadDefaultConfig(ctx) // AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL, …
	if err == nil {
		err = run(ctx, cfg, os.Stdout)
	}
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, cfg aws.Config, out io.Writer) error {
	// Topic and queues are found by their names, which follow from the declaration.
	dev, err := declaration.Topology().In("dev")
	if err != nil {
		return err
	}
	settings := consumers.Config{
		WaitTime: dev.Environment.WaitTime,
		Check:    func(context.Context) error { return nil }, // asks whether what the handler needs works; this one needs nothing
	}
	topics, queues := sns.NewFromConfig(cfg), consumers.NewClient(cfg, settings)
	there, err := provision.Find(ctx, topics, queues, dev)
	if err != nil {
		return err
	}

	// The gateway.
	p, err := producer.New(topics, there.TopicARN, producer.Config{Source: "gateway/hall"})
	if err != nil {
		return err
	}
	if err := p.Publish(ctx, events.New("lamp-7", device.PowerChanged{On: true})); err != nil {
		return err
	}
	if err := p.Close(ctx); err != nil {
		return err
	}

	// The service.
	var mux consumers.Mux
	consumers.On(&mux, func(_ context.Context, e events.Event, data device.PowerChanged) error {
		fmt.Fprintln(out, e.DeviceID, "on:", data.On)
		return nil // handled: the message is deleted
	})
	queue := consumers.Queue{Service: "push", URL: there.Queues["push"].URL, DLQURL: there.Queues["push"].DLQURL}
	c, err := consumers.New(queues, queue, mux.Dispatch, settings)
	if err != nil {
		return err
	}
	return c.Run(ctx) // until ctx ends, then it drains
}
