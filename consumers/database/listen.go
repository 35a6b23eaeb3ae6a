package database

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Listen calls heard once it listens, and for every notification on a channel of PostgreSQL, until ctx ends, whose error it returns, or its
// connection is lost. It blocks until then and holds a connection of the pool. A notification says that something has changed, and may be missed
// between two calls: look for yourself whenever heard is called. SQLite has none.
func (db *DB) Listen(ctx context.Context, channel string, heard func()) error {
	if err := db.ready(ctx); err != nil {
		return err
	}
	if db.kind != Postgres {
		return errors.New("database: listen: want PostgreSQL")
	}
	conn, err := connection(ctx, db.pool)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it is gone
	_ = conn.Raw(func(raw any) error {
		own := raw.(*stdlib.Conn).Conn()
		if _, err = own.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
			return driver.ErrBadConn
		}
		for heard(); ; heard() {
			if _, err = own.WaitForNotification(ctx); err != nil {
				return driver.ErrBadConn // nobody else shall have a connection that listens
			}
		}
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("database: listen: %w", Verdict(err))
}
