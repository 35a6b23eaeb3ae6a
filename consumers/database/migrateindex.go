package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

const (
	concurrently = " INDEX CONCURRENTLY "
	// indexLock is the advisory lock that those who build indexes take, one after another.
	indexLock = 7_463_215_907
	// indexPause is how long one of them waits before it looks again whether it has the lock.
	indexPause = 100 * time.Millisecond
)

// leadingIndex is a statement that a step may begin with, to be run outside of its transaction.
var leadingIndex = regexp.MustCompile(`^\s*CREATE (?:UNIQUE )?INDEX CONCURRENTLY IF NOT EXISTS (\w+) ON [^;]*(?:;|$)`)

// indexesOf cuts off the statements at the beginning of a step that build indexes beside running services.
func indexesOf(step string) (indexes []string, rest string) {
	for {
		first := leadingIndex.FindString(step)
		if first == "" {
			return indexes, step
		}
		indexes, step = append(indexes, first), step[len(first):]
	}
}

// buildIndexes builds indexes of PostgreSQL while others read and write. Several processes may call it at once.
func (db *DB) buildIndexes(ctx context.Context, indexes []string) (err error) {
	conn, err := connection(ctx, db.pool)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it only goes back to the pool
	// To wait inside a statement would hold a snapshot, for whose end the builder waits.
	for locked := false; !locked; {
		if err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock($1)", indexLock).Scan(&locked); err != nil {
			return fmt.Errorf("lock: %w", Verdict(err))
		}
		if locked {
			break
		}
		select {
		case <-time.After(indexPause):
		case <-ctx.Done():
			return fmt.Errorf("wait for another process that builds indexes: %w", ctx.Err())
		}
	}
	defer func() {
		if _, failed := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", indexLock); failed != nil {
			_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // the lock ends with the connection
		}
	}()
	for _, statement := range indexes {
		name := leadingIndex.FindStringSubmatch(statement)[1]
		if err := dropHalfBuilt(ctx, conn, name); err != nil {
			return fmt.Errorf("drop index %s, which is not whole: %w", name, Verdict(err))
		}
		if _, err := conn.ExecContext(ctx, strings.TrimSpace(statement)); err != nil {
			return fmt.Errorf("build index %s: %w", name, Verdict(err))
		}
	}
	return nil
}

// dropHalfBuilt drops an index that was begun and has come to nothing: CREATE INDEX IF NOT EXISTS would take it for one.
func dropHalfBuilt(ctx context.Context, conn *sql.Conn, name string) error {
	var invalid bool
	err := conn.QueryRowContext(ctx, "SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)", name).Scan(&invalid)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !invalid {
		return nil
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, "DROP INDEX CONCURRENTLY IF EXISTS "+name)
	}
	return err
}
