package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/ncruces/go-sqlite3"
	sqlitedriver "github.com/ncruces/go-sqlite3/driver"
)

// numbered is SQLite's driver with the placeholders that PostgreSQL has: $2 is the second argument. To SQLite $2 is a name,
// and names get their arguments in the order in which they first occur, so `lit = $2 WHERE name = $1` would quietly bind
// each to the other, and an argument that is missing would be NULL.
//
// A connection also has no more memory than this says, and turns the driver's panic at that bound into an error.
type numbered struct {
	driver.Connector
	memory int64 // bytes that a connection may use; zero means the driver's own bound
}

// openNumbered opens a pool of connections to the database that a URI names. Each may use that many bytes of memory; zero means the
// driver's own bound.
func openNumbered(uri string, memory int64) (*sql.DB, error) {
	inner, err := new(sqlitedriver.SQLite).OpenConnector(uri)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(numbered{inner, memory}), nil
}

func (n numbered) Connect(ctx context.Context) (_ driver.Conn, err error) {
	c := new(numberedConn)
	defer c.guard(&err)
	if n.memory > 0 {
		ctx = sqlite3.WithMaxMemory(ctx, n.memory)
	}
	conn, err := n.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	c.Conn = conn.(sqlitedriver.Conn)
	return c, nil
}

// errMemory says that a connection to SQLite had no more memory.
var errMemory = errors.New("database: SQLite is out of memory")

type numberedConn struct {
	sqlitedriver.Conn
	lost error // why the connection can't be used any more
}

// guard is deferred by all that runs SQL. The driver panics when there is no more memory, also where SQLite itself goes on. The connection
// can't be trusted then: it is not used again, and database/sql closes it. Any other panic goes on.
func (c *numberedConn) guard(err *error) {
	cause := recover()
	if cause == nil {
		return
	}
	if c.lost = outOfMemory(cause); c.lost == nil {
		c.lost = errPanicked
		panic(cause)
	}
	*err = c.lost
}

// outOfMemory returns the error for a panic of the driver at the bound of a connection's memory, or when the system has none: both from
// [github.com/ncruces/go-sqlite3/internal/sqlite3_wrap]. For another panic it is nil.
func outOfMemory(cause any) error {
	err, ok := cause.(error)
	if !ok {
		return nil
	}
	var system syscall.Errno
	if err.Error() == "sqlite3: out of memory" || errors.As(err, &system) {
		return fmt.Errorf("%w: %w", errMemory, err)
	}
	return nil
}

// usable returns an error once the connection is lost. To database/sql it means that it needs another one.
func (c *numberedConn) usable() error {
	if c.lost != nil {
		return fmt.Errorf("%w: %w", driver.ErrBadConn, c.lost)
	}
	return nil
}

// IsValid tells database/sql whether to keep the connection.
func (c *numberedConn) IsValid() bool { return c.lost == nil }

// Close closes the connection, and its statements before it: database/sql knows only those of a pool, and SQLite does not close a connection
// that has any, nor gives up its locks.
func (c *numberedConn) Close() (err error) {
	for _, s := range slices.Collect(c.Conn.Raw().Stmts()) {
		_ = c.closeStmt(s)
	}
	defer c.guard(&err)
	return c.Conn.Close()
}

// closeStmt frees a statement. SQLite says again then why its last run failed.
func (c *numberedConn) closeStmt(s io.Closer) (err error) {
	defer c.guard(&err)
	return s.Close()
}

// ExecContext runs a script. Statements with arguments are prepared.
func (c *numberedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (_ driver.Result, err error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	defer c.guard(&err)
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

// CheckNamedValue takes everything: arguments are checked by the statement.
func (c *numberedConn) CheckNamedValue(*driver.NamedValue) error { return nil }

func (c *numberedConn) PrepareContext(ctx context.Context, query string) (_ driver.Stmt, err error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	defer c.guard(&err)
	inner, err := c.Conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s := inner.(stmt)
	numbers, other := make([]int, s.BindCount()), 0
	for i := range numbers {
		name, _ := strings.CutPrefix(s.BindName(i+1), "$")
		if numbers[i], _ = strconv.Atoi(name); numbers[i] < 1 {
			other++
		}
	}
	switch {
	case other == 0:
		return numberedStmt{s, c, numbers, false}, nil
	case other == len(numbers): // such as ?
		return numberedStmt{s, c, nil, true}, nil
	default:
		_ = inner.Close() // the error below tells more
		return nil, errors.New("database: statement with $1 and other placeholders, want $1, $2 and so on only")
	}
}

// stmt is what the driver's statements can do.
type stmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
	driver.NamedValueChecker
	BindCount() int
	BindName(index int) string
}

// numberedStmt is a statement whose placeholder i+1, in SQLite's order, is argument numbers[i].
type numberedStmt struct {
	stmt
	conn    *numberedConn
	numbers []int
	plain   bool // its placeholders have no numbers, and numbers is empty
}

// NumInput returns how many arguments the statement wants; database/sql refuses fewer and more.
func (s numberedStmt) NumInput() int {
	if s.plain {
		return s.stmt.NumInput()
	}
	most := 0
	for _, n := range s.numbers {
		most = max(most, n)
	}
	return most
}

func (s numberedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (_ driver.Result, err error) {
	if err := s.conn.usable(); err != nil {
		return nil, err
	}
	defer s.conn.guard(&err)
	return s.stmt.ExecContext(ctx, s.inOrder(args))
}

func (s numberedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (_ driver.Rows, err error) {
	if err := s.conn.usable(); err != nil {
		return nil, err
	}
	defer s.conn.guard(&err)
	inner, err := s.stmt.QueryContext(ctx, s.inOrder(args))
	if err != nil {
		return nil, err
	}
	return guardedRows{inner.(rows), s.conn}, nil
}

// Close frees the statement.
func (s numberedStmt) Close() error { return s.conn.closeStmt(s.stmt) }

// inOrder returns args in SQLite's order.
func (s numberedStmt) inOrder(args []driver.NamedValue) []driver.NamedValue {
	same := len(args) == len(s.numbers)
	for i, n := range s.numbers {
		same = same && n == i+1
	}
	if same || s.plain {
		return args
	}
	ordered := make([]driver.NamedValue, len(s.numbers))
	for i, n := range s.numbers {
		ordered[i] = driver.NamedValue{Ordinal: i + 1, Value: args[n-1].Value}
	}
	return ordered
}

// rows is what the driver's rows can do.
type rows interface {
	driver.Rows
	driver.RowsColumnTypeDatabaseTypeName
	driver.RowsColumnTypeNullable
	driver.RowsColumnTypeScanType
}

// guardedRows are the rows of a query, which runs while they are read.
type guardedRows struct {
	rows
	conn *numberedConn
}

func (r guardedRows) Next(dest []driver.Value) (err error) {
	if err := r.conn.usable(); err != nil {
		return err
	}
	defer r.conn.guard(&err)
	return r.rows.Next(dest)
}

// Close resets the statement. SQLite says again then why it failed.
func (r guardedRows) Close() (err error) {
	defer r.conn.guard(&err)
	return r.rows.Close()
}
