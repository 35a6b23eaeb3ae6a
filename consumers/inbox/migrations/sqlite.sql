-- The inbox on SQLite. Every statement may run again.
CREATE TABLE IF NOT EXISTS inbox (
	service    TEXT NOT NULL,
	event_id   TEXT NOT NULL, -- ID, device ID and source with spaces between; rows of older versions have the ID alone
	state      TEXT NOT NULL CHECK (state IN ('in_progress', 'done')),
	owner      TEXT NOT NULL, -- of the claim while in progress; when done a digest of what the event said, and its time, or empty
	until      TEXT NOT NULL, -- when the claim ends; as updated_at when done
	updated_at TEXT NOT NULL, -- RFC 3339, UTC, six digits: sorts as text
	PRIMARY KEY (service, event_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS inbox_updated_at ON inbox (service, updated_at);
CREATE TABLE IF NOT EXISTS inbox_marks (
	service   TEXT NOT NULL,
	device_id TEXT NOT NULL,
	stream    TEXT NOT NULL, -- what of the device; empty for all of it
	time      TEXT NOT NULL, -- RFC 3339, UTC, nine digits: sorts as text
	sequence  TEXT NOT NULL,
	PRIMARY KEY (service, device_id, stream)
) WITHOUT ROWID;
