package cli

import (
	"fmt"
	"log/slog"
	"math"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// broker is an MQTT broker in this process, for development: it lets everyone in and keeps its messages in memory.
type broker struct {
	*mqtt.Server
	url string
}

// startBroker listens at addr; flag is the flag that chooses another address.
func startBroker(addr, flag string) (*broker, error) {
	// What a client has not acknowledged is kept up to these bounds, and dropped beyond them.
	capabilities := mqtt.NewDefaultServerCapabilities()
	capabilities.MaximumInflight, capabilities.MaximumClientWritesPending = math.MaxUint16, math.MaxUint16
	server := mqtt.New(&mqtt.Options{Capabilities: capabilities, Logger: slog.New(slog.DiscardHandler)})
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		return nil, fmt.Errorf("MQTT broker: %w", err)
	}
	tcp := listeners.NewTCP(listeners.Config{ID: "tcp", Address: addr})
	if err := server.AddListener(tcp); err != nil {
		return nil, portTaken(err, flag)
	}
	if err := server.Serve(); err != nil {
		return nil, fmt.Errorf("MQTT broker: %w", err)
	}
	return &broker{server, "tcp://" + tcp.Address()}, nil
}
