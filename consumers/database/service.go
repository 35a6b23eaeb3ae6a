package database

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/handlertime"
)

// Setup is what a service wants of its database, see [OpenService].
type Setup struct {
	// Service is the service's name, and Steps the steps that make its tables on that kind of database, as [DB.Migrate] takes them.
	Service string
	Steps   func(Kind) []string
	// Logger hears that the database is waited for, and that it has come. Nil logs nothing.
	Logger *slog.Logger
}

// OpenService opens the database that target names, as [Open] does, and brings the tables of a service up to date, as [DB.Migrate] does.
// Other than these it also succeeds while the database is down, locked, full or can only be read: then it tries again in the background, with
// pauses of up to five seconds, and whenever it is used, until it has succeeded or the DB is closed. Until then every method fails with an error
// that is marked as [Verdict] does, after it has waited for an attempt, at most two seconds. So a service starts before its database, and works when that comes.
//
// What no waiting can mend is an error at once: a target that is none, a wrong password, an unknown host, a missing database or folder, a
// file that is something else, tables two versions ahead of the program. If one of these shows only when the database has come, Logger hears of it as an
// error, and it is tried on, as somebody has to mend it there.
//
// The first attempt is made before OpenService returns: with a server that does not answer that takes ten seconds, or what connect_timeout
// says.
func OpenService(ctx context.Context, target string, s Setup) (*DB, error) {
	t, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	s.Logger = cmp.Or(s.Logger, slog.New(slog.DiscardHandler))
	run := runOf(ctx)
	if run != nil && run.Check && Existing(target) != nil { // to open it would create it
		return nil, run.add(Migration{Service: s.Service, Database: t.name, To: len(s.Steps(t.kind))})
	}
	db, err := openAndMigrate(ctx, t, s)
	if err == nil || run != nil || !comesLater(err) || errors.Is(ctx.Err(), context.Canceled) {
		return db, err
	}
	db = &DB{kind: t.kind, target: t.name, opening: newOpening(err)}
	s.Logger.Warn("database can't be used yet; waiting for it", "service", s.Service, "database", db.target, "err", err)
	db.opening.group.Go(func() { db.openLater(t, s) }) // ends when the database has come, and by Close
	return db, nil
}

func openAndMigrate(ctx context.Context, t target, s Setup) (*DB, error) {
	db, err := open(ctx, t)
	if err != nil {
		return nil, err
	}
	steps := s.Steps(db.kind)
	version, err := db.migrate(ctx, s.Service, steps)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if version > len(steps) {
		s.Logger.Warn("tables are one version ahead of this program, which works with them; the next step is for a newer program",
			"service", s.Service, "database", db.target, "version", version, "known", len(steps))
	}
	return db, nil
}

// opening is a database that is not there yet.
type opening struct {
	ctx    context.Context // ends by Close
	cancel context.CancelFunc
	group  sync.WaitGroup // who tries
	done   chan struct{}  // closed when the database is open: the other fields of DB are set then, and not changed any more
	wanted chan struct{}  // somebody wants it now; holds one

	mu    sync.Mutex    // guards what is below
	tried chan struct{} // closed at the end of the next attempt
	err   error         // why it was not there at the last attempt
	rows  *sql.DB       // for rows that carry the error; nil until there is one
}

func newOpening(err error) *opening {
	o := &opening{err: err, done: make(chan struct{}), wanted: make(chan struct{}, 1), tried: make(chan struct{})}
	o.ctx, o.cancel = context.WithCancel(context.Background())
	return o
}

const (
	// firstPause and longestPause are those between attempts to open a database that nobody wants to use meanwhile.
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	// attemptPatience is how long a use waits for the attempt that it has caused.
	attemptPatience = 2 * time.Second
)

// openLater tries until it has opened the database, or Close is called.
func (db *DB) openLater(t target, s Setup) {
	o := db.opening
	hopeless := false
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		if !o.rest(pause) {
			return
		}
		fresh, err := openAndMigrate(o.ctx, t, s)
		if err == nil {
			db.pool, db.writer, db.batches, db.close = fresh.pool, fresh.writer, fresh.batches, fresh.close
			close(o.done)
			o.attempted(nil)
			s.Logger.Info("database has come", "service", s.Service, "database", db.target)
			return
		}
		if o.ctx.Err() != nil {
			return
		}
		if was := hopeless; comesLater(err) {
			hopeless = false
		} else if hopeless = true; !was {
			s.Logger.Error("database can't be used, and waiting alone won't mend that", "service", s.Service, "database", db.target, "err", err)
		}
		o.attempted(err)
	}
}

// rest waits for that long, or, once there was a short pause, until somebody wants the database. It returns false when Close was called.
func (o *opening) rest(pause time.Duration) bool {
	select {
	case <-time.After(firstPause):
	case <-o.ctx.Done():
		return false
	}
	select {
	case <-time.After(pause - firstPause):
		return true
	case <-o.wanted:
		return true
	case <-o.ctx.Done():
		return false
	}
}

// attempted tells everybody who waits that an attempt has ended.
func (o *opening) attempted(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
	close(o.tried)
	o.tried = make(chan struct{})
}

// ready returns nil if the database is open, and else why it is not. It waits for an attempt to open it, for a short while.
func (db *DB) ready(ctx context.Context) error {
	if db.closed.Load() {
		return ErrClosed
	}
	o := db.opening
	if o == nil {
		return nil
	}
	select {
	case <-o.done:
		return nil
	default:
	}
	o.mu.Lock()
	tried := o.tried
	o.mu.Unlock()
	select {
	case o.wanted <- struct{}{}:
	default: // it knows
	}
	defer handlertime.Pause(ctx)()
	select {
	case <-tried:
	case <-time.After(attemptPatience):
	case <-ctx.Done():
	case <-o.ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		return nil
	}
	return &failure.UnavailableError{Err: o.err} // whatever the cause: nothing is wrong with any event
}

// row returns a row that carries err.
func (o *opening) row(err error) *sql.Row {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rows == nil {
		o.rows = sql.OpenDB(nowhere{})
		if o.ctx.Err() != nil { // nobody would close it any more
			_ = o.rows.Close()
		}
	}
	return o.rows.QueryRowContext(context.WithValue(context.Background(), nowhere{}, err), "")
}

// close ends the attempts. After that the database is open for good, or never will be.
func (o *opening) close() error {
	o.cancel()
	o.group.Wait()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rows == nil {
		return nil
	}
	return o.rows.Close()
}

// nowhere is a connector that fails with the error in the context.
type nowhere struct{}

func (nowhere) Connect(ctx context.Context) (driver.Conn, error) {
	err, _ := ctx.Value(nowhere{}).(error)
	return nil, err
}

func (nowhere) Driver() driver.Driver { return nil }

// notWanted is the error of a server that does not have the session attributes that the URL wants, such as target_session_attrs=read-write.
type notWanted struct{ error }

func (e notWanted) Unwrap() error { return e.error }

// comesLater tells whether a database that could not be opened so may be there some time later without anybody changing the target.
func comesLater(err error) bool {
	var (
		connect     *pgconn.ConnectError
		answer      *pgconn.PgError
		name        *net.DNSError
		wanted      notWanted
		network     *net.OpError
		certificate *x509.UnknownAuthorityError
		down        *failure.UnavailableError
		refused     refusedLogin
	)
	switch {
	case errors.As(err, &refused): // the secret may be about to be rotated
		return true
	case errors.As(err, &connect):
		switch {
		case errors.As(err, &answer):
			return downState(answer) != ""
		case errors.As(err, &name):
			return !name.IsNotFound
		case errors.As(err, &certificate):
			return false
		}
		return errors.As(err, &network) || errors.As(err, &wanted) || lostConnection(err) || errors.Is(err, context.DeadlineExceeded)
	case errors.As(err, &down):
		return true
	case errors.Is(err, context.DeadlineExceeded): // a server that takes the connection and says nothing
		return true
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EIO):
		return true
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist):
		return false
	}
	switch downReason(err) {
	case "", downFile:
		return false
	}
	return true
}

// Check returns nil if the database can be written, and else why not. It makes a table and a row in it, and takes them back, so that a
// database that is full or can only be read fails it. It blocks until then, or until ctx ends. It is meant for consumers.Config.Check, and it is
// safe to call it at any time and from many processes, though hardly more often than once a second.
func (db *DB) Check(ctx context.Context) error {
	if err := db.ready(ctx); err != nil {
		return err
	}
	table := `fanout_check_` + strings.ToLower(rand.Text())
	statements := []string{`CREATE TABLE ` + table + ` (n INTEGER)`, `INSERT INTO ` + table + ` VALUES (1)`}
	if db.kind == SQLite { // only a commit writes to the file
		statements = append(statements, `DROP TABLE `+table)
	}
	err := db.Write(ctx, func(ctx context.Context, tx Tx) error {
		for _, s := range statements {
			if _, err := tx.ExecContext(ctx, s); err != nil {
				return err
			}
		}
		if db.kind == Postgres {
			return errTakenBack
		}
		return nil
	})
	if err == nil || errors.Is(err, errTakenBack) {
		return nil
	}
	return fmt.Errorf("database: check of %s: %w", db.target, err)
}

// errTakenBack rolls back what a check has written.
var errTakenBack = errors.New("database: taken back")
