package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/device-fanout/fanout/consumers/internal/handlertime"
)

const (
	// maxGroup is how many writes are committed together at most. A group is never larger than the number of
	// goroutines that write at once, because each of them waits for its commit.
	maxGroup = 256
	// maxPrepared is how many statements stay prepared. Services have a handful; the bound is for SQL made at run time.
	maxPrepared = 128
	// groupTime is how long a group that has begun takes in further writes, so that no write waits long for the commit on account of
	// slow ones behind it.
	groupTime = 100 * time.Millisecond
)

// errPanicked stands for a function that panicked or ended its goroutine. Nobody sees it: the panic goes on.
var errPanicked = errors.New("database: write did not return")

// writer writes to a SQLite database: it runs the writes of many goroutines one after another on one connection and
// commits them in groups. Its goroutine begins and commits; in between, the function of a write runs on the goroutine of
// its caller, which then has the turn, so a panic unwinds the caller's stack and nobody else's.
//
// Nobody else touches the connection: the goroutine of writer does while it runs, the caller does between receiving
// from turn and sending to ran.
type writer struct {
	queue    chan *write   // unbuffered: whoever waits here can still walk away
	closing  chan struct{} // closed by close
	stopped  chan struct{} // closed by loop when it ends
	conn     *sql.Conn
	prepared map[string]*sql.Stmt // on conn; whoever has the turn reads and writes it
	maxGroup int
	place    place
}

// write is one call of [DB.Write]. Its channels hold one value each, so no side ever waits for one that is gone.
type write struct {
	turn chan error // from writer: nil, you have the turn; else the transaction did not begin
	ran  chan error // from caller: what the function returned
	done chan error // from writer: what became of it
}

func newWriter(conn *sql.Conn, maxGroup int, files place) *writer {
	w := &writer{
		queue:    make(chan *write),
		closing:  make(chan struct{}),
		stopped:  make(chan struct{}),
		conn:     conn,
		prepared: make(map[string]*sql.Stmt),
		maxGroup: maxGroup,
		place:    files,
	}
	go w.loop() // ends when closing is closed
	return w
}

// write waits for its turn, runs fn and waits for the commit. Only fn uses up the time of the handler whose context ctx is.
func (w *writer) write(ctx context.Context, fn func(Tx) error) error {
	if err := ctx.Err(); err != nil { // select would pick either when both are ready
		return fmt.Errorf("database: wait for turn to write: %w", err)
	}
	me := &write{turn: make(chan error, 1), ran: make(chan error, 1), done: make(chan error, 1)}
	if err := me.wait(ctx, w); err != nil {
		return err
	}
	me.run(w, fn)
	defer handlertime.Pause(ctx)()
	err := <-me.done
	return marked(err, downReason(err))
}

// wait returns nil when me has the turn.
func (me *write) wait(ctx context.Context, w *writer) error {
	defer handlertime.Pause(ctx)()
	patience := time.NewTimer(turnTimeout)
	defer patience.Stop()
	select {
	case w.queue <- me:
	case <-ctx.Done():
		return waitEnded(ctx, "turn to write")
	case <-patience.C:
		return waitEnded(ctx, "turn to write")
	case <-w.closing:
		return ErrClosed
	}
	select { // the transaction may have to be begun yet, and wait for other processes
	case err := <-me.turn:
		return marked(err, downReason(err))
	case <-ctx.Done():
	case <-patience.C:
	}
	err := waitEnded(ctx, "turn to write")
	me.ran <- err // the turn, when it comes, is over at once
	return err
}

// run runs fn and passes the turn back, whichever way fn ends.
func (me *write) run(w *writer, fn func(Tx) error) {
	err := errPanicked
	tx := &writerTx{w: w}
	defer func() {
		tx.over.Store(true)
		me.ran <- err
	}()
	err = fn(tx)
}

func (w *writer) loop() {
	defer close(w.stopped)
	for {
		select {
		case first := <-w.queue:
			w.group(first)
		case <-w.closing:
			return
		}
	}
}

// group runs first and everybody who comes to wait meanwhile in one transaction.
func (w *writer) group(first *write) {
	if err := w.exec("BEGIN IMMEDIATE"); err != nil {
		err = fmt.Errorf("database: begin: %w", err)
		for next, n := first, 0; next != nil; next, n = w.waiting(n, time.Now()), n+1 { // to wait for the same once more helps none of them
			next.turn <- err
		}
		return
	}
	var kept []*write // succeeded so far; their answer is that of the commit
	began := time.Now()
	for next := first; next != nil; next = w.waiting(len(kept), began) {
		succeeded, lost := w.runOne(next)
		if lost != nil {
			// SQLite gives up the whole transaction when the disk is full or broken. What the others did is gone with
			// it. To go on would be to report their success on behalf of a transaction that no longer exists.
			_ = w.exec("ROLLBACK")                         // there may be none any more
			answer(kept, marked(lost, "transaction lost")) // they had nothing to do with it
			return
		}
		if succeeded {
			kept = append(kept, next)
		}
	}
	err := w.exec("COMMIT")
	if err != nil {
		_ = w.exec("ROLLBACK") // a failed commit may have rolled back by itself
		err = fmt.Errorf("database: commit: %w", err)
	} else {
		err = w.place.check()
	}
	answer(kept, err)
}

// waiting returns the next write in the queue, or nil when the group of that size, which has begun then, should be committed.
func (w *writer) waiting(size int, began time.Time) *write {
	if size >= w.maxGroup || time.Since(began) > groupTime {
		return nil
	}
	for yielded := false; ; yielded = true {
		select {
		case next := <-w.queue:
			return next
		default:
		}
		if yielded {
			return nil
		}
		runtime.Gosched() // whoever is about to come, comes: each that joins the group saves a commit
	}
}

// runOne runs next under a savepoint. It answers next unless that succeeded: then the commit decides. When the
// transaction around it is no more, lost tells why: the savepoint vanishes with the transaction, so that is found out
// even when the function kept the failure of its statement to itself.
func (w *writer) runOne(next *write) (succeeded bool, lost error) {
	if err := w.exec("SAVEPOINT one"); err != nil {
		lost = fmt.Errorf("database: savepoint: %w", err)
		next.turn <- lost
		return false, lost
	}
	next.turn <- nil
	fnErr := <-next.ran
	var err error
	if fnErr != nil {
		err = w.exec("ROLLBACK TO one")
	}
	if err == nil {
		err = w.exec("RELEASE one")
	}
	switch {
	case err != nil:
		lost = fmt.Errorf("database: transaction lost: %w", err)
		next.done <- errors.Join(fnErr, lost)
		return false, lost
	case fnErr != nil:
		next.done <- fnErr
		return false, nil
	default:
		return true, nil
	}
}

func answer(writes []*write, err error) {
	for _, w := range writes {
		w.done <- err
	}
}

// exec runs a statement of the writer's own.
func (w *writer) exec(query string) error {
	stmt, err := w.statement(context.Background(), query)
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(context.Background())
	return err
}

// statement returns query prepared.
func (w *writer) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := w.prepared[query]; ok {
		return stmt, nil
	}
	if len(w.prepared) >= maxPrepared {
		for _, stmt := range w.prepared {
			_ = stmt.Close() // the statement is forgotten either way
		}
		clear(w.prepared)
	}
	stmt, err := w.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	w.prepared[query] = stmt
	return stmt, nil
}

// close lets the group that is under way finish, refuses those who wait, and closes the connection.
func (w *writer) close() error {
	close(w.closing)
	<-w.stopped
	for _, stmt := range w.prepared {
		_ = stmt.Close() // closing the connection frees what this does not
	}
	return w.conn.Close()
}
