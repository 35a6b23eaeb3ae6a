package newest_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/internal/newest"
)

var now = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)

func place(r *rapid.T, name string) newest.Place {
	return newest.Place{
		Time:     now.Add(time.Duration(rapid.IntRange(-2, 2).Draw(r, name+" hours")) * time.Hour),
		Sequence: rapid.SampledFrom([]string{"", "1", "2", "3", newest.SequenceLimit(now), newest.SequenceLimit(now.Add(time.Hour)), newest.SequenceLimit(now.Add(2 * time.Hour))}).Draw(r, name+" sequence"),
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		maxFuture time.Duration
		want      string
	}{{0, "2026-02-01T12:00:00Z"}, {time.Hour, "2026-01-31T13:00:00Z"}, {-1, "9999-12-31T23:59:59.999999Z"}, {1<<63 - 1, "2318-05-13T11:47:16.854775807Z"}} {
		if got := newest.Limit(now, test.maxFuture).Format(time.RFC3339Nano); got != test.want {
			t.Errorf("Limit of %v: got %s, want %s", test.maxFuture, got, test.want)
		}
	}
}

func TestNotBefore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		limit := now.Add(time.Hour)
		a, b, c := place(r, "a"), place(r, "b"), place(r, "c")
		believed := func(p newest.Place) bool { return !p.Time.After(limit) }
		if !a.NotBefore(a, limit) {
			r.Fatalf("%v is not taken after itself", a)
		}
		if !a.NotBefore(b, limit) && !b.NotBefore(a, limit) {
			r.Fatalf("neither of %v and %v is newer", a, b)
		}
		if believed(a) && believed(b) && believed(c) && a.NotBefore(b, limit) && b.NotBefore(c, limit) && !a.NotBefore(c, limit) {
			r.Fatalf("%v, %v, %v are in no order", a, b, c)
		}
		if believed(a) && !believed(b) && a.Sequence != newest.SequenceLimit(limit.Add(time.Hour)) && b.Sequence == newest.SequenceLimit(limit.Add(time.Hour)) && !a.NotBefore(b, limit) {
			r.Fatalf("%v is held up by %v, of which neither time nor sequence is believed", a, b)
		}
		if believed(a) && !believed(b) && (a.Sequence == "" || a.Sequence >= b.Sequence) && !a.NotBefore(b, limit) {
			r.Fatalf("%v is held up by %v, whose time is not believed", a, b)
		}
	})
}

// The condition in SQL says what the function says.
func TestSQL(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db, err := database.Open(t.Context(), target)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		text := func(at time.Time) string { s, _ := database.FormatTime(at); return s }
		columns, timeColumn := []string{"time"}, "TEXT"
		if db.Kind() == database.Postgres {
			columns, timeColumn = []string{"time", "nanos"}, "TIMESTAMPTZ"
		}
		write := func(r interface{ Fatal(...any) }, query string, args ...any) int64 {
			result, err := db.ExecContext(t.Context(), query, args...)
			if err != nil {
				r.Fatal(query, err)
			}
			n, _ := result.RowsAffected() // both databases know
			return n
		}
		write(t, fmt.Sprintf(`CREATE TABLE marks (id INTEGER PRIMARY KEY, time %s NOT NULL, nanos INTEGER NOT NULL, sequence TEXT NOT NULL)`, timeColumn))
		insert := `INSERT INTO marks (id, time, nanos, sequence) VALUES ($1, $2, 0, $3)`
		id := 0
		rapid.Check(t, func(r *rapid.T) {
			id++
			old, p, limit := place(r, "old"), place(r, "new"), now.Add(time.Duration(rapid.IntRange(-1, 1).Draw(r, "limit"))*time.Hour)
			write(r, insert, id, text(old.Time), old.Sequence)
			n := write(r, insert+` ON CONFLICT (id) DO UPDATE SET time = excluded.time WHERE `+newest.SQL("marks", "$4", "$5", columns...),
				id, text(p.Time), p.Sequence, text(limit), newest.SequenceLimit(limit))
			if want := p.NotBefore(old, limit); (n == 1) != want {
				r.Fatalf("%v after %v with limit %v: got %d rows changed, want it taken: %t", p, old, limit, n, want)
			}
		})
	})
}
