package deadletter_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

// BenchmarkRedrive_Filtered sends 3,000 of 10,000 dead letters back, with others between them. Of those of MavPad three devices have most.
// One second of each run is the last receive, which finds nothing more.
func BenchmarkRedrive_Filtered(b *testing.B) {
	for _, of := range []struct {
		name   string
		device func(n int) int
	}{
		{"MavPad", mavpadDevice},
		{"1000 devices", func(n int) int { return n % 1000 }},
	} {
		b.Run(of.name, func(b *testing.B) {
			var moved, requests int64
			for b.Loop() {
				b.StopTimer()
				bench := newBench(b)
				for n := range 10_000 {
					code := []string{"timeout", "panic", "panic", "timeout", "panic", "panic", "timeout", "invalid", "invalid", "invalid"}[n*7%10]
					bench.bury(fmt.Sprintf("d%03d", of.device(n)), fmt.Sprintf("e%05d", n), record(code))
				}
				j, err := deadletter.OpenJournal(filepath.Join(b.TempDir(), "journal"), bench.dlq)
				if err != nil {
					b.Fatal(err)
				}
				before := total(bench.engine.Requests())
				b.StartTimer()
				sum, err := deadletter.Redrive(b.Context(), bench.api, bench.from, deadletter.Config{
					Filter: deadletter.Filter{Code: "timeout"}, Lanes: 2 * deadletter.DefaultLanes, Journal: j,
				})
				b.StopTimer()
				if err != nil || sum.Moved != 3000 {
					b.Fatal(sum, err)
				}
				if err := j.Close(); err != nil {
					b.Fatal(err)
				}
				moved, requests = moved+int64(sum.Moved), requests+total(bench.engine.Requests())-before
				b.StartTimer()
			}
			b.ReportMetric(float64(moved)/b.Elapsed().Seconds(), "messages/s")
			b.ReportMetric(float64(requests)/float64(moved), "requests/message")
		})
	}
}

func total(requests map[string]int64) (n int64) {
	for _, count := range requests {
		n += count
	}
	return n
}

// mavpadDevice gives the device of the n-th event with about the shares of the first 10,000 recorded events: three devices have 24, 24
// and 15 percent, and some 60 the rest, fewer and fewer.
func mavpadDevice(n int) int {
	switch x := n * 37 % 100; {
	case x < 24:
		return 0
	case x < 48:
		return 1
	case x < 63:
		return 2
	default:
		return 3 + (x-62)*(n/100%60)/37
	}
}
