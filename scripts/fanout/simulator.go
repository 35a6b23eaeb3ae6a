package main

import (
	"iter"
	"math"
	"math/rand/v2"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

// simulator is a small simulated home: someone walks through its rooms, doors and lamps follow, sensors report.
// Its events are random, but the same in every run.
type simulator struct {
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

func newSimulator() *simulator {
	s := &simulator{random: rand.New(rand.NewPCG(1, 2)), celsius: 20.5}
	for _, name := range []string{"hall", "kitchen", "living", "bath", "bedroom", "office"} {
		s.rooms = append(s.rooms, room{name: name})
	}
	return s
}

// simulate returns the events of a new simulator, without end.
func simulate() iter.Seq[events.Event] {
	return func(yield func(events.Event) bool) {
		for s := newSimulator(); ; {
			for _, e := range s.step() {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// step is what happens next: someone goes to another room, or something is measured.
func (s *simulator) step() []events.Event {
	if s.random.IntN(3) == 0 {
		return s.walk()
	}
	r := s.rooms[s.random.IntN(len(s.rooms))].name
	round := func(x float64) float64 { return math.Round(x*10) / 10 }
	s.celsius += s.random.NormFloat64() * 0.05
	switch s.random.IntN(5) {
	case 0:
		return []events.Event{events.New("humidity-"+r, device.HumidityMeasured{Percent: round(45 + 5*s.random.NormFloat64())})}
	case 1:
		return []events.Event{events.New("light-"+r, device.IlluminanceMeasured{Lux: round(math.Abs(200 + 80*s.random.NormFloat64()))})}
	case 2:
		s.frames++
		battery := 3600 - float64(s.frames%600)
		return []events.Event{events.New("garden-node", device.TelemetryReported{Counter: s.frames, BatteryMillivolts: &battery})}
	}
	return []events.Event{events.New("thermometer-"+r, device.TemperatureMeasured{Celsius: round(s.celsius)})}
}

func (s *simulator) walk() []events.Event {
	from := &s.rooms[s.present]
	s.present = s.random.IntN(len(s.rooms))
	to := &s.rooms[s.present]
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
		level := float64(20 + 10*s.random.IntN(9))
		say("lamp-"+to.name, device.PowerChanged{On: true, LevelPercent: &level})
	}
	return out
}
