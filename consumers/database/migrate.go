package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// migrations is the table that remembers which steps a database has seen.
const migrations = `CREATE TABLE IF NOT EXISTS migrations (service TEXT PRIMARY KEY, version INTEGER NOT NULL)`

// migrationLock is the advisory lock that several processes take when they migrate the same PostgreSQL database at once.
const migrationLock = 7_463_215_905

// NewerError says that tables are more than one version ahead of the program, see [DB.Migrate].
type NewerError struct {
	Version int // of the tables
	Known   int // the last version that this program knows
}

// Error names the versions and what to do.
func (e *NewerError) Error() string {
	return fmt.Sprintf("its tables have version %d and this program knows %d, so it can work with version %d at most: run a program that knows version %d or later",
		e.Version, e.Known, e.Known+1, e.Version-1)
}

// Migrate brings the tables of service up to date: it runs those of steps that this database has not seen yet, in
// order, and remembers them. Step i makes version i+1; a step that was released is never changed, a new one is appended.
// A step may hold several statements. All run in one transaction, so that a step that fails leaves nothing behind, and
// any number of processes may call Migrate at the same time.
//
// # Expand and contract
//
// In a roll-out, and after a roll-back, a program works with tables that a newer one has migrated. So tables may be one version ahead of
// steps: they are left as they are, and Migrate returns nil. Two versions ahead is a [*NewerError]. For whoever writes a step that means:
//
//   - A release brings one step at most.
//   - A step only adds what the release before it tolerates: a table, an index, a column that has a default or may be NULL. It keeps each
//     constraint that an ON CONFLICT of that release names, and adds none that its rows may break.
//   - What contracts (a column, a constraint or a table that goes, a new meaning) is the step of a later release: of the first one that
//     follows a release which does not need it any more.
//
// # Indexes on PostgreSQL
//
// To build an index keeps writers out until it is done. A step of PostgreSQL may therefore begin with statements of the form
// "CREATE [UNIQUE] INDEX CONCURRENTLY IF NOT EXISTS name ON …;", in upper case. They run outside of any transaction, before the rest of
// their step and after the steps before it are committed, while services read and write. One that a killed process has left half-built is
// built anew. Where no table is there yet, they run like any other statement.
func (db *DB) Migrate(ctx context.Context, service string, steps ...string) error {
	_, err := db.migrate(ctx, service, steps)
	return err
}

// migrate is [DB.Migrate]. It returns the version that the tables had.
func (db *DB) migrate(ctx context.Context, service string, steps []string) (from int, err error) {
	run := runOf(ctx)
	from, err = db.bring(ctx, service, steps, run != nil && run.Check)
	if err == nil && run != nil {
		err = run.add(Migration{Service: service, Database: db.target, From: from, To: max(from, len(steps))})
	}
	if err != nil {
		return from, fmt.Errorf("database: migrate %s for service %q: %w", db.target, service, err)
	}
	return from, nil
}

// bring brings the tables of service up to date, unless it shall only look.
func (db *DB) bring(ctx context.Context, service string, steps []string, look bool) (from int, err error) {
	if look {
		from, err = db.version(ctx, service)
		if err == nil && from > len(steps)+1 {
			err = &NewerError{Version: from, Known: len(steps)}
		}
		return from, err
	}
	prepared := -1 // the step whose indexes are built
	for round := 0; ; round++ {
		var began, ended int
		err = db.Write(ctx, func(ctx context.Context, tx Tx) (err error) {
			began, ended, err = db.runSteps(ctx, tx, service, steps, prepared)
			return err
		})
		if round == 0 {
			from = began
		}
		if err != nil || ended >= len(steps) {
			return from, err
		}
		indexes, _ := indexesOf(steps[ended])
		if err := db.buildIndexes(ctx, indexes); err != nil {
			return from, fmt.Errorf("step %d: %w", ended+1, err)
		}
		prepared = ended
	}
}

// runSteps runs the steps that are missing, up to one whose indexes are to be built before it. It returns the versions before and after.
func (db *DB) runSteps(ctx context.Context, tx Tx, service string, steps []string, prepared int) (began, ended int, err error) {
	if db.kind == Postgres {
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1)", migrationLock); err != nil {
			return 0, 0, fmt.Errorf("lock: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, migrations); err != nil {
		return 0, 0, fmt.Errorf("create table migrations: %w", err)
	}
	err = tx.QueryRowContext(ctx, "SELECT version FROM migrations WHERE service = $1", service).Scan(&began)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, 0, fmt.Errorf("read version: %w", err)
	}
	if began > len(steps)+1 {
		return began, began, &NewerError{Version: began, Known: len(steps)}
	}
	if began >= len(steps) {
		return began, began, nil
	}
	for ended = began; ended < len(steps); ended++ {
		step := steps[ended]
		if indexes, rest := indexesOf(step); db.kind == Postgres && len(indexes) > 0 {
			switch {
			case began == 0:
				step = strings.ReplaceAll(strings.Join(indexes, "")+rest, concurrently, " INDEX ")
			case prepared == ended:
				step = rest
			default:
				return began, ended, db.writeVersion(ctx, tx, service, ended)
			}
		}
		if strings.TrimSpace(step) == "" {
			continue
		}
		if _, err := tx.ExecContext(ctx, step); err != nil {
			return began, ended, fmt.Errorf("step %d: %w", ended+1, err)
		}
	}
	return began, ended, db.writeVersion(ctx, tx, service, ended)
}

func (db *DB) writeVersion(ctx context.Context, tx Tx, service string, version int) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO migrations (service, version) VALUES ($1, $2)
		ON CONFLICT (service) DO UPDATE SET version = excluded.version`, service, version)
	if err != nil {
		return fmt.Errorf("write version: %w", err)
	}
	return nil
}

// version reads the version of the tables of service, and writes nothing. Tables that are not there have version 0.
func (db *DB) version(ctx context.Context, service string) (version int, err error) {
	there := `SELECT count(*) FROM sqlite_schema WHERE name = 'migrations'`
	if db.kind == Postgres {
		there = `SELECT count(to_regclass('migrations'))`
	}
	var tables int
	if err = db.QueryRowContext(ctx, there).Scan(&tables); err == nil && tables > 0 {
		err = db.QueryRowContext(ctx, "SELECT version FROM migrations WHERE service = $1", service).Scan(&version)
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("read version: %w", Verdict(err))
	}
	return version, nil
}
