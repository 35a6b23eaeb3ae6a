package state

import (
	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/inbox"
	"github.com/device-fanout/fanout/consumers/internal/newest"
)

// dialect is what differs between the kinds of databases.
type dialect struct {
	steps   []string // of the migration; a released one is never changed
	put     string   // overwrites unless what is there is newer
	once    bool     // put also records the event in the inbox, and does nothing if it is there
	columns string   // as scan wants them
}

var dialects = map[database.Kind]dialect{
	database.SQLite: {
		steps: []string{inbox.Schema(inbox.SQLite) + `;
			CREATE TABLE device_state (
				device_id TEXT NOT NULL,
				type      TEXT NOT NULL,
				event_id  TEXT NOT NULL,
				time      TEXT NOT NULL, -- RFC 3339, UTC, nine digits: sorts as text
				sequence  TEXT NOT NULL,
				data      TEXT NOT NULL, -- JSON
				PRIMARY KEY (device_id, type)
			) WITHOUT ROWID`},
		put: `INSERT INTO device_state (device_id, type, event_id, sequence, data, time)
			VALUES ($1, $2, $3, $4, $5, $8)
			ON CONFLICT (device_id, type) DO UPDATE SET
				event_id = excluded.event_id, time = excluded.time, sequence = excluded.sequence, data = excluded.data
			WHERE ` + newest.SQL("device_state", "$6", "$7", "time"),
		columns: `device_id, type, event_id, sequence, data, time, 0`,
	},
	database.Postgres: {
		steps: []string{inbox.Schema(inbox.Postgres) + `;
			CREATE TABLE device_state (
				device_id  TEXT NOT NULL,
				type       TEXT NOT NULL,
				event_id   TEXT NOT NULL,
				time       TIMESTAMPTZ NOT NULL,
				time_nanos SMALLINT NOT NULL, -- what time cannot hold, 0 to 999
				sequence   TEXT COLLATE "C" NOT NULL, -- compared byte by byte, as everywhere
				data       JSONB NOT NULL,
				PRIMARY KEY (device_id, type)
			)`},
		// One statement for all of it, so that the events of many devices share a round trip and a commit. The first two parts
		// are what inbox.First does.
		put: `WITH first AS (
				INSERT INTO inbox (service, event_id, state, owner, until, updated_at)
				VALUES ('` + inboxName + `', $10, 'done', $11, now(), now())
				ON CONFLICT (service, event_id) DO NOTHING RETURNING event_id
			), old AS (
				DELETE FROM inbox USING first WHERE inbox.service = '` + inboxName + `' AND inbox.event_id = $3 RETURNING inbox.event_id
			)
			INSERT INTO device_state (device_id, type, event_id, sequence, data, time, time_nanos)
			SELECT $1, $2, $3, $4, $5::jsonb, $8::timestamptz, $9::smallint FROM first WHERE NOT EXISTS (SELECT FROM old)
			ON CONFLICT (device_id, type) DO UPDATE SET
				event_id = excluded.event_id, time = excluded.time, time_nanos = excluded.time_nanos,
				sequence = excluded.sequence, data = excluded.data
			WHERE ` + newest.SQL("device_state", "$6::timestamptz", "$7", "time", "time_nanos"),
		once:    true,
		columns: `device_id, type, event_id, sequence, data, time, time_nanos`,
	},
}
