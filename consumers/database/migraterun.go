package database

import (
	"context"
	"errors"
	"sync"
)

// MigrationRun is for a program that brings tables up to date as a step of its own, before the services that use them are rolled out. In a
// context that [MigrationRun.Context] makes, [DB.Migrate] notes down what it does, and [OpenService] does not wait for a database that is down: it fails.
type MigrationRun struct {
	// Check says that nothing is to be changed: Migrate notes what it would do and returns [ErrCheckOnly], and OpenService creates
	// no file of SQLite.
	Check bool

	mu   sync.Mutex
	done []Migration
}

// Migration is what was done to the tables of a service, or would be.
type Migration struct {
	Service  string // as Migrate was told
	Database string // path or URL, without its password
	From     int    // the version that the tables had; 0 for none
	To       int    // the version that they have now; From for tables that are up to date, or newer than the program
}

// ErrCheckOnly is what [DB.Migrate] returns in a [MigrationRun] that only checks: the tables are not to be used.
var ErrCheckOnly = errors.New("database: only checked, not migrated")

type runKey struct{}

// Context makes a context of the run. It may be used by several goroutines.
func (r *MigrationRun) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, runKey{}, r)
}

// Done returns what was noted down so far, in its order.
func (r *MigrationRun) Done() []Migration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Migration(nil), r.done...)
}

func (r *MigrationRun) add(m Migration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = append(r.done, m)
	if r.Check {
		return ErrCheckOnly
	}
	return nil
}

func runOf(ctx context.Context) *MigrationRun {
	r, _ := ctx.Value(runKey{}).(*MigrationRun)
	return r
}
