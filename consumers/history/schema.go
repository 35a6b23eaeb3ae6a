package history

import "github.com/device-fanout/fanout/consumers/database"

// dialect is what differs between the kinds of databases.
type dialect struct {
	steps   []string // of the migration; a released one is never changed
	insert  string
	widen   string // takes back that no two events may have the same ID; empty if the migration has done so
	columns string // as scan wants them
}

// widen lets PostgreSQL take two events with the same ID. The name is the one that PostgreSQL gives a UNIQUE of that column.
const widen = `ALTER TABLE event_history DROP CONSTRAINT IF EXISTS event_history_event_id_key`

var dialects = map[database.Kind]dialect{
	database.SQLite: {
		steps: []string{
			`CREATE TABLE event_history (
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
			CREATE INDEX event_history_device_time ON event_history (device_id, time)`,
			// An event is known by source and device as well as by its ID. SQLite can't drop a constraint, so the table is written anew;
			// positions stay, and so does the greatest that was ever given. To drop the old one would delete what refers to it with ON DELETE CASCADE.
			`CREATE TEMP TABLE event_history_references (name TEXT
				CONSTRAINT "a table refers to event_history, which is written anew: make it without that foreign key" CHECK (name IS NULL));
			INSERT INTO event_history_references SELECT m.name FROM main.sqlite_schema AS m, pragma_foreign_key_list(m.name) AS f
				WHERE m.type = 'table' AND lower(f."table") = 'event_history';
			DROP TABLE temp.event_history_references;
			CREATE TABLE event_history_new (
				position    INTEGER PRIMARY KEY AUTOINCREMENT,
				event_id    TEXT NOT NULL,
				source      TEXT NOT NULL,
				device_id   TEXT NOT NULL,
				type        TEXT NOT NULL,
				time        TEXT NOT NULL,
				sequence    TEXT NOT NULL,
				data        TEXT NOT NULL,
				recorded_at TEXT NOT NULL
			);
			INSERT INTO event_history_new (position, event_id, source, device_id, type, time, sequence, data, recorded_at)
				SELECT position, event_id, source, device_id, type, time, sequence, data, recorded_at FROM event_history ORDER BY position;
			DELETE FROM sqlite_sequence WHERE name = 'event_history_new';
			INSERT INTO sqlite_sequence (name, seq) SELECT 'event_history_new', seq FROM sqlite_sequence WHERE name = 'event_history';
			DROP TABLE event_history;
			PRAGMA legacy_alter_table = ON; -- views of it need not be there at this moment
			ALTER TABLE event_history_new RENAME TO event_history;
			PRAGMA legacy_alter_table = OFF;
			CREATE UNIQUE INDEX event_history_identity ON event_history (event_id, device_id, source);
			CREATE INDEX event_history_device_time ON event_history (device_id, time)`,
		},
		insert: `INSERT INTO event_history (event_id, source, device_id, type, sequence, data, recorded_at, time)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (event_id, device_id, source) DO NOTHING`,
		columns: `position, event_id, source, device_id, type, sequence, data, recorded_at, time, 0`,
	},
	database.Postgres: {
		steps: []string{
			`CREATE TABLE event_history (
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
			CREATE INDEX event_history_device_time ON event_history (device_id, time)`,
			// An event is known by source and device as well as by its ID. Older programs name the old constraint in their ON CONFLICT; so that
			// they can go on beside this one, it stays until two events have one ID, see widen. A table without rows has no older programs.
			// An index that somebody has begun by CREATE INDEX CONCURRENTLY is waited for; one that came to nothing keeps no event from coming twice.
			`CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS event_history_identity ON event_history (event_id, device_id, source);
			LOCK TABLE event_history IN SHARE MODE;
			DO $$ BEGIN
				IF EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('event_history_identity') AND NOT indisvalid) THEN
					DROP INDEX event_history_identity;
				END IF;
			END $$;
			CREATE UNIQUE INDEX IF NOT EXISTS event_history_identity ON event_history (event_id, device_id, source);
			DO $$ BEGIN
				IF NOT EXISTS (SELECT FROM event_history) THEN ` + widen + `; END IF;
			END $$`,
		},
		insert: `INSERT INTO event_history (event_id, source, device_id, type, sequence, data, recorded_at, time, time_nanos)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING`,
		widen:   `SET LOCAL lock_timeout = '2s'; ` + widen, // who waits for the lock holds up all others
		columns: `position, event_id, source, device_id, type, sequence, data, recorded_at, time, time_nanos`,
	},
}
