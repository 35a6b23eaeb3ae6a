// Package history keeps every event: one row each, in a SQL table, in the order in which they were handled.
//
// It is a service ready to run, and a template to copy. Its handler has the shape that package consumers wants:
//
//	service, err := history.Open(ctx, "sqlite:data/history.db", history.Config{}) // or postgres://…
//	if err != nil {
//		return err
//	}
//	defer service.Close()
//	… // hand service.Handle to the consumer of queue {env}-history.fifo
//
// # The table
//
// Table event_history, the same on SQLite and PostgreSQL but for the types of columns:
//
//	position     increases in the order of handling
//	event_id     unique with source and device_id: the event's identity
//	source       the gateway that heard the event
//	device_id
//	type         such as device.power.changed.v1
//	time         when it happened at the device: RFC 3339 in UTC with nine digits of a second; TIMESTAMPTZ on PostgreSQL
//	time_nanos   on PostgreSQL only: the nanoseconds that TIMESTAMPTZ cannot hold, 0 to 999
//	sequence     sorts by order of acceptance within a device
//	data         the payload as JSON; JSONB on PostgreSQL
//	recorded_at  when the row was written
//
// Events of types that this program has not registered are kept too, type and data as they came: the consumer is told so by
// consumers.Config{UnknownTypes: true}. Their attribute dataschema is not kept, as there is no column for it; that of a registered
// type follows from the type.
//
// # Guarantees
//
// An event is there exactly once, however often it is delivered: its identity, which is source, device and ID together, refuses the second
// row, in the same statement that writes it. When Handle returns nil, the row is committed and on disk. A repeat whose type or payload differ
// from the row's leaves the row as it is; consumers.Reused tells the consumer of it. Events of sources or devices that use the same IDs are all kept.
//
// Positions of one device increase in the order of its events, because the consumer handles a device's events one after
// another. Between devices position tells little: they are handled side by side.
//
// On SQLite positions are given under the one write lock, so a reader that has seen a position will never see a smaller
// one appear. On PostgreSQL they are given before the commit: position 8 may become visible while 7 is not yet, and a
// position may be missing for ever, because its transaction was rolled back or its event was there already. A reader
// that follows the table by [Service.After] must not take the greatest position it has seen as a promise that all
// smaller ones came; it should look back some seconds by recorded_at and pass over the events that it knows, by their identity.
//
// In tables of older versions the ID alone was unique. On SQLite the first start of this version writes such a table anew, which takes time
// and as much space again, and keeps positions, but no indexes and triggers that others have made. On PostgreSQL it adds an index, and
// drops the old constraint, event_history_event_id_key, when two events first have the same ID, so that until then programs of both versions
// work side by side. Drop it yourself once no older one runs: two indexes cost time.
//
// While the database is down, locked, full or can only be read, Handle returns errors that are consumers.Unavailable, so events wait for it. Open
// succeeds then too, and [Service.Check] is for consumers.Config.Check.
//
// # What it does not do
//
// It never deletes. It does not check that an event is newer than the one before: a redriven event stands where it was
// handled, and time and sequence tell where it belongs.
package history
