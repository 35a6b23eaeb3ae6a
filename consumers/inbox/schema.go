package inbox

import (
	"context"
	"embed"
	"fmt"
)

// Dialect is a kind of SQL database. Its values are those of database.Kind.
type Dialect string

// The databases that the inbox knows.
const (
	SQLite   Dialect = "sqlite"
	Postgres Dialect = "postgres"
)

// Migrations holds the tables as files, migrations/sqlite.sql and migrations/postgres.sql, for tools that run migrations
// by themselves.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// Schema returns the text of the migration file of a dialect. It may run any number of times. It panics on a dialect that
// is neither SQLite nor Postgres.
func Schema(d Dialect) string {
	text, err := Migrations.ReadFile("migrations/" + string(d) + ".sql")
	if err != nil {
		panic(fmt.Sprintf("inbox: dialect %q, want %q or %q", d, SQLite, Postgres))
	}
	return string(text)
}

// createLock is the advisory lock that several processes take when they create the tables in one PostgreSQL database at
// once: CREATE TABLE IF NOT EXISTS alone may fail then.
const createLock = `SELECT pg_advisory_xact_lock(7463215906)`

// Create creates the tables unless they exist. tx is a transaction.
func Create(ctx context.Context, tx Tx, d Dialect) error {
	text := Schema(d)
	if d == Postgres {
		if _, err := tx.ExecContext(ctx, createLock); err != nil {
			return fmt.Errorf("inbox: create tables: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, text); err != nil {
		return fmt.Errorf("inbox: create tables: %w", err)
	}
	return nil
}
