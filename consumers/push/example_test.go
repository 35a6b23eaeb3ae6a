package push_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/consumers/push"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func Example() {
	ctx := context.Background()
	service := push.New(push.Config{})
	server := httptest.NewServer(service.Handler())
	defer server.Close()
	defer service.Close(ctx) //nolint:errcheck // the example is over

	client, _, err := websocket.Dial(ctx, server.URL+"/ws?device=hall/lamp", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer client.CloseNow() //nolint:errcheck // the example is over

	for _, event := range []events.Event{
		events.New("attic/door", device.ContactChanged{Open: true}), // of a device that the client did not choose
		events.New("hall/lamp", device.PowerChanged{On: true}),
	} {
		event.Source = "/gateways/home-1" // in production the producer fills it in
		if err := service.Handle(ctx, event); err != nil {
			log.Fatal(err)
		}
	}

	_, message, err := client.Read(ctx)
	if err != nil {
		log.Fatal(err)
	}
	event, err := events.Decode(message)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %s %+v\n", event.DeviceID, event.Type(), event.Data.(device.PowerChanged).On)
	// Output: hall/lamp device.power.changed.v1 true
}
