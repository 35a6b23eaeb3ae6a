package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strconv"
	"strings"

	sqlitedriver "github.com/ncruces/go-sqlite3/driver"
)

// numbered is SQLite's driver with the placeholders that PostgreSQL has: $2 is the second argument. To SQLite $2 is a name,
// and names get their arguments in the order in which they first occur, so `lit = $2 WHERE name = $1` would quietly bind
// each to the other, and an argument that is missing would be NULL.
type numbered struct{ driver.Connector }

// openNumbered opens a pool of connections to the database that a URI names.
func openNumbered(uri string) (*sql.DB, error) {
	inner, err := new(sqlitedriver.SQLite).OpenConnector(uri)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(numbered{inner}), nil
}

func (n numbered) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := n.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return numberedConn{conn.(sqlitedriver.Conn)}, nil
}

type numberedConn struct{ sqlitedriver.Conn }

// ExecContext runs a script. Statements with arguments are prepared.
func (c numberedConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return c.Conn.(driver.ExecerContext).ExecContext(ctx, query, args)
}

// CheckNamedValue takes everything: arguments are checked by the statement.
func (c numberedConn) CheckNamedValue(*driver.NamedValue) error { return nil }

func (c numberedConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
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
	switch other {
	case 0:
		return numberedStmt{s, numbers}, nil
	case len(numbers): // such as ?
		return inner, nil
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
	numbers []int
}

// NumInput returns how many arguments the statement wants; database/sql refuses fewer and more.
func (s numberedStmt) NumInput() int {
	most := 0
	for _, n := range s.numbers {
		most = max(most, n)
	}
	return most
}

func (s numberedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	return s.stmt.ExecContext(ctx, s.inOrder(args))
}

func (s numberedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.stmt.QueryContext(ctx, s.inOrder(args))
}

// inOrder returns args in SQLite's order.
func (s numberedStmt) inOrder(args []driver.NamedValue) []driver.NamedValue {
	same := len(args) == len(s.numbers)
	for i, n := range s.numbers {
		same = same && n == i+1
	}
	if same {
		return args
	}
	ordered := make([]driver.NamedValue, len(s.numbers))
	for i, n := range s.numbers {
		ordered[i] = driver.NamedValue{Ordinal: i + 1, Value: args[n-1].Value}
	}
	return ordered
}
