package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
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
	watch     string // rules file
	gateway   string
	mqtt      string
}

func newUp(g *globals) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the whole fan-out in one process: SNS and SQS, topic, queues, all services",
		Long: `Runs everything on this machine: a local SNS and SQS, the topic and queues of an environment, and all services.
It needs no account, and keeps the messages in memory and the services' databases in a folder.

Without --input simulated devices send events until Ctrl-C. With --input the lines of a file are published, as publish
does. Ctrl-C ends it: it publishes nothing more, handles what is in the queues, and prints a summary. With
--until-idle it ends by itself, once everything is handled.

` + exitCodes,
		Args: exactly(0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(o.format); err != nil {
				return err
			}
			switch {
			case g.endpoint != "":
				return &exitError{exitUsage, &hinted{
					errors.New("--endpoint: up brings SNS and SQS of its own"),
					"--addr says where they listen; publish, consume and dlq take --endpoint",
				}}
			case o.untilIdle > 0 && o.input == "":
				return &exitError{exitUsage, &hinted{
					errors.New("--until-idle without --input: simulated devices never stop sending"),
					"add --input FILE, or end it with Ctrl-C",
				}}
			}
			if err := errors.Join(checkRate(o.rate), checkSlots(o.slots), checkIdle(o.untilIdle)); err != nil {
				return &exitError{exitUsage, err}
			}
			d, err := g.deployment()
			if err != nil {
				return err
			}
			return runUp(cmd.Context(), g, d, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.addr, "addr", localAddress, "`HOST:PORT` where SNS and SQS listen")
	f.StringVar(&o.pushAddr, "push-addr", "127.0.0.1:4567", "`HOST:PORT` where push listens")
	f.StringVar(&o.data, "data", "", "`FOLDER` of the services' databases (default: a new temporary folder)")
	f.StringVar(&o.input, "input", "", "publish the lines of this `FILE`, or of standard input for -")
	f.StringVar(&o.format, "format", "ndjson", "`FORMAT` of the input; there is ndjson, one event a line")
	f.Float64Var(&o.rate, "rate", 0, "publish `N` events per second (default: as fast as possible; simulated devices: 10)")
	f.DurationVar(&o.untilIdle, "until-idle", 0, "end once all queues have been empty, with nothing in flight, for this `TIME`, such as 3s")
	f.IntVar(&o.slots, "slots", 0, "run up to `N` handlers of a service at once (default 32)")
	f.BoolVar(&o.asJSON, "json", false, "print the summary as JSON")
	f.StringVar(&o.watch, "watch", "", "redrive dead letters by the rules of this `FILE`; see dlq watch")
	f.StringVar(&o.gateway, "gateway", "", "take events over HTTP too, without keys, at `HOST:PORT`, such as "+gatewayAddress)
	f.StringVar(&o.mqtt, "mqtt", "", "run an MQTT broker too, and take events from it, at `HOST:PORT`")
	return cmd
}

// fleet is everything that up runs.
type fleet struct {
	deployment topology.Deployment
	engine     *local.Engine
	endpoint   string // of the engine
	resources  provision.Resources
	producer   *producer.Producer
	audit      *audit
	feed       *feed
	doors      *doors
	members    []*member
	dataDir    string
	start      time.Time
}

// member is one service with its consumer.
type member struct {
	name       string
	opened     *Service
	consumer   *consumers.Consumer
	closeStore func() error // of its parked devices
}

func runUp(ctx context.Context, g *globals, d topology.Deployment, o upOptions) (err error) {
	// What can be wrong with the command line comes first, so that a mistake leaves nothing behind.
	var input io.ReadCloser
	if o.input != "" {
		if input, err = g.openInput(o.input); err != nil {
			return err
		}
		defer input.Close()
	}
	var rules []deadletter.Rule
	if o.watch != "" {
		if rules, err = g.readRules(o.watch); err != nil {
			return err
		}
	}
	view := newScreen(g.err)
	shown := *g
	shown.err, g = view, &shown // what is reported while the live view is on the screen goes above it

	f := &fleet{deployment: d, audit: newAudit(), start: time.Now()}
	f.engine = local.New(local.Options{Logger: newLogger(g.err)})
	defer f.engine.Close()
	if f.endpoint, err = f.engine.Listen(o.addr); err != nil {
		return portTaken(err, "--addr")
	}
	if f.resources, err = provision.Apply(ctx, f.engine.SNS(), f.engine.SQS(), d); err != nil {
		return err
	}
	if f.dataDir, err = dataFolder(o.data); err != nil {
		return err
	}
	temporary := o.data == ""
	o.data, o.relaxed, o.logger = f.dataDir, true, newLogger(g.err)
	defer f.closeServices(ctx)
	if err := f.openServices(ctx, g, o); err != nil {
		if temporary {
			f.closeServices(ctx)
			_ = os.RemoveAll(f.dataDir) // nothing has been handled yet
		}
		return err
	}
	if f.producer, err = producer.New(f.engine.SNS(), f.resources.TopicARN, producer.Config{Source: "fanout/up", Logger: newLogger(g.err)}); err != nil {
		return err
	}
	f.feed = &feed{
		producer: f.producer, rate: o.rate, warn: g.err,
		offered:   f.audit.in,
		confirmed: func(r producer.Result) { f.audit.confirmed(r.Event.ID) },
	}
	if f.doors, err = openDoors(f.feed, o, g); err != nil {
		return err
	}
	f.greet(g)

	stopWatch := f.redriveByRules(ctx, g, rules)
	err = f.work(ctx, g, input, view, o)
	stopWatch()
	sum := f.summary()
	if printErr := sum.print(g, o.asJSON); err == nil {
		err = printErr
	}
	verdict := sum.verdict()
	if err != nil && exitCodeOf(verdict) == exitRejected {
		return err
	}
	return errors.Join(verdict, err)
}

func (f *fleet) openServices(ctx context.Context, g *globals, o upOptions) error {
	for _, s := range f.deployment.Services {
		opened, err := g.openService(ctx, s.Name, o.serviceOptions)
		if errors.Is(err, errElsewhere) {
			fmt.Fprintf(g.err, "%s: %v; its queue fills\n", s.Name, err)
			continue
		}
		if err != nil {
			return err
		}
		if opened.Past != nil {
			o.past = opened.Past
		}
		store, closeStore, err := openEmptyStore(ctx, s.Name, s.GroupPolicy, o.serviceOptions)
		if err != nil {
			return errors.Join(err, opened.Close(ctx))
		}
		m := &member{name: s.Name, opened: opened, closeStore: closeStore}
		f.members = append(f.members, m)
		cfg := consumerConfig(f.deployment, s, o.slots, g)
		cfg.Parking, cfg.UnknownTypes = store, opened.UnknownTypes
		m.consumer, err = consumers.New(f.engine.SQS(), f.resources.Queues[s.Name],
			f.audit.watch(s.Name, s.Wants, opened.Handle), cfg)
		if err != nil {
			return err
		}
	}
	return nil
}

// redriveByRules watches the dead-letter queues until ctx ends or stop is called, which waits for the end of what is under way.
func (f *fleet) redriveByRules(ctx context.Context, g *globals, rules []deadletter.Rule) (stop func()) {
	if rules == nil {
		return func() {}
	}
	w := &watcher{g: g, api: clients{sns: f.engine.SNS(), sqs: f.engine.SQS()}, rules: rules, state: f.dataDir, out: g.err}
	for _, s := range f.deployment.Services {
		w.sources = append(w.sources, deadletter.Source{Service: s.Name, URL: f.resources.Queues[s.Name].DLQURL, Queue: f.deployment.QueueName(s.Name)})
	}
	w.sources = withoutParking(f.deployment, w.sources, g.err)
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.run(ctx, watchEvery)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// watchEvery is how often up looks at its dead-letter queues when it redrives by rules.
const watchEvery = 5 * time.Second

func (f *fleet) closeServices(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, m := range f.members {
		_ = m.opened.Close(ctx) // what was handled is committed; there is nothing left to lose
		_ = m.closeStore()
	}
}

func (f *fleet) pushAddress() string {
	for _, m := range f.members {
		if m.opened.Address != "" {
			return m.opened.Address
		}
	}
	return ""
}

// work publishes and handles until it is interrupted or idle, and then drains.
func (f *fleet) work(ctx context.Context, g *globals, input io.Reader, view *screen, o upOptions) error {
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
	go func() { fed <- f.publish(feeding, g, input, o) }()
	stopView := f.show(ctx, g.app.Name, view)

	idle := func() (bool, error) {
		select {
		case err := <-failed: // its queue would never be idle
			return false, err
		default:
			return f.idle(), nil
		}
	}
	var err error
	select {
	case err = <-fed: // every event is accepted and answered
		switch {
		case err == nil && o.untilIdle > 0:
			err = waitIdle(ctx, o.untilIdle, idle)
		case err == nil:
			select {
			case <-ctx.Done():
			case err = <-failed:
			}
		}
		// The queues end with this process. So what is in them is handled first, as far as that takes no more than a moment.
		patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), interruptPatience)
		err = errors.Join(err, waitIdle(patient, 0, idle))
		cancel()
	case err = <-failed:
		stopFeeding()
		<-fed
	}
	stopConsuming()
	running.Wait()
	stopView()
	select {
	case late := <-failed:
		err = errors.Join(err, late)
	default:
	}
	return err
}

// interruptPatience is how long up goes on handling what is in its queues after it was interrupted.
const interruptPatience = 5 * time.Second

// publish feeds the producer and returns once every event that it accepted is answered.
func (f *fleet) publish(ctx context.Context, g *globals, input io.Reader, o upOptions) error {
	rate := o.rate
	open, closeDoors := context.WithCancel(ctx)
	doors := make(chan error, 1)
	go func() { doors <- f.doors.run(open) }()
	var err error
	if input != nil {
		err = f.feed.run(ctx, input)
	} else {
		if rate == 0 {
			rate = simulatedRate
		}
		err = g.simulate(ctx, rate, func(e events.Event) error { return f.feed.publish(ctx, 0, e) })
		if ctx.Err() != nil {
			err = nil // it never ends by itself
		}
	}
	if err == nil && o.untilIdle == 0 && f.doors.any() {
		<-ctx.Done()
	}
	closeDoors()
	err = errors.Join(err, <-doors)
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

// deadLetters takes everything out of a service's dead-letter queue, which ends with this process, and returns the IDs of the
// events. Looking without taking would show no more than the first few of each device.
func (f *fleet) deadLetters(ctx context.Context, service string) (ids map[string]bool, count int64, err error) {
	ids = map[string]bool{}
	api, url := f.engine.SQS(), f.resources.Queues[service].DLQURL
	for {
		out, err := api.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10})
		if err != nil || len(out.Messages) == 0 {
			return ids, count, err
		}
		for _, m := range out.Messages {
			var event struct {
				ID string `json:"id"`
			}
			_ = json.Unmarshal([]byte(aws.ToString(m.Body)), &event) // an undecodable body is a common reason to be here
			count++
			ids[event.ID] = true
			if _, err := api.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				return ids, count, err
			}
		}
	}
}
