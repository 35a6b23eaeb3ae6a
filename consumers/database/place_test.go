package database

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlace_FilesAreTakenAway under a service: no write counts as done any more, and the check says why, until the files are back.
func TestPlace_FilesAreTakenAway(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		take func(path string) error
		back func(path string) error // nil where there is no way back
	}{
		"deleted":        {os.Remove, nil},
		"log deleted":    {func(path string) error { return os.Remove(path + "-wal") }, nil},
		"folder deleted": {func(path string) error { return os.RemoveAll(filepath.Dir(path)) }, nil},
		"replaced": {func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, nil, 0o600))
		}, func(path string) error { return os.Rename(path+".old", path) }},
		"renamed": {
			func(path string) error { return os.Rename(path, path+".old") },
			func(path string) error { return os.Rename(path+".old", path) },
		},
		"folder renamed": {
			func(path string) error { return os.Rename(filepath.Dir(path), filepath.Dir(path)+".old") },
			func(path string) error { return os.Rename(filepath.Dir(path)+".old", filepath.Dir(path)) },
		},
	} {
		for _, target := range []string{"sqlite:%", "sqlite:%?synchronous=normal"} {
			path := filepath.Join(t.TempDir(), "data", "x.db")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			db, err := Open(t.Context(), strings.Replace(target, "%", path, 1))
			if err != nil {
				t.Fatal(err)
			}
			put := func() error {
				_, err := db.ExecContext(t.Context(), `INSERT INTO t VALUES (1)`)
				return err
			}
			if err := errors.Join(db.Migrate(t.Context(), "test", `CREATE TABLE t (n INTEGER)`), put(), db.Check(t.Context())); err != nil {
				t.Fatal(err)
			}
			if err := tt.take(path); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := put(); !isUnavailable(err) || !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s: a write got %v, want that the database is unavailable", name, err)
				}
			}
			if err := db.Check(t.Context()); !isUnavailable(err) || !strings.Contains(err.Error(), "not the one that was opened") {
				t.Errorf("%s: the check got %v", name, err)
			}
			if tt.back != nil {
				if err := errors.Join(tt.back(path), put(), db.Check(t.Context())); err != nil {
					t.Errorf("%s: once it is back: %v", name, err)
				}
			}
			_ = db.Close() // it may miss its files
		}
	}
}
