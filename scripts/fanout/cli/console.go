package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/infra/topology"
	"github.com/device-fanout/fanout/internal/door"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/console"
)

func newConsole(g *globals) *cobra.Command {
	var addr string
	var o consoleOptions
	var tls encryption
	cmd := &cobra.Command{
		Use:   "console",
		Short: "Serve a web page: the fan-out, what failed and why, redrive and drop",
		Long: `Serves a web page for whoever is on call: the fan-out as a picture with its depths, failures in groups, one event with
its payload, error and history, and redriving or dropping a selection, with the plan shown first. It works on the local
environment and on AWS alike, with the permissions of whoever starts it.

Devices that can't go on are shown too: the blocked ones, which consumers tell that were started with --health-addr and
are named here by --consumer, and the parked ones of services that park, which their database (--data or --database)
knows. Showing them writes nothing there; releasing a device does.

It listens on this machine only unless --addr says otherwise, which takes a certificate (--tls-cert, --tls-key).
It prints an address with a token that lets a browser in.`,
		Args: exactly(0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			for i, address := range o.consumers {
				var err error
				if o.consumers[i], err = console.ParseConsumer(address); err != nil {
					return &exitError{exitUsage, fmt.Errorf("--consumer: %w", err)}
				}
			}
			d, err := g.deployment()
			if err != nil {
				return err
			}
			api, err := g.clients(ctx)
			if err != nil {
				return err
			}
			cfg, err := g.consoleConfig(ctx, api, d, o)
			if err != nil {
				return err
			}
			defer g.findStores(ctx, &cfg, o.services)()
			logger := newLogger(g.err)
			encryption, err := tls.config(logger)
			if err != nil {
				return err
			}
			listener, err := door.Listen(addr, encryption != nil)
			if _, exposed := errors.AsType[*door.ExposedError](err); exposed {
				return &exitError{exitUsage, &hinted{
					fmt.Errorf("--addr %s without a certificate: others could read along, and see the token", addr),
					"--tls-cert and --tls-key encrypt; or listen on 127.0.0.1, and forward the port by SSH",
				}}
			}
			if err != nil {
				return notListening(err, "--addr")
			}
			cfg.Logger, cfg.Hosts = logger, hostsOf(addr, listener.Addr().(*net.TCPAddr))
			c := console.New(api.sqs, cfg)
			defer c.Close()
			server := door.New(door.Config{Name: "console", Handler: c, TLS: encryption, Logger: logger})
			stop := context.AfterFunc(ctx, func() {
				closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
				defer cancel()
				_ = server.Shutdown(closing)
			})
			defer stop()
			scheme := "http"
			if encryption != nil {
				scheme = "https"
			}
			fmt.Fprintf(g.err, "console of environment %s at %s://%s/?token=%s\n", cfg.Environment, scheme, cfg.Hosts[0], c.Token())
			return server.Serve(listener)
		},
	}
	f := cmd.Flags()
	f.StringVar(&addr, "addr", "127.0.0.1:4568", "`HOST:PORT` where the console listens")
	tls.add(cmd)
	f.StringArrayVar(&o.consumers, "consumer", nil, "`URL` of a consumer's --health-addr, whose blocked devices are shown; may be repeated")
	f.StringVar(&o.services.data, "data", "", "`FOLDER` of the databases of services that park devices, to show the parked ones")
	f.StringVar(&o.services.database, "database", "", "`URL`, settings or JSON of their database, instead of --data")
	f.StringVar(&o.state, "state", "", "`FOLDER` of the journals of runs that were cut off (default ~/.local/state/fanout)")
	f.StringVar(&o.folder, "folder", "", "`FOLDER` where the files of dropped dead letters go (default: the current one)")
	cmd.MarkFlagsMutuallyExclusive("data", "database")
	return cmd
}

// hostsOf are the names by which a browser may reach the console.
func hostsOf(addr string, at *net.TCPAddr) []string {
	host, _, _ := net.SplitHostPort(addr)
	port := fmt.Sprint(at.Port)
	var hosts []string
	if host != "" && !net.ParseIP(host).IsUnspecified() {
		hosts = append(hosts, net.JoinHostPort(host, port))
	} else if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, net.JoinHostPort(name, port))
	}
	if at.IP.IsLoopback() || at.IP.IsUnspecified() {
		hosts = append(hosts, "127.0.0.1:"+port, "localhost:"+port, "[::1]:"+port)
	}
	if !at.IP.IsUnspecified() {
		hosts = append(hosts, at.String())
	}
	return hosts
}

// consoleOptions say what a console shows beside the queues, and where it keeps what it writes.
type consoleOptions struct {
	consumers     []string
	state, folder string
	services      serviceOptions // where services that park devices keep their databases
}

// consoleConfig looks up the queues of the environment.
func (g *globals) consoleConfig(ctx context.Context, api clients, d topology.Deployment, o consoleOptions) (console.Config, error) {
	where := "AWS " + api.sqs.Options().Region
	if endpoint := api.sqs.Options().BaseEndpoint; endpoint != nil {
		where = *endpoint
	} else if endpoint := os.Getenv("AWS_ENDPOINT_URL"); endpoint != "" {
		where = endpoint
	}
	cfg := console.Config{
		Environment: d.Environment.Name, Production: d.Environment.Production, Where: where, Topic: d.TopicName(), Folder: o.folder, Consumers: o.consumers,
		Journal: func(from deadletter.Source) (*deadletter.Journal, error) { return g.journal(o.state, from) },
	}
	for _, s := range d.Services {
		q, err := provision.FindQueues(ctx, api.sqs, d, s.Name)
		if err != nil {
			return cfg, err
		}
		dlqs, err := findDLQs(ctx, api, d, s.Name)
		if err != nil {
			return cfg, err
		}
		cfg.Services = append(cfg.Services, console.Service{
			Name: s.Name, About: cmp.Or(s.About, s.Name), Types: len(s.Events), Parks: s.GroupPolicy == consumers.Park,
			Queue: d.QueueName(s.Name), QueueURL: q.URL, DLQs: dlqs,
		})
	}
	return cfg, nil
}
