package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
	"github.com/device-fanout/fanout/producer"
)

// upOptions are the flags of up.
type upOptions struct {
	serviceOptions
	addr      string
	input     string
	format    string
	rate      float64
	untilIdle time.Duration
	slots     int
	asJSON    bool
}

func newUp(g *globals) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the whole fan-out in one process: SNS and SQS, topic, queues, all services",
		Long: `Runs everything on this machine: a local SNS and SQS, the topic and queues of an environment, and all services.
It needs no account and keeps the messages in memory.

Without --input a simulated household publishes events until Ctrl-C. With --input the lines of a file are published; with
--until-idle it ends once everything is handled, and prints a summary.

` + exitCodes,
		Args: exactly(0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(o.format); err != nil {
				return err
			}
			if o.rate < 0 {
				return &exitError{exitUsage, fmt.Errorf("--rate: got %v, want events per second", o.rate)}
			}
			return runUp(cmd.Context(), g, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.addr, "addr", localAddress, "where SNS and SQS listen")
	f.StringVar(&o.pushAddr, "push-addr", "127.0.0.1:4567", "where push listens")
	f.StringVar(&o.data, "data", "", "folder of the services' databases (default: a new temporary folder)")
	f.StringVar(&o.input, "input", "", "publish the lines of this file, or of standard input for -")
	f.StringVar(&o.format, "format", "ndjson", "format of the input")
	f.Float64Var(&o.rate, "rate", 0, "events per second (default: as fast as possible; the household: 10)")
	f.DurationVar(&o.untilIdle, "until-idle", 0, "end once all queues have had nothing visible, delayed or in flight for this long")
	f.IntVar(&o.slots, "slots", 0, "handlers of a service that may run at once (default 32)")
	f.BoolVar(&o.asJSON, "json", false, "print the summary as JSON")
	return cmd
}

// fleet is everything that up runs.
type fleet struct {
	deployment topology.Deployment
	engine     *local.Engine
	resources  provision.Resources
	producer   *producer.Producer
	audit      *audit
	feed       *feed
	members    []*member
	dataDir    string
	start      time.Time
}

// member is one service with its consumer.
type member struct {
	name     string
	opened   *service
	consumer *consumers.Consumer
}

func runUp(ctx context.Context, g *globals, o upOptions) error {
	// The input and the ports come first, so that a mistake in them leaves nothing behind.
	d, err := g.deployment()
	if err != nil {
		return err
	}
	f := &fleet{deployment: d, audit: newAudit(), start: time.Now()}
	f.engine = local.New(local.Options{Logger: newLogger(g.err)})
	defer f.engine.Close()
	endpoint, err := f.engine.Listen(o.addr)
	if err != nil {
		return portTaken(err, "--addr")
	}
	if f.resources, err = provision.Apply(ctx, f.engine.SNS(), f.engine.SQS(), d); err != nil {
		return err
	}
	if f.dataDir, err = dataFolder(o.data); err != nil {
		return err
	}
	o.data, o.relaxed = f.dataDir, true
	defer f.closeServices(ctx)
	if err := f.openServices(ctx, g, o); err != nil {
		return err
	}
	if f.producer, err = producer.New(f.engine.SNS(), f.resources.TopicARN, producer.Config{Source: "fanout/up", Logger: newLogger(g.err)}); err != nil {
		return err
	}
	f.feed = &feed{
		producer: f.producer, rate: o.rate, warn: g.err,
		accepted: f.audit.in, refused: f.audit.refused,
		confirmed: func(r producer.Result) { f.audit.confirmed(r.Event.ID) },
	}
	fmt.Fprintf(g.err, "SNS and SQS on %s, live events on http://%s, databases in %s\n", endpoint, f.pushAddress(), f.dataDir)

	err = f.work(ctx, g, o)
	sum := f.summary()
	if printErr := sum.print(g, o.asJSON); err == nil {
		err = printErr
	}
	if err != nil {
		return err
	}
	return sum.verdict()
}

func (f *fleet) openServices(ctx context.Context, g *globals, o upOptions) error {
	for _, s := range f.deployment.Services {
		opened, err := openService(ctx, s.Name, o.serviceOptions)
		if err != nil {
			return err
		}
		m := &member{name: s.Name, opened: opened}
		f.members = append(f.members, m)
		q := f.resources.Queues[s.Name]
		m.consumer, err = consumers.New(f.engine.SQS(), consumers.Queue{Service: s.Name, URL: q.URL, DLQURL: q.DLQURL},
			f.audit.watch(s.Name, s.Wants, opened.handle), consumerConfig(f.deployment, s, o.slots, g))
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) closeServices(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, m := range f.members {
		_ = m.opened.close(ctx) // what was handled is committed; there is nothing left to lose
	}
}

func (f *fleet) pushAddress() string {
	for _, m := range f.members {
		if m.opened.address != "" {
			return m.opened.address
		}
	}
	return ""
}

// work publishes and handles until it is interrupted or idle, and then drains.
func (f *fleet) work(ctx context.Context, g *globals, o upOptions) error {
	consuming, stopConsuming := context.WithCancel(context.WithoutCancel(ctx))
	defer stopConsuming()
	failed := make(chan error, len(f.members))
	var running sync.WaitGroup
	for _, m := range f.members {
		running.Go(func() {
			if err := m.consumer.Run(consuming); err != nil {
				failed <- fmt.Errorf("service %s: %w", m.name, err)
			}
		})
	}
	feeding, stopFeeding := context.WithCancel(ctx)
	defer stopFeeding()
	fed := make(chan error, 1)
	go func() { fed <- f.publish(feeding, g, o) }()
	stopScreen := f.show(g, o)

	var err error
	select {
	case err = <-fed: // every event is accepted and answered
	case err = <-failed:
		stopFeeding()
		<-fed
	}
	if err == nil && o.untilIdle > 0 {
		err = waitIdle(ctx, o.untilIdle, func() (bool, error) { return f.idle(), nil })
	}
	if err == nil && o.untilIdle <= 0 {
		select {
		case <-ctx.Done():
		case err = <-failed:
		}
	}
	stopConsuming()
	running.Wait()
	stopScreen()
	select {
	case late := <-failed:
		err = errors.Join(err, late)
	default:
	}
	return err
}

// publish feeds the producer and returns once every event that it accepted is answered.
func (f *fleet) publish(ctx context.Context, g *globals, o upOptions) error {
	var err error
	switch {
	case o.input != "":
		input, openErr := g.openInput(o.input)
		if openErr != nil {
			return openErr
		}
		defer input.Close()
		err = f.feed.run(ctx, input)
	default:
		rate := o.rate
		if rate == 0 {
			rate = 10
		}
		err = newHousehold().run(ctx, rate, func(e events.Event) error {
			n := f.feed.in.Add(1)
			err := f.feed.publish(ctx, int(n), e)
			if ctx.Err() != nil {
				return nil
			}
			return err
		})
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), producer.MaxGiveUpAfter)
	defer cancel()
	return errors.Join(err, f.producer.Close(closing))
}

// idle tells whether no service's queue has anything visible, delayed or in flight.
func (f *fleet) idle() bool {
	names := make([]string, len(f.members))
	for i, m := range f.members {
		names[i] = f.deployment.QueueName(m.name)
	}
	return f.engine.Idle(names...)
}

// deadLetters reads the IDs of the events in a service's dead-letter queue.
func (f *fleet) deadLetters(ctx context.Context, service string) (ids map[string]bool, count int64, err error) {
	ids = map[string]bool{}
	from := deadletter.Source{Service: service, URL: f.resources.Queues[service].DLQURL}
	err = deadletter.Scan(ctx, f.engine.SQS(), from, func(l *deadletter.Letter) bool {
		count++
		ids[l.EventID] = true
		return true
	})
	return ids, count, err
}
