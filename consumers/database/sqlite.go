package database

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// busyTimeout is how long we wait for other processes that write to the same file; the pragmas say it in milliseconds.
	busyTimeout = 5 * time.Second
	// readers is how many queries outside of writes run at once on SQLite.
	readers = 4
	// writerPragmas and readerPragmas set up connections. What synchronous says comes to them, full or relaxed.
	// temp_store(2) keeps the journal of savepoints in memory, what an index is made of, and what a query sorts: the image has no folder
	// for temporary files.
	writerPragmas = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)" +
		"&_pragma=foreign_keys(1)&_pragma=temp_store(2)"
	readerPragmas = "_pragma=busy_timeout(5000)&_pragma=query_only(1)&_pragma=temp_store(2)"

	synchronousFull   = "&_pragma=synchronous(2)" // a commit waits for the disk, see the package comment
	synchronousNormal = "&_pragma=synchronous(1)" // only a checkpoint does
)

func openSQLite(ctx context.Context, path string, relaxed bool) (*DB, error) {
	fail := func(err error, hint string) (*DB, error) {
		return nil, &OpenError{Target: path, Hint: hint, Err: err}
	}
	if err := touch(path); err != nil {
		return fail(err, hintFile(path, err))
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return fail(err, "want a path that can be made absolute")
	}
	// A URI, because in a plain path a question mark would start the parameters.
	slashed := filepath.ToSlash(absolute)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // a drive letter
	}
	uri := (&url.URL{Scheme: "file", Path: slashed}).String()

	pragmas := writerPragmas + synchronousFull
	if relaxed {
		pragmas = writerPragmas + synchronousNormal
	}
	writes, err := sql.Open("sqlite", uri+"?"+pragmas)
	if err != nil {
		return fail(err, wantTarget)
	}
	conn, err := connect(ctx, writes)
	if err == nil {
		// The header is not read before the first query: only now a file that holds something else is found out.
		err = conn.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(new(int))
	}
	var files place
	if err == nil {
		files, err = placeOf(absolute)
	}
	if err != nil {
		return fail(errors.Join(err, writes.Close()), hintSQLite(err))
	}
	reads, err := sql.Open("sqlite", uri+"?"+readerPragmas)
	if err != nil {
		return fail(errors.Join(err, writes.Close()), wantTarget)
	}
	reads.SetMaxOpenConns(readers)
	reads.SetMaxIdleConns(readers)

	w := newWriter(conn, maxGroup, files)
	return &DB{
		kind: SQLite, target: path, pool: reads, writer: w,
		// The writer's connection closes last: the last one to close empties the write-ahead log into the file.
		close: closeOnce(path, reads.Close, w.close, writes.Close),
	}, nil
}

// connect opens the writer's connection. Of several that switch a new file to WAL mode at once, SQLite refuses all but one
// at once, without regard to busy_timeout. So that time is waited for here.
func connect(ctx context.Context, db *sql.DB) (*sql.Conn, error) {
	for end := time.Now().Add(busyTimeout); ; {
		conn, err := db.Conn(ctx)
		var sqliteErr *sqlite.Error
		if err == nil || !errors.As(err, &sqliteErr) || sqliteErr.Code()&0xff != sqlite3.SQLITE_BUSY || time.Now().After(end) {
			return conn, err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// touch finds out whether the file can be read and written, and creates it, for its owner alone, when it does not exist; SQLite gives its
// companions the same mode. SQLite could do that too, but of most failures it only says "unable to open database file".
func touch(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return withoutPath(err)
	}
	return file.Close()
}

// withoutPath is the cause of an error of package os: OpenError names the path already.
func withoutPath(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// hintFile says what to do about an error of [touch].
func hintFile(path string, err error) string {
	folder := filepath.Dir(path)
	info, statErr := os.Stat(path)
	switch {
	case statErr == nil && info.IsDir():
		return "it is a folder, name a file in it"
	case errors.Is(err, fs.ErrPermission):
		return "this user needs to read and write the file, and to create files in folder " + folder
	case errors.Is(err, fs.ErrNotExist):
		return "create folder " + folder + " or name another path"
	default:
		return "want a path of a file that can be written"
	}
}

// hintSQLite says what to do about an error of SQLite.
func hintSQLite(err error) string {
	var sqliteErr *sqlite.Error
	if !errors.As(err, &sqliteErr) {
		return "try again"
	}
	switch sqliteErr.Code() & 0xff { // the primary code
	case sqlite3.SQLITE_NOTADB:
		return "the file holds something else, name another path; nothing in it was changed"
	case sqlite3.SQLITE_CORRUPT:
		return "the file is damaged, restore a copy of it or name another path"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return "another process holds it locked, stop that one or name another path"
	case sqlite3.SQLITE_FULL:
		return "make room on the disk"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return "this user needs to read and write the file and its companions -wal and -shm, and to create files in the folder"
	default:
		return "see whether the disk is in order"
	}
}
