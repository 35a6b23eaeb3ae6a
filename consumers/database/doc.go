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
//	… // or both at once, and also while the database is down: OpenService
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
// order to fill a group: while one group is being committed, the next one gathers by itself. A group takes no more in once it has run for
// 100 ms, so that slow writes don't hold up the commit of those before them.
// Constraints that are deferred to the commit would fail the neighbours too, so do not use them on SQLite.
//
// # Batches on PostgreSQL
//
// On PostgreSQL each Write is a transaction on a connection of a pool, which takes a round trip for each of its steps. What
// can be said in one statement goes by [DB.ExecContext] instead: the statements of all goroutines that write at the same
// time, one for each lane of a consumer for instance, go out in a single round trip with a single commit.
//
// # When the database is down
//
// An error that says so is marked: it is what consumers.Unavailable makes, so a handler that returns it has its event wait for the database,
// rather than go to the dead-letter queue. [Verdict] has the table of what counts. A connection whose server stops, or can only be read any
// more, is thrown away with those that were opened with it: after a failover the pool finds the new primary behind the same name, without a
// restart and also without target_session_attrs=read-write in the URL. Serialization failures and deadlocks are run again at once.
//
// A service opens its database with [OpenService], which succeeds also while the database is down, and hands [DB.Check] to
// consumers.Config.Check, which tells a database that can't be written from an event that can't be handled.
//
// Waiting for the turn to write, for a connection or for a commit does not use up the time that a consumer gives its handler: the transactions
// of other handlers are what is waited for. A wait ends after 30 seconds, as unavailable.
//
// # What it does not do
//
// Other than that it does not retry: what fails goes back to the caller, whose message is delivered again. There is no query builder
// and no mapping to structs. Databases in memory are refused, because each connection would have one of its own.
package database
