package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/terminal"
)

func newConsume(g *globals) *cobra.Command {
	var o serviceOptions
	var healthAddr string
	var untilIdle, shutdownDelay time.Duration
	var slots int
	var asJSON, refuseReused bool
	cmd := &cobra.Command{
		Use:   "consume SERVICE",
		Short: "Run one service on its queue",
		Long: `Runs a service on its queue until it is interrupted (SIGINT, SIGTERM), and then drains: it starts nothing new, hands
back what it has not started, finishes what is running and deletes what is done. What it has handed back, another one
can take at once.

On a terminal it shows what it does and which devices are blocked, by which event, why, and what they wait for. With
--health-addr the same can be asked for by HTTP, and /livez says whether the process is to be replaced, /startupz
whether it has begun to receive, /readyz whether events can be received and handled, and if not, why. A container's
check asks /livez: a database that is down is down for the next container too.

Of the ready services, history and state keep a database, and know by it which events they have handled: for them there
is --refuse-reused. Push keeps none; it offers its events by WebSocket, and a page that shows them. A client of push
that comes back gets what it has missed: the last thousand events, and, with --data or --database, whatever the history
there has. With FANOUT_PUSH_TOKEN set, clients must show that token. Behind a load balancer give --shutdown-delay: push
goes on for so long after SIGTERM, while its /healthz says 503 and clients that come go elsewhere.
With --fan-in several processes of push serve all clients: each event that one of them handles, all of them pass on, by
a table in their database, which is PostgreSQL. There, too, --refuse-reused counts.`,
		Args:              exactly(1, "a service"),
		ValidArgsFunction: g.serviceNames,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := errors.Join(checkSlots(slots), checkIdle(untilIdle), checkShutdownDelay(shutdownDelay)); err != nil {
				return &exitError{exitUsage, err}
			}
			d, err := g.deployment()
			if err != nil {
				return err
			}
			s, err := d.Service(args[0])
			if err != nil {
				return &exitError{exitUsage, err}
			}
			if err := checkFanIn(o); err != nil {
				return err
			}
			api, err := g.clients(ctx)
			if err != nil {
				return err
			}
			q, err := provision.FindQueues(ctx, api.sqs, d, s.Name)
			if err != nil {
				return err
			}
			o.logger = newLogger(g.err)
			server, err := serveHealth(healthAddr, o.exposed, o.logger)
			if err != nil {
				return err
			}
			defer server.close(context.WithoutCancel(ctx)) // where it is not closed below
			o.history = o.data != "" || o.database != ""
			if o.database == "" && o.data == "" {
				o.database = os.Getenv("FANOUT_DATABASE")
			}
			if o.database == "" {
				if o.data, err = dataFolder(o.data); err != nil {
					return err
				}
			}
			opened, err := g.openService(ctx, s.Name, o)
			if err != nil {
				return err
			}
			if o.fanIn && !opened.fansIn {
				return errors.Join(&exitError{exitUsage, fmt.Errorf("--fan-in: service %q is not opened by Push, whose processes share what they hear", s.Name)}, opened.Close(ctx))
			}
			if shutdownDelay > 0 {
				if opened.Leave == nil {
					return errors.Join(&exitError{exitUsage, fmt.Errorf("--shutdown-delay: no load balancer asks service %q how it does", s.Name)}, opened.Close(ctx))
				}
				var stop context.CancelFunc
				ctx, stop = lingering(ctx, shutdownDelay, opened.Leave)
				defer stop()
			}
			view := terminal.NewScreen(g.err)
			shown := *g
			shown.err, g = view, &shown // what is reported while the view is on the screen goes above it
			cfg := consumerConfig(d, s, slots, g)
			cfg.RefuseReused = refuseReused
			store, closeStore, err := openStore(ctx, s.Name, s.GroupPolicy, o)
			if err != nil {
				return err
			}
			cfg.Parking, cfg.UnknownTypes, cfg.Check = store, opened.UnknownTypes, opened.Check
			if err := server.hook(q.URL, &cfg); err != nil {
				return err
			}
			c, err := consumers.New(api.queues(cfg), q, opened.Handle, cfg)
			if err != nil {
				return err
			}
			if err := server.add(c); err != nil {
				return err
			}
			fmt.Fprintf(g.err, "%s reads %s", s.Name, d.QueueName(s.Name))
			switch {
			case opened.Address != "":
				fmt.Fprintf(g.err, " and listens on http://%s\n", opened.Address)
			case o.database == "":
				fmt.Fprintf(g.err, " and writes to %s\n", o.url(s.Name))
			default:
				fmt.Fprintln(g.err, " and writes to the given database")
			}
			if server.address != "" {
				fmt.Fprintf(g.err, "health and metrics on http://%s/livez, /startupz, /readyz, /metrics, /blocked\n", server.address)
			}
			start := time.Now()
			leave := showConsumer(view, g.app.Name, s.Name, c)
			err = runUntilIdle(ctx, c, api.sqs, q.URL, untilIdle)
			leave()
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			err = errors.Join(err, opened.Close(closing), closeStore(), server.close(closing))
			if printErr := printConsumed(g, c.Stats(), time.Since(start), asJSON); err == nil {
				err = printErr
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.data, "data", "", "`FOLDER` of the service's SQLite database (default: a new temporary folder)")
	f.StringVar(&o.database, "database", "", "`URL`, settings or JSON of its database, not --data (default: $FANOUT_DATABASE)")
	f.StringVar(&o.pushAddr, "push-addr", "127.0.0.1:4567", "`HOST:PORT` where push listens")
	f.BoolVar(&o.fanIn, "fan-in", false, "several processes of push serve all clients; their database is PostgreSQL")
	f.StringVar(&healthAddr, "health-addr", "", "`HOST:PORT` of /livez, /startupz, /readyz, /metrics, /blocked (default: nowhere)")
	addExpose(cmd, &o.exposed, "--health-addr, and push without a token")
	f.DurationVar(&untilIdle, "until-idle", 0, "end once the queue has been empty, with nothing in flight, for this `TIME`, such as 3s")
	f.DurationVar(&shutdownDelay, "shutdown-delay", 0, "after SIGTERM, push serves for this `TIME` more while /healthz says 503, such as 20s")
	f.IntVar(&slots, "slots", 0, "run up to `N` handlers at once (default 32)")
	f.BoolVar(&refuseReused, "refuse-reused", false, "dead-letter an event with the identity of an earlier one and another type or payload")
	f.BoolVar(&asJSON, "json", false, "print the summary as JSON")
	cmd.MarkFlagsMutuallyExclusive("data", "database")
	return cmd
}

// checkFanIn finds out at once what push could say only after it has found its queue.
func checkFanIn(o serviceOptions) error {
	if !o.fanIn {
		return nil
	}
	target := cmp.Or(o.database, os.Getenv("FANOUT_DATABASE"))
	if o.data != "" || target == "" {
		return &exitError{exitUsage, errors.New("--fan-in is for push, with a database of PostgreSQL in --database or FANOUT_DATABASE, where its processes meet")}
	}
	kind, err := database.KindOf(target)
	if err == nil && kind != database.Postgres {
		err = &exitError{exitUsage, errors.New("--fan-in: the database is SQLite, want PostgreSQL, where the processes of push meet")}
	}
	return err
}

// consumerConfig is a consumer as the topology declares it.
func consumerConfig(d topology.Deployment, s topology.Service, slots int, g *globals) consumers.Config {
	return consumers.Config{
		Slots:          slots,
		WaitTime:       d.Environment.WaitTime,
		HandlerTimeout: s.HandlerTimeout,
		GroupPolicy:    s.GroupPolicy,
		DrainTimeout:   s.Compute.Drain,
		Logger:         newLogger(g.err),
	}
}

// runUntilIdle runs a consumer until ctx ends, or, if idle is positive, until its queue has been empty for so long.
func runUntilIdle(ctx context.Context, c *consumers.Consumer, api *sqs.Client, url string, idle time.Duration) error {
	if idle <= 0 {
		return c.Run(ctx)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	watch := make(chan error, 1)
	go func() {
		defer stop()
		watch <- waitIdle(ctx, idle, func() (bool, error) { return queueEmpty(ctx, api, url) })
	}()
	err := c.Run(ctx)
	stop()
	return errors.Join(err, <-watch)
}

// waitIdle returns once empty has been true for idle without a break, or when ctx ends.
func waitIdle(ctx context.Context, idle time.Duration, empty func() (bool, error)) error {
	step := min(max(idle/10, 20*time.Millisecond), time.Second)
	since := time.Time{}
	for {
		ok, err := empty()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case !ok:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= idle:
			return nil
		}
		if sleepUntil(ctx, time.Now().Add(step)) != nil {
			return nil
		}
	}
}

// queueEmpty tells whether a queue has nothing visible, delayed or in flight, as far as SQS says.
func queueEmpty(ctx context.Context, api *sqs.Client, url string) (bool, error) {
	depth, err := deadletter.ReadDepth(ctx, api, url)
	return err == nil && depth.Total() == 0, err
}

func printConsumed(g *globals, s consumers.Stats, took time.Duration, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(g.out).Encode(map[string]any{
			"handled": s.Handled, "dead_lettered": s.DeadLettered, "reused": s.Reused, "redelivered": s.Redelivered, "released": s.Released,
			"leases_lost": s.LeasesLost, "retries": s.Retries, "seconds": took.Seconds(),
		})
	}
	_, err := fmt.Fprintf(g.out, "handled %d, dead-lettered %d, redelivered %d, released %d, in %.1f s\n",
		s.Handled, s.DeadLettered, s.Redelivered, s.Released, took.Seconds())
	return err
}
