package database_test

import (
	"context"
	"errors"
	"testing"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/failure"
)

func TestDB_Listen(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	db := open(t, target)
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan struct{}), make(chan error)
	go func() { ended <- db.Listen(ctx, `a "name"`, func() { heard <- struct{}{} }) }()
	<-heard // it listens
	for range 2 {
		run(t, db, `NOTIFY "a ""name"""`)
		<-heard
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("at the end: got %v", err)
	}

	go func() { ended <- db.Listen(t.Context(), "cut", func() { heard <- struct{}{} }) }()
	<-heard
	run(t, plain(t, target), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN "cut"'`)
	var down *failure.UnavailableError
	if err := <-ended; !errors.As(err, &down) {
		t.Errorf("when its connection was cut: got %v, want unavailable", err)
	}
	if err := open(t, databasetest.SQLite(t)).Listen(t.Context(), "x", func() {}); err == nil {
		t.Error("SQLite: got no error")
	}
	for target, want := range map[string]database.Kind{"x.db": database.SQLite, target: database.Postgres} {
		if kind, err := database.KindOf(target); kind != want || err != nil {
			t.Errorf("kind: got %s, %v, want %s", kind, err, want)
		}
	}
}
