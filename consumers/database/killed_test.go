package database_test

import (
	"context"
	"errors"
	"testing"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/postgrestest"
)

// A server that is killed in the midst of a transaction, and after it while connections wait in the pool.
func TestPostgres_KilledInsideATransaction(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	server.Start()
	db := openWithTable(t, server.URL())
	insert := func(ctx context.Context, tx database.Tx) error {
		_, err := tx.ExecContext(ctx, insertName, "hall")
		return err
	}
	var down *failure.UnavailableError
	err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
		if err := insert(ctx, tx); err != nil {
			return err
		}
		server.Kill()
		return tx.QueryRowContext(ctx, `SELECT count(*) FROM rows`).Scan(new(int))
	})
	if !errors.As(err, &down) {
		t.Errorf("in the midst of a transaction: got %v, want that it is unavailable", err)
	}
	for name, use := range uses(db) {
		if err := use(t.Context()); name != "QueryRowContext" && !errors.As(err, &down) {
			t.Errorf("%s: got %v, want that it is unavailable", name, err)
		}
	}
	if err := database.Verdict(uses(db)["QueryRowContext"](t.Context())); !errors.As(err, &down) {
		t.Errorf("QueryRowContext: got %v, want that it is unavailable", err)
	}
	server.Start()
	for name, use := range uses(db) {
		if err := use(t.Context()); err != nil {
			t.Errorf("%s with the server back: %v", name, err)
		}
	}
	err = db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
		if err := insert(ctx, tx); err != nil {
			return err
		}
		server.Kill()
		server.Start() // it is back before the commit
		return nil
	})
	if !errors.As(err, &down) {
		t.Errorf("killed before the commit: got %v, want that it is unavailable", err)
	}
	if got := count(t, db); got != 0 {
		t.Errorf("rows: got %d, want none of a transaction that was not committed", got)
	}
}

// After the administrator has ended its connections, the pool makes new ones.
func TestPostgres_ConnectionsEndedByTheAdministrator(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	server.Start()
	db := openWithTable(t, server.URL())
	for range 3 {
		failed := false
		err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
			if !failed {
				failed = true
				server.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '' AND pid <> pg_backend_pid() AND backend_type = 'client backend'`)
			}
			_, err := tx.ExecContext(ctx, `DELETE FROM rows`)
			return err
		})
		var down *failure.UnavailableError
		if !errors.As(err, &down) {
			t.Errorf("ended in the midst of it: got %v, want that it is unavailable", err)
		}
		if err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
			_, err := tx.ExecContext(ctx, `DELETE FROM rows`)
			return err
		}); err != nil {
			t.Errorf("next: %v", err)
		}
	}
}
