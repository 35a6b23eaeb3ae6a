package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/producer"
	"github.com/device-fanout/fanout/producer/gateway"
)

// gatewayAddress is where a gateway listens unless told otherwise.
const gatewayAddress = "127.0.0.1:4568"

// doors are the ways into up's topic for other programs: a gateway, over HTTP and MQTT. There may be none.
type doors struct {
	gateway  *gateway.Gateway
	listener net.Listener // nil without HTTP
	broker   *broker      // nil without MQTT
}

// openDoors opens those that were asked for.
func openDoors(f *feed, o upOptions, g *globals) (*doors, error) {
	d := &doors{}
	var err error
	if d.gateway, err = gateway.New(fed{f}, gateway.Anyone(), gateway.Config{Logger: newLogger(g.err)}); err != nil {
		return nil, err
	}
	if o.gateway != "" {
		if d.listener, err = listen(o.gateway, "--gateway"); err != nil {
			return nil, err
		}
	}
	if o.mqtt != "" {
		if d.broker, err = startBroker(o.mqtt, "--mqtt"); err != nil {
			if d.listener != nil {
				err = errors.Join(err, d.listener.Close())
			}
			return nil, err
		}
	}
	return d, nil
}

// any tells whether there are any.
func (d *doors) any() bool { return d.listener != nil || d.broker != nil }

// greet says where they are.
func (d *doors) greet(w io.Writer) {
	if d.listener != nil {
		fmt.Fprintf(w, "gateway       http://%s/v1/events\n", d.listener.Addr())
	}
	if d.broker != nil {
		fmt.Fprintf(w, "MQTT          %s, topic %s\n", d.broker.url, gateway.DefaultTopic)
	}
}

// run takes events until ctx ends, and returns once all that were taken are answered.
func (d *doors) run(ctx context.Context) error {
	ended := make(chan error, 2)
	running := 0
	if d.listener != nil {
		running++
		go func() { ended <- d.gateway.Serve(ctx, d.listener) }()
	}
	if d.broker != nil {
		running++
		go func() {
			err := d.gateway.Subscribe(ctx, gateway.MQTT{Broker: d.broker.url, ClientID: "fanout-up"})
			ended <- errors.Join(err, d.broker.Close())
		}()
	}
	var err error
	for range running {
		err = errors.Join(err, <-ended)
	}
	return err
}

// fed lets a gateway publish through a feed, so that its events are counted and watched like those of an input.
type fed struct{ *feed }

// Enqueue implements gateway.Publisher.
func (f fed) Enqueue(ctx context.Context, e events.Event, done func(producer.Result)) error {
	withdraw := func() {}
	if f.offered != nil {
		withdraw = f.offered(e)
	}
	err := f.producer.Enqueue(ctx, e, func(r producer.Result) {
		f.answered(r)
		done(r)
	})
	if err != nil {
		withdraw()
		return err
	}
	f.in.Add(1)
	return nil
}

// Stats implements gateway.Publisher.
func (f fed) Stats() producer.Stats { return f.producer.Stats() }
