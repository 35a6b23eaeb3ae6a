package history

import "github.com/device-fanout/fanout/consumers/database"

// dialect is what differs between the kinds of databases.
type dialect struct {
	steps   []string // of the migration; a released one is never changed
	insert  string
	columns string // as scan wants them
}

var dialects = map[database.Kind]dialect{
	database.SQLite: {
		steps: []string{`CREATE TABLE event_history (
				position    INTEGER PRIMARY KEY AUTOINCREMENT, -- also after a DELETE no position comes twice
				event_id    TEXT NOT NULL UNIQUE,
				source      TEXT NOT NULL,
				device_id   TEXT NOT NULL,
				type        TEXT NOT NULL,
				time        TEXT NOT NULL, -- RFC 3339, UTC, nine digits: sorts as text
				sequence    TEXT NOT NULL,
				data        TEXT NOT NULL, -- JSON
				recorded_at TEXT NOT NULL
			);
			CREATE INDEX event_history_device_time ON event_history (device_id, time)`},
		insert: `INSERT INTO event_history (event_id, source, device_id, type, sequence, data, recorded_at, time)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (event_id) DO NOTHING`,
		columns: `position, event_id, source, device_id, type, sequence, data, recorded_at, time, 0`,
	},
	database.Postgres: {
		steps: []string{`CREATE TABLE event_history (
				position    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
				event_id    TEXT NOT NULL UNIQUE,
				source      TEXT NOT NULL,
				device_id   TEXT NOT NULL,
				type        TEXT NOT NULL,
				time        TIMESTAMPTZ NOT NULL,
				time_nanos  SMALLINT NOT NULL, -- what time cannot hold, 0 to 999
				sequence    TEXT COLLATE "C" NOT NULL,
				data        JSONB NOT NULL,
				recorded_at TIMESTAMPTZ NOT NULL
			);
			CREATE INDEX event_history_device_time ON event_history (device_id, time)`},
		insert: `INSERT INTO event_history (event_id, source, device_id, type, sequence, data, recorded_at, time, time_nanos)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (event_id) DO NOTHING`,
		columns: `position, event_id, source, device_id, type, sequence, data, recorded_at, time, time_nanos`,
	},
}
