package events_test

import (
	"testing"

	"github.com/device-fanout/fanout/events"
)

func BenchmarkEncode(b *testing.B) {
	for name, event := range benchmarkEvents() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := events.Encode(event); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, event := range benchmarkEvents() {
		b.Run(name, func(b *testing.B) {
			body, err := events.Encode(event)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := events.Decode(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseLine(b *testing.B) {
	line := []byte(`{"device_id":"V19","type":"device.motion.changed.v1","time":"2005-01-08T07:24:54Z","data":{"detected":true}}` + "\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := events.ParseLine(line); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	event := powerEvent()
	b.ReportAllocs()
	for b.Loop() {
		if err := event.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkEvents() map[string]events.Event {
	small, large := powerEvent(), powerEvent()
	telemetry, _ := events.Lookup("device.telemetry.reported.v1")
	large.Data = telemetry.Sample
	return map[string]events.Event{"power": small, "telemetry": large}
}
