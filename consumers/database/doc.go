// Package database gives a service its SQL database: SQLite in a file by default, PostgreSQL when given a URL.
//
// It exists so that a handler can record an event and the proof that it was handled in one transaction, on either
// database, without knowing which one it is:
//
//	db, err := database.Open(ctx, "sqlite:data/lights.db") // or "data/lights.db", or "postgres://lights@db.example/lights"
//	if err != nil {
//		return err
//	}
//	defer db.Close()
//	err = db.Migrate(ctx, "lights", `CREATE TABLE lights (device_id TEXT PRIMARY KEY, lit INTEGER NOT NULL)`)
//	…
//	err = db.Write(ctx, func(ctx context.Context, tx database.Tx) error {
//		_, err := tx.ExecContext(ctx, `INSERT INTO lights (device_id, lit) VALUES ($1, $2)`, "lamp-7", 1)
//		return err
//	})
//
// Placeholders are $1, $2 and so on; both databases take them. Statements with arguments are prepared once and reused.
//
// # What a nil error of Write means
//
// The change is committed and on disk. A consumer deletes the event's message from the queue after that, so a commit
// that a power cut could undo would be a lost event. SQLite therefore runs with synchronous=FULL (in WAL mode the usual
// NORMAL may lose the last commits), and PostgreSQL keeps its default, synchronous_commit=on. Whoever does not need that
// can ask for less, see [Open].
//
// # Group commit on SQLite
//
// SQLite has one writer at a time, and each commit waits for the disk. Transactions of several goroutines are therefore
// committed together: one goroutine opens a transaction, hands the turn to each waiting Write, one after another, and
// commits once. Every Write runs under a savepoint of its own, so to its function it is a transaction like any other:
// if it fails or panics, only its own changes are rolled back. If the commit fails, it fails for all. Nothing waits in
// order to fill a group: while one group is being committed, the next one gathers by itself.
// Constraints that are deferred to the commit would fail the neighbours too, so do not use them on SQLite.
//
// # Batches on PostgreSQL
//
// On PostgreSQL each Write is a transaction on a connection of a pool, which takes a round trip for each of its steps. What
// can be said in one statement goes by [DB.ExecContext] instead: the statements of all goroutines that write at the same
// time, one for each lane of a consumer for instance, go out in a single round trip with a single commit.
//
// # What it does not do
//
// It does not retry: what fails goes back to the caller, whose message is delivered again. There is no query builder
// and no mapping to structs. Databases in memory are refused, because each connection would have one of its own.
package database
