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

// gatewayInputs are what lets other programs publish to the topic of up: a gateway, over HTTP and MQTT. There may be none.
type gatewayInputs struct {
	gateway  *gateway.Gateway
	listener net.Listener // nil without HTTP
	broker   *broker      // nil without MQTT
}

// openGatewayInputs opens those that were asked for.
func openGatewayInputs(p *publisher, o upOptions, g *globals) (*gatewayInputs, error) {
	in := &gatewayInputs{}
	var err error
	if in.gateway, err = gateway.New(gatewayPublisher{p}, gateway.Anyone(), gateway.Config{MaxFuture: maxFuture(o.maxFuture), Logger: newLogger(g.err)}); err != nil {
		return nil, err
	}
	if o.gateway != "" {
		if in.listener, err = listen(o.gateway, "--gateway", o.exposed); err != nil {
			return nil, err
		}
	}
	if o.mqtt != "" {
		if in.broker, err = startBroker(o.mqtt, "--mqtt", o.exposed, newLogger(g.err)); err != nil {
			if in.listener != nil {
				err = errors.Join(err, in.listener.Close())
			}
			return nil, err
		}
	}
	return in, nil
}

// any tells whether there are any.
func (in *gatewayInputs) any() bool { return in.listener != nil || in.broker != nil }

// printAddresses prints where they listen.
func (in *gatewayInputs) printAddresses(w io.Writer) {
	if in.listener != nil {
		fmt.Fprintf(w, "gateway       http://%s/v1/events\n", in.listener.Addr())
	}
	if in.broker != nil {
		fmt.Fprintf(w, "MQTT          %s, topic %s\n", in.broker.url, gateway.DefaultTopic)
	}
}

// run takes events until ctx ends, and returns once all that were taken are answered.
func (in *gatewayInputs) run(ctx context.Context) error {
	var parts []func() error
	if in.listener != nil {
		parts = append(parts, func() error { return in.gateway.Serve(ctx, in.listener) })
	}
	if in.broker != nil {
		parts = append(parts, func() error {
			err := in.gateway.Subscribe(ctx, gateway.MQTT{Broker: in.broker.url, ClientID: "fanout-up"})
			return errors.Join(err, in.broker.Close())
		})
	}
	return together(func() {}, parts)
}

// gatewayPublisher lets a gateway publish through a publisher, so that its events are counted and watched like those of an input.
type gatewayPublisher struct{ *publisher }

// Enqueue implements gateway.Publisher.
func (p gatewayPublisher) Enqueue(ctx context.Context, e events.Event, done func(producer.Result)) error {
	return p.enqueue(ctx, e, done)
}

// Stats implements gateway.Publisher.
func (p gatewayPublisher) Stats() producer.Stats { return p.producer.Stats() }
