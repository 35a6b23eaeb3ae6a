package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// migrations is the table that remembers which steps a database has seen.
const migrations = `CREATE TABLE IF NOT EXISTS migrations (service TEXT PRIMARY KEY, version INTEGER NOT NULL)`

// migrationLock is the advisory lock that several processes take when they migrate the same PostgreSQL database at once.
const migrationLock = 7_463_215_905

// Migrate brings the tables of service up to date: it runs those of steps that this database has not seen yet, in
// order, and remembers them. Step i makes version i+1; a step that was released is never changed, a new one is appended.
// A step may hold several statements. All run in one transaction, so that a step that fails leaves nothing behind, and
// any number of processes may call Migrate at the same time.
//
// A database that has seen more steps than there are was migrated by a newer program: that is an error.
func (db *DB) Migrate(ctx context.Context, service string, steps ...string) error {
	err := db.Write(ctx, func(ctx context.Context, tx Tx) error {
		if db.kind == Postgres {
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", migrationLock); err != nil {
				return fmt.Errorf("lock: %w", err)
			}
		}
		if _, err := tx.ExecContext(ctx, migrations); err != nil {
			return fmt.Errorf("create table migrations: %w", err)
		}
		version := 0
		err := tx.QueryRowContext(ctx, "SELECT version FROM migrations WHERE service = $1", service).Scan(&version)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("read version: %w", err)
		}
		if version > len(steps) {
			return fmt.Errorf("its tables have version %d and this program knows %d, run a newer program", version, len(steps))
		}
		if version == len(steps) {
			return nil
		}
		for ; version < len(steps); version++ {
			if _, err := tx.ExecContext(ctx, steps[version]); err != nil {
				return fmt.Errorf("step %d: %w", version+1, err)
			}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO migrations (service, version) VALUES ($1, $2)
			ON CONFLICT (service) DO UPDATE SET version = excluded.version`, service, version)
		if err != nil {
			return fmt.Errorf("write version: %w", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("database: migrate %s for service %q: %w", db.target, service, err)
	}
	return nil
}
