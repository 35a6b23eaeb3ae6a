package cli

import (
	"cmp"
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
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/terminal"
)

// upSource is the source of events that name none.
const upSource = "fanout/up"

// upOptions are the flags of up.
type upOptions struct {
	serviceOptions
	addr      string
	input     string
	format    string
	rate      float64
	untilIdle time.Duration
	slots     int
	maxFuture time.Duration
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
			if err := errors.Join(checkRate(o.rate), checkSlots(o.slots), checkIdle(o.untilIdle), checkMaxFuture(o.maxFuture)); err != nil {
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
	addExpose(cmd, &o.exposed, "what listens here, and asks for no key")
	f.StringVar(&o.data, "data", "", "`FOLDER` of the services' databases (default: a new temporary folder)")
	f.StringVar(&o.input, "input", "", "publish the lines of this `FILE`, or of standard input for -")
	f.StringVar(&o.format, "format", "ndjson", "`FORMAT` of the input; there is ndjson, one event a line")
	f.Float64Var(&o.rate, "rate", 0, "publish `N` events per second (default: as fast as possible; simulated devices: 10)")
	f.DurationVar(&o.untilIdle, "until-idle", 0, "end once all queues have been empty, with nothing in flight, for this `TIME`, such as 3s")
	f.IntVar(&o.slots, "slots", 0, "run up to `N` handlers of a service at once (default 32)")
	maxFutureFlag(cmd, &o.maxFuture)
	f.BoolVar(&o.asJSON, "json", false, "print the summary as JSON")
	f.StringVar(&o.watch, "watch", "", "redrive dead letters by the rules of this `FILE`; see dlq watch")
	f.StringVar(&o.gateway, "gateway", "", "take events over HTTP too, without keys, at `HOST:PORT`, such as "+gatewayAddress)
	f.StringVar(&o.mqtt, "mqtt", "", "run an MQTT broker too, and take events from it, at `HOST:PORT`")
	return cmd
}

// localEnvironment is an environment in this process: everything that up runs.
type localEnvironment struct {
	deployment topology.Deployment
	engine     *local.Engine
	endpoint   string // of the engine
	resources  provision.Resources
	producer   *producer.Producer
	audit      *audit
	publisher  *publisher
	inputs     *gatewayInputs
	services   []*runningService
	dataDir    string
	start      time.Time
}

// runningService is one service with its consumer.
type runningService struct {
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
	view := terminal.NewScreen(g.err)
	shown := *g
	shown.err, g = view, &shown // what is reported while the live view is on the screen goes above it

	env := &localEnvironment{deployment: d, audit: newAudit(), start: time.Now()}
	env.engine = local.New(local.Options{Logger: newLogger(g.err), Exposed: o.exposed})
	defer env.engine.Close()
	if env.endpoint, err = env.engine.Listen(o.addr); err != nil {
		return notListening(err, "--addr")
	}
	if env.resources, err = provision.Apply(ctx, env.engine.SNS(), env.engine.SQS(), d); err != nil {
		return err
	}
	if env.dataDir, err = dataFolder(o.data); err != nil {
		return err
	}
	temporary := o.data == ""
	o.data, o.relaxed, o.logger = env.dataDir, true, newLogger(g.err)
	defer env.closeServices(ctx)
	if err := env.openServices(ctx, g, o); err != nil {
		if temporary {
			env.closeServices(ctx)
			_ = os.RemoveAll(env.dataDir) // nothing has been handled yet
		}
		return err
	}
	if env.producer, err = producer.New(env.engine.SNS(), env.resources.TopicARN, producer.Config{Source: upSource, MaxFuture: o.maxFuture, Logger: newLogger(g.err)}); err != nil {
		return err
	}
	env.publisher = &publisher{
		producer: env.producer, rate: o.rate, warn: g.err,
		offered: func(e events.Event) func() {
			e.Source = cmp.Or(e.Source, upSource) // as the producer does
			return env.audit.in(e)
		},
		confirmed: func(r producer.Result) { env.audit.confirmed(r.Event.Identity()) },
	}
	if env.inputs, err = openGatewayInputs(env.publisher, o, g); err != nil {
		return err
	}
	env.printAddresses(g)

	stopWatch := env.redriveByRules(ctx, g, rules)
	err = env.work(ctx, g, input, view, o)
	stopWatch()
	sum := env.summary()
	if printErr := sum.print(g, o.asJSON); err == nil {
		err = printErr
	}
	failure := sum.failure()
	if err != nil && exitCodeOf(failure) == exitRejected {
		return err
	}
	return errors.Join(failure, err)
}

func (env *localEnvironment) openServices(ctx context.Context, g *globals, o upOptions) error {
	for _, s := range env.deployment.Services {
		opened, err := g.openService(ctx, s.Name, o.serviceOptions)
		if errors.Is(err, errElsewhere) {
			fmt.Fprintf(g.err, "%s: %v; its queue will fill up\n", s.Name, err)
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
		svc := &runningService{name: s.Name, opened: opened, closeStore: closeStore}
		env.services = append(env.services, svc)
		cfg := consumerConfig(env.deployment, s, o.slots, g)
		cfg.Parking, cfg.UnknownTypes, cfg.Check = store, opened.UnknownTypes, opened.Check
		svc.consumer, err = consumers.New(env.engine.SQS(), env.resources.Queues[s.Name],
			env.audit.watch(s.Name, s.Wants, opened.Handle), cfg)
		if err != nil {
			return err
		}
	}
	return nil
}

// redriveByRules watches the dead-letter queues until ctx ends or stop is called, which waits for the end of what is under way.
func (env *localEnvironment) redriveByRules(ctx context.Context, g *globals, rules []deadletter.Rule) (stop func()) {
	if rules == nil {
		return func() {}
	}
	w := &watcher{g: g, api: clients{sns: env.engine.SNS(), sqs: env.engine.SQS()}, rules: rules, state: env.dataDir, out: g.err}
	for _, s := range env.deployment.Services {
		w.sources = append(w.sources, deadletter.Source{Service: s.Name, URL: env.resources.Queues[s.Name].DLQURL, Queue: env.deployment.QueueName(s.Name)})
	}
	w.sources = withoutParking(env.deployment, w.sources, g.err)
	return inBackground(ctx, func(ctx context.Context) { _ = w.run(ctx, watchEvery) })
}

// watchEvery is how often up reads its dead-letter queues when it redrives by rules.
const watchEvery = 5 * time.Second

func (env *localEnvironment) closeServices(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, svc := range env.services {
		_ = svc.opened.Close(ctx) // what was handled is committed; there is nothing left to lose
		_ = svc.closeStore()
	}
}

func (env *localEnvironment) pushAddress() string {
	for _, svc := range env.services {
		if svc.opened.Address != "" {
			return svc.opened.Address
		}
	}
	return ""
}

// work publishes and handles until it is interrupted or idle, and then drains.
func (env *localEnvironment) work(ctx context.Context, g *globals, input io.Reader, view *terminal.Screen, o upOptions) error {
	consuming, stopConsuming := context.WithCancel(context.WithoutCancel(ctx))
	defer stopConsuming()
	failed := make(chan error, len(env.services))
	var running sync.WaitGroup
	for _, svc := range env.services {
		running.Go(func() {
			if err := svc.consumer.Run(consuming); err != nil {
				failed <- fmt.Errorf("service %s: %w", svc.name, err)
			}
		})
	}
	publishing, stopPublishing := context.WithCancel(ctx)
	defer stopPublishing()
	published := make(chan error, 1)
	go func() { published <- env.publish(publishing, g, input, o) }()
	stopView := env.show(ctx, g.app.Name, view)

	idle := func() (bool, error) {
		select {
		case err := <-failed: // its queue would never be idle
			return false, err
		default:
			return env.idle(), nil
		}
	}
	var err error
	select {
	case err = <-published: // every event is accepted and has its outcome
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
		stopPublishing()
		<-published
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

// publish publishes the input or simulated events, and what comes in by a gateway. It returns once every accepted event has its
// outcome.
func (env *localEnvironment) publish(ctx context.Context, g *globals, input io.Reader, o upOptions) error {
	rate := o.rate
	open, closeInputs := context.WithCancel(ctx)
	inputs := make(chan error, 1)
	go func() { inputs <- env.inputs.run(open) }()
	var err error
	if input != nil {
		err = env.publisher.run(ctx, input)
	} else {
		if rate == 0 {
			rate = simulatedRate
		}
		err = g.simulate(ctx, rate, func(e events.Event) error { return env.publisher.publish(ctx, 0, e) })
		if ctx.Err() != nil {
			err = nil // it never ends by itself
		}
	}
	if err == nil && o.untilIdle == 0 && env.inputs.any() {
		<-ctx.Done()
	}
	closeInputs()
	err = errors.Join(err, <-inputs)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), producer.MaxGiveUpAfter)
	defer cancel()
	return errors.Join(err, env.producer.Close(closing))
}

// idle tells whether no service's queue has anything visible, delayed or in flight.
func (env *localEnvironment) idle() bool {
	names := make([]string, len(env.services))
	for i, svc := range env.services {
		names[i] = env.deployment.QueueName(svc.name)
	}
	return env.engine.Idle(names...)
}

// deadLetters takes everything out of a service's dead-letter queue, which ends with this process, and returns whose events
// they are. Looking without taking would show no more than the first few of each device.
func (env *localEnvironment) deadLetters(ctx context.Context, service string) (ids map[events.Identity]bool, count int64, err error) {
	ids = map[events.Identity]bool{}
	api, url := env.engine.SQS(), env.resources.Queues[service].DLQURL
	for {
		out, err := api.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10})
		if err != nil || len(out.Messages) == 0 {
			return ids, count, err
		}
		for _, m := range out.Messages {
			var event events.Identity
			_ = json.Unmarshal([]byte(aws.ToString(m.Body)), &event) // an undecodable body is a common reason to be here
			count++
			ids[event] = true
			if _, err := api.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				return ids, count, err
			}
		}
	}
}
