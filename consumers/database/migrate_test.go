package database_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
)

func TestDB_MigrateRunsEachStepOnce(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target) // has run one step of service lights
		more := []string{lights, `ALTER TABLE lights ADD COLUMN room TEXT; CREATE TABLE rooms (name TEXT)`}
		for range 2 {
			if err := db.Migrate(t.Context(), "lights", more...); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Migrate(t.Context(), "other", `CREATE TABLE other (n INTEGER)`); err != nil {
			t.Errorf("another service: %v", err)
		}
		for _, table := range []string{"lights", "rooms", "other"} {
			if err := db.QueryRowContext(t.Context(), `SELECT count(*) FROM `+table).Scan(new(int)); err != nil {
				t.Errorf("table %s: %v", table, err)
			}
		}
	})
}

func TestDB_MigrateLeavesNothingOfAFailedStep(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		broken := []string{lights, `CREATE TABLE rooms (name TEXT)`, `CREATE TABLE (`}
		err := db.Migrate(t.Context(), "lights", broken...)
		if err == nil || !strings.Contains(err.Error(), `service "lights": step 3: `) {
			t.Errorf("error: got %v, want it to name the service and step 3", err)
		}
		broken[2] = `CREATE TABLE plans (name TEXT)`
		if err := db.Migrate(t.Context(), "lights", broken...); err != nil {
			t.Errorf("after the correction: %v", err)
		}
	})
}

// Expand and contract: a program works with tables that one later release has migrated, and with no others.
func TestDB_MigrateOfTablesThatAreAhead(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		db := open(t, target)
		steps := []string{lights, `ALTER TABLE lights ADD COLUMN room TEXT`, `CREATE TABLE rooms (name TEXT)`}
		if err := db.Migrate(t.Context(), "lights", steps...); err != nil {
			t.Fatal(err)
		}
		for known, refused := range map[int]bool{3: false, 2: false, 1: true, 0: true} {
			err := db.Migrate(t.Context(), "lights", steps[:known]...)
			var newer *database.NewerError
			if errors.As(err, &newer) != refused || (err != nil) != refused {
				t.Errorf("a program that knows %d of 3: got %v, want refused: %v", known, err, refused)
			}
			if refused && !strings.Contains(err.Error(), fmt.Sprintf(`service "lights": its tables have version 3 and this program knows %d`, known)) {
				t.Errorf("error: got %v, want the versions", err)
			}
		}
		// What the older one found is what it left.
		if err := db.Migrate(t.Context(), "lights", append(steps, `CREATE TABLE plans (name TEXT)`)...); err != nil {
			t.Error(err)
		}
	})
}

// Each process says once that it is the older one.
func TestOpenService_WarnsOfTablesThatAreAhead(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		var log lines
		for _, steps := range [][]string{{`CREATE TABLE rows (name TEXT UNIQUE)`, `ALTER TABLE rows ADD COLUMN room TEXT`}, {`CREATE TABLE rows (name TEXT UNIQUE)`}} {
			s := setup(&log)
			s.Steps = func(database.Kind) []string { return steps }
			db, err := database.OpenService(t.Context(), target, s)
			if err != nil {
				t.Fatal(err)
			}
			for _, use := range uses(db) {
				if err := use(t.Context()); err != nil {
					t.Error(err)
				}
			}
			db.Close()
		}
		if got := log.text.String(); strings.Count(got, "one version ahead") != 1 || !strings.Contains(got, "version=2 known=1") {
			t.Errorf("log: got %q, want one warning", got)
		}
	})
}

func TestDB_MigrateByManyAtOnce(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		var group sync.WaitGroup
		for range 6 {
			group.Go(func() {
				db, err := database.Open(t.Context(), target)
				if err != nil {
					t.Error(err)
					return
				}
				defer db.Close()
				if err := db.Migrate(t.Context(), "lights", lights); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	})
}
