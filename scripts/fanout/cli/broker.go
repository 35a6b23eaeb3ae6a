package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"math"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/device-fanout/fanout/internal/door"
)

// broker is an MQTT broker in this process, for development: it lets everyone in and keeps its messages in memory.
type broker struct {
	*mqtt.Server
	url string
}

// startBroker listens at addr; flag is the flag that chooses another address. Unless exposed is true, other machines must not reach it.
func startBroker(addr, flag string, exposed bool, logger *slog.Logger) (*broker, error) {
	listener, err := listen(addr, flag, exposed)
	if err != nil {
		return nil, err
	}
	// What a client has not acknowledged is kept up to these bounds, and dropped beyond them.
	capabilities := mqtt.NewDefaultServerCapabilities()
	capabilities.MaximumInflight, capabilities.MaximumClientWritesPending = math.MaxUint16, math.MaxUint16
	server := mqtt.New(&mqtt.Options{Capabilities: capabilities, Logger: slog.New(slog.DiscardHandler)})
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		return nil, errors.Join(fmt.Errorf("MQTT broker: %w", err), listener.Close())
	}
	err = server.AddListener(listeners.NewNet("tcp", door.Bound(listener, "MQTT broker", logger)))
	if err == nil {
		err = server.Serve()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("MQTT broker: %w", err), listener.Close())
	}
	return &broker{server, "tcp://" + listener.Addr().String()}, nil
}
