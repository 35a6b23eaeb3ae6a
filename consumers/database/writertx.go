package database

import (
	"context"
	"database/sql"
	"sync/atomic"
)

// writerTx is the [Tx] of one write on SQLite.
//
// It takes the end of contexts away from SQLite: an interrupted INSERT, UPDATE or DELETE rolls back the transaction of
// the whole group. This also saves the driver a goroutine per statement.
type writerTx struct {
	w    *writer
	over atomic.Bool // the turn has been passed back: the connection belongs to somebody else now
}

func (tx *writerTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if tx.over.Load() {
		return nil, sql.ErrTxDone
	}
	ctx = context.WithoutCancel(ctx)
	if len(args) == 0 { // often a script, which cannot be prepared
		return tx.w.conn.ExecContext(ctx, query)
	}
	stmt, err := tx.w.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

func (tx *writerTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if tx.over.Load() {
		return nil, sql.ErrTxDone
	}
	ctx = context.WithoutCancel(ctx)
	stmt, err := tx.w.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

func (tx *writerTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	ctx = context.WithoutCancel(ctx)
	if tx.over.Load() {
		return tx.w.conn.QueryRowContext(ended(ctx), query, args...)
	}
	stmt, err := tx.w.statement(ctx, query)
	if err != nil { // the same error again, in a row that can carry it
		return tx.w.conn.QueryRowContext(ctx, query, args...)
	}
	return stmt.QueryRowContext(ctx, args...)
}

// ended returns a context that has ended: a query with it does nothing, and its row carries context.Canceled.
func ended(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}
