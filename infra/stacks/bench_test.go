//go:build !race

package stacks

import (
	"fmt"
	"testing"
	"time"

	"github.com/device-fanout/fanout/infra/topology"
)

// BenchmarkSynth_Prod synthesizes and checks prod with 20 services, a gateway, push and a database.
func BenchmarkSynth_Prod(b *testing.B) {
	top := everything()
	for i := len(top.Services); i < 20; i++ {
		top.Services = append(top.Services, topology.Service{
			Name: fmt.Sprintf("service-%d", i), HandlerTimeout: 10 * time.Second, Compute: topology.Compute{Kind: topology.Fargate, Database: true},
		})
	}
	for b.Loop() {
		to, err := targetOf(App{Topology: top}, contextOf("env=prod", imageTag))
		if err != nil {
			b.Fatal(err)
		}
		app := newApp(b)
		if err := build(app, to); err != nil {
			b.Fatal(err)
		}
		if _, err := synth(app, to); err != nil {
			b.Fatal(err)
		}
	}
}
