// Package inbox makes a second delivery harmless, and a late one: it remembers which events were handled, and how far each
// device has come, in the handler's own SQL transaction, so that what the handler did and the fact that it did it are
// committed together, or not at all.
//
// # Once per event
//
// A queue delivers at least once. The same event comes again when a delete got lost, when a consumer died between its
// commit and its delete, when an event is redriven from a dead-letter queue although it had been handled, and when a
// gateway heard a frame twice. Queues forget deduplication IDs after five minutes; the inbox does not.
//
//	tx, err := db.BeginTx(ctx, nil) // any database/sql transaction on SQLite or PostgreSQL
//	…
//	first, err := inbox.First(ctx, tx, "billing", event)
//	if err != nil || !first {
//		return err // a second delivery: nothing to do, and no error, so that the message is deleted
//	}
//	… // what must happen once, in tx
//	return tx.Commit()
//
// An event is known by its identity: source, device and ID. Sources and devices may use the same IDs, and nobody can have an event of another
// device taken for a repeat. A repeat is one whatever it says; where its type or payload differ from those of the first one, consumers.Reused
// tells the consumer, which counts and logs it, and makes it a known error if the service wants that.
//
// # Never backwards
//
// An event that is redriven comes after newer ones of its device. [Advance] tells in the same transaction whether it is
// newer than what the device's state comes from, and remembers it if so:
//
//	newest, err := inbox.Advance(ctx, tx, inbox.MarkOf("billing", event))
//	if err != nil {
//		return err
//	}
//	if newest {
//		… // overwrite state
//	}
//
// Times that lie far ahead of the service's clock are not believed, see [Mark.NotBefore]: an event from 2099 does not stop its device. Where a
// mark is wrong all the same, [Forget] mends the device.
//
// Each works without the other. With both, First comes first: a stale event is then recorded as handled and changes
// nothing. Where the state's own row holds time and sequence, compare there instead, as package state does; it saves a
// statement.
//
// It works with [*database/sql.Tx] and with the transactions of package database. The tables must be there: [Create]
// makes them, [Schema] is their text, and [Migrations] has them as files. Several services may share them; each gives its
// own name.
//
// # Without a SQL transaction
//
// A handler whose effect is elsewhere, a call of another service for instance, is wrapped instead:
//
//	handle := inbox.Once(claims, "billing", 0, inbox.Newest(marks, "billing", charge))
//
// [Once] claims the event before the handler runs and finishes it afterwards; a claim whose process died ends with its
// lease. [Claims] and [Marks] are small interfaces: [SQL] implements both in the same tables, [Memory] for tests; package
// inboxtest tests others.
//
// # Guarantees
//
// When transactions with the same event run First at the same time, one gets true; another one waits for its end and gets
// false if it committed, and true if it was rolled back. PostgreSQL makes it wait at the row, SQLite at the one writer.
// On PostgreSQL this holds for read committed, the default; at stricter levels the later one fails with a serialization
// error instead, which is harmless: it is delivered again. The same holds for Advance and events of one stream.
//
// With Once an event is never handled by two at a time while the handler minds its context, and again only when a process
// died between handling and finishing it.
//
// # Expiry
//
// Rows stay until [Expire] deletes them, in small steps. See [DefaultRetention] for how long they are of use. Marks stay:
// there is one per device and stream.
//
// # Rows of older versions
//
// They have only an event's ID. Each of them counts for the first event with that ID that comes, whatever its source and device, and for no
// other one. So a repeat of what an older version has handled is a repeat, and at most one event is taken for another by each such row. Tables
// stay as they are, and programs of both versions may use them side by side; what one has handled in that time the other one handles again if
// it is delivered to it.
//
// # What it does not do
//
// First cannot make effects outside of the transaction happen once, such as a mail that was sent.
package inbox
