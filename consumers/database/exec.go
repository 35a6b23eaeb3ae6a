package database

import (
	"context"
	"database/sql"
)

// ExecContext runs one statement in a transaction of its own. When it returns nil the change is on disk, as with
// [DB.Write]; when it fails, nothing was changed, or, if ctx ended or the connection was lost while the statement was under way, that is not
// known. Errors are marked, and deadlocks run again, as by Write.
//
// Statements of several goroutines share a transaction: on SQLite as every Write does, on PostgreSQL by sending all that
// wait, up to 256, in one round trip with one commit. If one of them fails, each is run by itself, so that an error is its own statement's.
// Nothing waits in order to fill a group. Statements that run at the same time should therefore not depend on each other's
// order; those that follow one another in a goroutine are not at the same time.
func (db *DB) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if db.kind != Postgres {
		var result sql.Result
		err := db.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
			result, err = tx.ExecContext(ctx, query, args...)
			return err
		})
		if err != nil {
			return nil, err
		}
		return result, nil
	}
	if ctx.Value(writingKey{db}) != nil {
		return nil, ErrNested
	}
	if err := db.ready(ctx); err != nil {
		return nil, err
	}
	return db.batches.exec(ctx, query, args)
}
