// Package inbox makes a second delivery harmless: it remembers in the handler's own SQL transaction which events were
// handled, so that what the handler did and the fact that it did it are committed together, or not at all.
//
// A queue delivers at least once. The same event comes again when a delete got lost, when a consumer died between its
// commit and its delete, when an event is redriven from a dead-letter queue although it had been handled, and when a
// gateway heard a frame twice. Queues forget deduplication IDs after five minutes; the inbox does not.
//
//	tx, err := db.BeginTx(ctx, nil) // any database/sql transaction on SQLite or PostgreSQL
//	…
//	first, err := inbox.First(ctx, tx, "billing", event.ID)
//	if err != nil || !first {
//		return err // a second delivery: nothing to do, and no error, so that the message is deleted
//	}
//	… // what must happen once, in tx
//	return tx.Commit()
//
// It works with [*database/sql.Tx] and with the transactions of package database. The table must be there: run
// [SQLiteSchema] or [PostgresSchema] once, or put the text into your migrations. Several services may share it; each
// gives its own name.
//
// # Guarantees
//
// When transactions with the same event run at the same time, one gets true; another one waits for its end and gets
// false if it committed, and true if it was rolled back. PostgreSQL makes it wait at the row, SQLite at the one writer.
// On PostgreSQL this holds for read committed, the default; at stricter levels the later one fails with a serialization
// error instead, which is harmless: it is delivered again.
//
// # What it does not do
//
// It cannot make effects outside of the transaction happen once, such as a mail that was sent. It does not delete old
// rows; a row may go once no copy of its event can come any more, which is after the retention of the queue and of the
// dead-letter queue. It keeps no order: see package state for a guard against older events.
package inbox
