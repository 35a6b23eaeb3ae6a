// Package state keeps the last state of every device: one row per device and type of event, in a SQL table.
//
// It is a service ready to run, and a template to copy: its handler shows how to use package inbox, and how to keep an
// older event from overwriting newer state.
//
//	service, err := state.Open(ctx, "sqlite:data/state.db", state.Config{}) // or postgres://…
//	if err != nil {
//		return err
//	}
//	defer service.Close()
//	… // hand service.Handle to the consumer of queue {env}-state.fifo
//	rows, err := service.Device(ctx, "hall/lamp")
//
// # The table
//
// Table device_state, the same on SQLite and PostgreSQL but for the types of columns:
//
//	device_id   with type the primary key
//	type        such as device.power.changed.v1
//	event_id    the event that the row comes from
//	time        when that happened: RFC 3339 in UTC with nine digits of a second; TIMESTAMPTZ on PostgreSQL
//	time_nanos  on PostgreSQL only: the nanoseconds that TIMESTAMPTZ cannot hold, 0 to 999
//	sequence    sorts by order of acceptance within a device
//	data        the payload as JSON; JSONB on PostgreSQL
//
// Table inbox, of package inbox, holds the identities of the events that were handled.
//
// Events of types that this program has not registered are kept too, type and data as they came: the consumer is told so by
// consumers.Config{UnknownTypes: true}.
//
// # Guarantees
//
// State never goes backwards: a row is overwritten only by an event whose (time, sequence) is not smaller. Where one of the two times lies further
// ahead of this machine's clock than Config.MaxFuture, the sequence alone decides, which is the order of acceptance: an event from 2099 stays until the
// device's next one, and an older one that is redriven changes nothing. If one of them has no sequence then, the one whose time is believed stays; and a
// sequence from a gateway whose own clock was as wrong holds up none that is believed. Of the many
// events of one second the one with the greater sequence stays. An older event that arrives late, because it was
// redriven from the dead-letter queue, counts as handled and changes nothing. Both numbers alike means an event without
// a sequence, or two producers for one device; then the one that was handled last stays.
//
// An event changes state once, however often it is delivered: its identity, which is source, device and ID together, goes into the inbox in the
// same transaction. A repeat whose type or payload differ changes nothing; consumers.Reused tells the consumer of it. When
// Handle returns nil, that transaction is committed and on disk.
//
// While the database is down, locked, full or can only be read, Handle returns errors that are consumers.Unavailable, so events wait for it. Open
// succeeds then too, and [Service.Check] is for consumers.Config.Check.
//
// # What it does not do
//
// It trusts the clock of the device up to Config.MaxFuture: an event from this evening that comes at noon stays until then. [Service.Forget] mends
// such a device.
// Rows of the inbox stay until [Service.Expire] deletes them.
package state
