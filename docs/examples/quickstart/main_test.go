package main

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"

	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
)

func TestQuickstart_PublishesAndHandles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fanout := provision.Start(t, declaration.Topology(), "dev", local.Options{})
		ctx, stop := context.WithCancel(t.Context())
		out := &stopping{stop: stop}
		if err := run(ctx, fanout.Engine.Config(), out); err != nil {
			t.Fatal(err)
		}
		if got, want := out.String(), "lamp-7 on: true\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// stopping ends the program once it has printed something.
type stopping struct {
	bytes.Buffer
	stop context.CancelFunc
}

func (s *stopping) Write(p []byte) (int, error) {
	defer s.stop()
	return s.Buffer.Write(p)
}
