// Package parkingdb keeps parked devices in a table of a SQL database, SQLite or PostgreSQL. It is a package of its own so that
// the runtime does not import the drivers.
package parkingdb

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/parking"
)

// Store is a [parking.Store] in a table, which services may share.
type Store struct {
	db *database.DB
}

// schema creates the table. It is never changed once released; another step follows it.
const schema = `CREATE TABLE parked_device (
	service   TEXT NOT NULL,
	device_id TEXT NOT NULL,
	version   BIGINT NOT NULL,
	record    TEXT NOT NULL, -- JSON
	PRIMARY KEY (service, device_id)
)`

// Open makes a store of a database, and creates the table parked_device if there is none. All processes of the service must share the
// database. The caller closes it.
func Open(ctx context.Context, db *database.DB) (*Store, error) {
	if err := db.Migrate(ctx, "parking", schema); err != nil {
		return nil, err
	}
	return &Store{db: db}, nil
}

// OpenService opens the database that target names, as [database.Open] takes it, and makes a store of it, as Open does. While the database is
// down it succeeds all the same, and goes on trying in the background, of which logger hears; see [database.OpenService]. The caller closes the
// database. Nil for the logger logs nothing.
func OpenService(ctx context.Context, target string, logger *slog.Logger) (*Store, *database.DB, error) {
	db, err := database.OpenService(ctx, target, database.Setup{
		Service: "parking",
		Steps:   func(database.Kind) []string { return []string{schema} },
		Logger:  logger,
	})
	if err != nil {
		return nil, nil, err
	}
	return &Store{db: db}, db, nil
}

// Existing makes a store of a database without writing to it. It is an error if there is no table parked_device. It is for tools that look at
// what a service has parked.
func Existing(ctx context.Context, db *database.DB) (*Store, error) {
	s := &Store{db: db}
	if _, err := s.Find(ctx, ""); err != nil {
		return nil, fmt.Errorf("no record of parked devices in %s: %w", db, err)
	}
	return s, nil
}

// Find implements [parking.Store].
func (s *Store) Find(ctx context.Context, service string, devices ...string) ([]parking.Device, error) {
	query := "SELECT device_id, version, record FROM parked_device WHERE service = $1"
	args := []any{service}
	if len(devices) > 0 {
		places := make([]string, len(devices))
		for i, id := range devices {
			args = append(args, id)
			places[i] = fmt.Sprintf("$%d", len(args))
		}
		query += " AND device_id IN (" + strings.Join(places, ", ") + ")"
	}
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []parking.Device
	for rows.Next() {
		var d parking.Device
		var id, record string
		var version int64
		if err := rows.Scan(&id, &version, &record); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(record), &d); err != nil {
			return nil, fmt.Errorf("parked_device of %s, device %s: record %.80q: %w", service, id, record, err)
		}
		d.Service, d.ID, d.Version = service, id, version
		found = append(found, d)
	}
	slices.SortFunc(found, func(a, b parking.Device) int { return cmp.Compare(a.ID, b.ID) }) // each database sorts text in its own way
	return found, rows.Err()
}

// Swap implements [parking.Store].
func (s *Store) Swap(ctx context.Context, old, next parking.Device) (done bool, err error) {
	record, err := json.Marshal(next)
	if err != nil {
		return false, err
	}
	var query string
	args := []any{old.Service, old.ID}
	switch {
	case old.Version == 0 && next.Version == 0:
		return true, nil
	case old.Version == 0:
		query = "INSERT INTO parked_device (service, device_id, version, record) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
		args = append(args, next.Version, string(record))
	case next.Version == 0:
		query = "DELETE FROM parked_device WHERE service = $1 AND device_id = $2 AND version = $3"
		args = append(args, old.Version)
	default:
		query = "UPDATE parked_device SET version = $3, record = $4 WHERE service = $1 AND device_id = $2 AND version = $5"
		args = append(args, next.Version, string(record), old.Version)
	}
	err = s.db.Write(ctx, func(ctx context.Context, tx database.Tx) error {
		result, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		done = n > 0
		return err
	})
	return done && err == nil, err
}
