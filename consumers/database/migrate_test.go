package database_test

import (
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

func TestDB_MigrateRefusesANewerDatabase(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, target string) {
		err := open(t, target).Migrate(t.Context(), "lights")
		if err == nil || !strings.Contains(err.Error(), "version 1 and this program knows 0") {
			t.Errorf("error: got %v, want that the database is newer", err)
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
