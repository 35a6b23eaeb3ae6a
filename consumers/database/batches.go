package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/handlertime"
)

const (
	// maxSenders is how many batches are under way at once on PostgreSQL. A second one fills while the first commits;
	// more would make them smaller, and every commit costs the server a write to its disk.
	maxSenders = 2
	// batchTimeout bounds a batch whose server has gone silent. It also waits for locks that others hold, and those
	// who sent the statements leave earlier when their contexts end.
	batchTimeout = time.Minute
)

// batches gathers the statements that several goroutines run at the same time on PostgreSQL, and sends them together.
//
// A batch is one implicit transaction: the statements go out in a row with a single Sync at the end, which commits. So
// there is one round trip and one commit for all of them, and if one fails none is kept.
type batches struct {
	pool *sql.DB

	mu      sync.Mutex // guards what is below, for memory work only
	waiting []*statement
	senders int
	closed  bool
	group   sync.WaitGroup // the senders
}

// statement is one call of [DB.ExecContext].
type statement struct {
	ctx   context.Context // of the caller
	query string
	args  []any
	done  chan result // holds one, so that nobody waits for a caller who has left

	resume func()      // the clock of the caller's handler, which stands until the statement is sent
	sent   atomic.Bool // there was a connection to send it on
	left   atomic.Bool // the caller waits no more
}

type result struct {
	changed int64 // rows
	err     error
}

// exec hands a statement to a sender and waits for its result, or for the end of ctx.
func (b *batches) exec(ctx context.Context, query string, args []any) (sql.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("database: run statement: %w", err)
	}
	s := &statement{ctx: ctx, query: query, args: args, done: make(chan result, 1), resume: handlertime.Pause(ctx)}
	defer s.resume()
	if err := b.add(s); err != nil {
		return nil, err
	}
	r, err := s.wait()
	s.left.Store(err != nil)
	if err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, r.err
	}
	return driver.RowsAffected(r.changed), nil
}

// wait waits for the result, or for the end of the caller's context. Until the statement is sent that does not use up a handler's time,
// but it is bounded.
func (s *statement) wait() (result, error) {
	patience := time.NewTimer(turnTimeout)
	defer patience.Stop()
	for {
		select {
		case r := <-s.done:
			return r, nil
		case <-s.ctx.Done():
			if s.sent.Load() {
				return result{}, fmt.Errorf("database: run statement: %w", s.ctx.Err())
			}
			return result{}, waitEnded(s.ctx, "turn to write")
		case <-patience.C:
			if !s.sent.Load() {
				return result{}, waitEnded(s.ctx, "turn to write")
			}
		}
	}
}

// add puts a statement in line, and starts a sender unless enough are at work.
func (b *batches) add(s *statement) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	b.waiting = append(b.waiting, s)
	if b.senders < maxSenders {
		b.senders++
		b.group.Go(b.send) // ends when nothing waits
	}
	return nil
}

// take returns the statements of the next batch. Without any, the sender that asks must end.
func (b *batches) take() []*statement {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.waiting), maxGroup)
	if n == 0 {
		b.senders--
		return nil
	}
	batch := b.waiting[:n:n]
	b.waiting = b.waiting[n:]
	return batch
}

// close refuses new statements and waits for those that were taken on.
func (b *batches) close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.group.Wait()
	return nil
}

// send sends batches until nothing waits.
func (b *batches) send() {
	for batch := b.take(); batch != nil; batch = b.take() {
		wanted := batch[:0]
		for _, s := range batch {
			if s.ctx.Err() == nil && !s.left.Load() { // whoever has left knows it
				wanted = append(wanted, s)
			}
		}
		if len(wanted) > 0 {
			b.run(wanted)
		}
	}
}

// run runs a batch and answers everybody in it.
func (b *batches) run(batch []*statement) {
	results := make([]result, len(batch))
	err := b.attempt(batch, results)
	var (
		refused *pgconn.PgError
		unsent  pgx.ErrPreprocessingBatch
		down    *failure.UnavailableError
	)
	if len(batch) > 1 && !errors.As(err, &down) && (errors.As(err, &refused) || errors.As(err, &unsent)) {
		// One of them was refused, and nothing was kept of any. Alone, each gets the result that is its own.
		for i := range batch {
			if err := b.attempt(batch[i:i+1], results[i:i+1]); err != nil {
				results[i] = result{err: err}
			}
		}
	} else if err != nil {
		for i := range results {
			results[i] = result{err: err}
		}
	}
	for i, s := range batch {
		s.done <- results[i]
	}
}

// attempt is together, again at once where that may help.
func (b *batches) attempt(batch []*statement, results []result) error {
	for run := 1; ; run++ {
		err := b.together(batch, results)
		var unsent pgx.ErrPreprocessingBatch
		staleConnection := run == 1 && errors.As(err, &unsent) && lostConnection(err)
		if !staleConnection && !runAgain(err, run) {
			return Verdict(err)
		}
	}
}

// together runs the statements in one implicit transaction. The results hold only when it returns nil: then it was
// committed.
func (b *batches) together(batch []*statement, results []result) error {
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	conn, err := connection(ctx, b.pool)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it only goes back to the pool, which looks at its state
	return conn.Raw(func(raw any) error {
		var queue pgx.Batch
		for _, s := range batch {
			queue.Queue(s.query, s.args...)
			s.sent.Store(true)
			s.resume()
		}
		replies := raw.(*stdlib.Conn).Conn().SendBatch(ctx, &queue)
		for i := range batch {
			tag, err := replies.Exec()
			if err != nil {
				_ = replies.Close() // it says the same again
				return err
			}
			results[i] = result{changed: tag.RowsAffected()}
		}
		return replies.Close() // the commit's own error comes here
	})
}
