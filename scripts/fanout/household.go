package main

import (
	"iter"
	"math"
	"math/rand/v2"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

// household is a small simulated home: someone walks through its rooms, doors and lamps follow, sensors report.
// It is made of chance, but the same chance every time.
type household struct {
	random  *rand.Rand
	rooms   []room
	present int // the room with someone in it
	celsius float64
	frames  int64
}

type room struct {
	name   string
	lamp   bool
	motion bool
	door   bool
}

func newHousehold() *household {
	h := &household{random: rand.New(rand.NewPCG(1, 2)), celsius: 20.5}
	for _, name := range []string{"hall", "kitchen", "living", "bath", "bedroom", "office"} {
		h.rooms = append(h.rooms, room{name: name})
	}
	return h
}

// simulate is the events of a new household, without end.
func simulate() iter.Seq[events.Event] {
	return func(yield func(events.Event) bool) {
		for h := newHousehold(); ; {
			for _, e := range h.step() {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// step is what happens next: someone goes to another room, or something is measured.
func (h *household) step() []events.Event {
	if h.random.IntN(3) == 0 {
		return h.walk()
	}
	r := h.rooms[h.random.IntN(len(h.rooms))].name
	round := func(x float64) float64 { return math.Round(x*10) / 10 }
	h.celsius += h.random.NormFloat64() * 0.05
	switch h.random.IntN(5) {
	case 0:
		return []events.Event{events.New("humidity-"+r, device.HumidityMeasured{Percent: round(45 + 5*h.random.NormFloat64())})}
	case 1:
		return []events.Event{events.New("light-"+r, device.IlluminanceMeasured{Lux: round(math.Abs(200 + 80*h.random.NormFloat64()))})}
	case 2:
		h.frames++
		battery := 3600 - float64(h.frames%600)
		return []events.Event{events.New("garden-node", device.TelemetryReported{Counter: h.frames, BatteryMillivolts: &battery})}
	}
	return []events.Event{events.New("thermometer-"+r, device.TemperatureMeasured{Celsius: round(h.celsius)})}
}

func (h *household) walk() []events.Event {
	from := &h.rooms[h.present]
	h.present = h.random.IntN(len(h.rooms))
	to := &h.rooms[h.present]
	if from == to {
		return nil
	}
	var out []events.Event
	say := func(deviceID string, data events.Data) { out = append(out, events.New(deviceID, data)) }
	if from.motion {
		from.motion = false
		say("motion-"+from.name, device.MotionChanged{Detected: false})
	}
	to.door = !to.door
	say("door-"+to.name, device.ContactChanged{Open: to.door})
	to.motion = true
	say("motion-"+to.name, device.MotionChanged{Detected: true})
	if from.lamp {
		from.lamp = false
		say("lamp-"+from.name, device.PowerChanged{On: false})
	}
	if !to.lamp {
		to.lamp = true
		level := float64(20 + 10*h.random.IntN(9))
		say("lamp-"+to.name, device.PowerChanged{On: true, LevelPercent: &level})
	}
	return out
}
