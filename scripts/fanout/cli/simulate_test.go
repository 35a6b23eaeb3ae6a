package cli

import (
	"testing"

	"github.com/device-fanout/fanout/events"
)

// Without a simulator of its own, a program's devices send valid events of every type that it knows.
func TestSamples_OfEveryTypeAndVaried(t *testing.T) {
	t.Parallel()
	devices, payloads, n := map[string]map[string]bool{}, map[string]map[string]bool{}, 0
	for e := range samples() {
		e.Source = "simulator" // as the producer does
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
		text, err := events.EncodeData(e.Data)
		if err != nil {
			t.Fatal(err)
		}
		if devices[e.Type()] == nil {
			devices[e.Type()], payloads[e.Type()] = map[string]bool{}, map[string]bool{}
		}
		devices[e.Type()][e.DeviceID], payloads[e.Type()][string(text)] = true, true
		if n++; n == 2000 {
			break
		}
	}
	for _, kind := range events.Types() {
		if len(devices[kind.Name]) != devicesPerType {
			t.Errorf("%s: got devices %v, want %d", kind.Name, devices[kind.Name], devicesPerType)
		}
		if len(payloads[kind.Name]) < 2 {
			t.Errorf("%s: got %d payloads, want some variety", kind.Name, len(payloads[kind.Name]))
		}
	}
}
