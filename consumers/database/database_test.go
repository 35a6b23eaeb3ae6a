package database_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
)

func TestMain(m *testing.M) {
	writeUntilKilled()
	countUp()
	goleak.VerifyTestMain(m)
}

const lights = `CREATE TABLE lights (name TEXT PRIMARY KEY, lit INTEGER NOT NULL)`

// open opens target with table lights in it.
func open(tb testing.TB, target string) *database.DB {
	tb.Helper()
	db, err := database.Open(tb.Context(), target)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	if err := db.Migrate(tb.Context(), "lights", lights); err != nil {
		tb.Fatal(err)
	}
	return db
}

func insert(name string) func(context.Context, database.Tx) error {
	return func(ctx context.Context, tx database.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO lights (name, lit) VALUES ($1, $2)`, name, 1)
		return err
	}
}

// names returns the names in table lights, in order, with a space between them.
func names(tb testing.TB, db *database.DB) string {
	tb.Helper()
	rows, err := db.QueryContext(tb.Context(), `SELECT name FROM lights ORDER BY name`)
	if err != nil {
		tb.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			tb.Fatal(err)
		}
		all = append(all, name)
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
	return strings.Join(all, " ")
}

func TestDB_WriteCommits(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		if err := db.Write(t.Context(), insert("hall")); err != nil {
			t.Fatal(err)
		}
		if got, want := names(t, db), "hall"; got != want {
			t.Errorf("names: got %q, want %q", got, want)
		}
	})
}

func TestDB_KeepsWhatWasWrittenWhenOpenedAgain(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		if err := db.Write(t.Context(), insert("hall")); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if got, want := names(t, open(t, target)), "hall"; got != want {
			t.Errorf("names: got %q, want %q", got, want)
		}
	})
}

func TestDB_WriteRollsBackOnError(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		refused := errors.New("refused")
		err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
			if err := insert("hall")(ctx, tx); err != nil {
				return err
			}
			return refused
		})
		if err != refused { //nolint:errorlint // it must come back as it is
			t.Errorf("error: got %v, want %v itself", err, refused)
		}
		if got := names(t, db); got != "" {
			t.Errorf("names: got %q, want none", got)
		}
	})
}

func TestDB_WritePassesPanicsOn(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		func() {
			defer func() {
				if got, want := recover(), "boom"; got != want {
					t.Errorf("recovered: got %v, want %v", got, want)
				}
			}()
			_ = db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
				if err := insert("hall")(ctx, tx); err != nil {
					return err
				}
				panic("boom")
			})
		}()
		if err := db.Write(t.Context(), insert("attic")); err != nil {
			t.Fatalf("next write: %v", err)
		}
		if got, want := names(t, db), "attic"; got != want {
			t.Errorf("names: got %q, want %q", got, want)
		}
	})
}

func TestDB_WriteInsideWriteIsRefused(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		err := db.Write(t.Context(), func(ctx context.Context, _ database.Tx) error {
			return db.Write(ctx, insert("hall"))
		})
		if !errors.Is(err, database.ErrNested) {
			t.Errorf("error: got %v, want %v", err, database.ErrNested)
		}
	})
}

func TestDB_WriteWithEndedContextDoesNothing(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := db.Write(ctx, func(context.Context, database.Tx) error {
			t.Error("function ran")
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error: got %v, want %v", err, context.Canceled)
		}
	})
}

func TestDB_TxIsUselessAfterwards(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		var leaked database.Tx
		err := db.Write(t.Context(), func(_ context.Context, tx database.Tx) error {
			leaked = tx
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := insert("hall")(t.Context(), leaked); !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("ExecContext: got %v, want %v", err, sql.ErrTxDone)
		}
		if rows, err := leaked.QueryContext(t.Context(), `SELECT name FROM lights`); !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("QueryContext: got %v, want %v", err, sql.ErrTxDone)
			rows.Close()
		}
		if err := leaked.QueryRowContext(t.Context(), `SELECT 1`).Scan(new(int)); err == nil {
			t.Error("QueryRowContext: got no error, want one")
		}
	})
}

func TestDB_TxReadsItsOwnWrites(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
			if err := insert("hall")(ctx, tx); err != nil {
				return err
			}
			var got int
			if err := tx.QueryRowContext(ctx, `SELECT lit FROM lights WHERE name = $1`, "hall").Scan(&got); err != nil {
				return err
			}
			if want := 1; got != want {
				t.Errorf("lit: got %d, want %d", got, want)
			}
			rows, err := tx.QueryContext(ctx, `SELECT name FROM lights WHERE lit = $1`, 1)
			if err != nil {
				return err
			}
			defer rows.Close()
			if !rows.Next() {
				t.Error("QueryContext: got no row, want one")
			}
			return rows.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestDB_PlaceholdersMayRepeatInAnyOrder(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO lights (lit, name) VALUES ($2, $1), ($2 + 1, $3)`, "hall", 4, "attic")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var got string
		err = db.QueryRowContext(t.Context(), `SELECT name FROM lights WHERE lit = $1`, 5).Scan(&got)
		if want := "attic"; err != nil || got != want {
			t.Errorf("name: got %q, %v, want %q", got, err, want)
		}
	})
}

// A missing argument is an error, and not NULL.
func TestDB_MissingArgument(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO lights (lit, name) VALUES ($2, $1)`, "hall")
			return err
		})
		if err == nil {
			t.Error("one argument for $1 and $2: got no error")
		}
	})
}

func TestDB_ManyWritersAtOnce(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		const writers, each = 16, 25
		var group sync.WaitGroup
		for i := range writers {
			group.Go(func() {
				for j := range each {
					if err := db.Write(t.Context(), insert(fmt.Sprintf("%02d-%03d", i, j))); err != nil {
						t.Errorf("write: %v", err)
					}
				}
			})
		}
		group.Wait()
		if got, want := len(strings.Fields(names(t, db))), writers*each; got != want {
			t.Errorf("rows: got %d, want %d", got, want)
		}
	})
}

func TestDB_MethodsAfterClose(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if err := db.Write(t.Context(), insert("hall")); !errors.Is(err, database.ErrClosed) {
			t.Errorf("Write: got %v, want %v", err, database.ErrClosed)
		}
		if err := db.QueryRowContext(t.Context(), `SELECT 1`).Scan(new(int)); err == nil {
			t.Error("QueryRowContext: got no error, want one")
		}
	})
}

func TestDB_QueryCannotWrite(t *testing.T) {
	t.Parallel()
	db := open(t, databasetest.SQLite(t))
	err := db.QueryRowContext(t.Context(), `INSERT INTO lights (name, lit) VALUES ('hall', 1) RETURNING name`).Scan(new(string))
	if err == nil || !strings.Contains(err.Error(), "readonly") {
		t.Errorf("error: got %v, want one that says that the connection is read-only", err)
	}
}
