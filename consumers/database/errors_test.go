package database_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
)

func TestNotStorable(t *testing.T) {
	t.Parallel()
	db := openWithTable(t, databasetest.Postgres(t))
	noise := make([]byte, 8<<10) // it can't be compressed
	_, _ = rand.Read(noise)
	for name, test := range map[string]struct {
		statement string
		args      []any
		state     string
		want      bool
	}{
		"NUL in text":               {insertName, []any{"a\x00b"}, "22021", true},
		"NUL in JSONB":              {`SELECT CAST($1::text AS JSONB)`, []any{`"\u0000"`}, "22P05", true},
		"JSONB nested too deep":     {`SELECT CAST(repeat('[', 1000000) AS JSONB)`, nil, "54001", true},
		"too long for an index":     {insertName, []any{hex.EncodeToString(noise)}, "54000", true},
		"a name that is there":      {`INSERT INTO rows (name) VALUES ('twice'), ('twice')`, nil, "23505", false},
		"a table that is not there": {`INSERT INTO nothing VALUES (1)`, nil, "42P01", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for way, run := range map[string]func() error{
				"alone": func() error {
					_, err := db.ExecContext(t.Context(), test.statement, test.args...)
					return err
				},
				"in a transaction": func() error {
					return db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
						_, err := tx.ExecContext(ctx, test.statement, test.args...)
						return err
					})
				},
			} {
				err := run()
				var answer interface{ SQLState() string }
				if !errors.As(err, &answer) || answer.SQLState() != test.state {
					t.Errorf("%s: got %v, want an error with SQLSTATE %s", way, err, test.state)
				}
				if got := database.NotStorable(fmt.Errorf("history: %w", err)); got != test.want {
					t.Errorf("%s: %v: got %t, want %t", way, err, got, test.want)
				}
			}
		})
	}
}

func TestNotStorable_NoAnswerOfPostgreSQL(t *testing.T) {
	t.Parallel()
	for _, err := range []error{nil, errors.New("SQLSTATE 54000"), database.ErrClosed} {
		if database.NotStorable(err) {
			t.Errorf("%v: got true", err)
		}
	}
}
