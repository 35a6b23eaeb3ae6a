package main

import (
	"maps"
	"slices"
	"testing"

	"github.com/device-fanout/fanout/events/device"
)

func TestSimulator_MakesOnlyValidEvents(t *testing.T) {
	t.Parallel()
	s := newSimulator()
	types := map[string]int{}
	last := map[string]bool{}
	for range 20_000 {
		for _, e := range s.step() {
			e.Source = "simulator" // as the producer does
			if err := e.Validate(); err != nil {
				t.Fatal(err)
			}
			types[e.Type()]++
			if d, ok := e.Data.(device.ContactChanged); ok {
				if d.Open == last[e.DeviceID] {
					t.Fatalf("%s: got open %t twice in a row, want doors to open and close in turn", e.DeviceID, d.Open)
				}
				last[e.DeviceID] = d.Open
			}
		}
	}
	if len(types) < 6 {
		t.Errorf("types: got %v, want some variety", slices.Sorted(maps.Keys(types)))
	}
}
