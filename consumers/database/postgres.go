package database

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// defaultMaxConns is how many connections a service has open at most. A server takes 100 by default.
	defaultMaxConns = 16
	// connectTimeout bounds connecting when neither the URL nor the context does.
	connectTimeout = 10 * time.Second
	// idleTime is how long a connection that nobody uses stays open.
	idleTime = 5 * time.Minute
)

func openPostgres(ctx context.Context, target string) (*DB, error) {
	name := redact(target)
	fail := func(err error, hint string) (*DB, error) {
		return nil, &OpenError{Target: name, Hint: hint, Err: err}
	}
	target, maxConns, err := cutMaxConns(target)
	if err != nil {
		return fail(err, wantTarget)
	}
	config, err := pgx.ParseConfig(target)
	if err != nil {
		return fail(errors.New("not a URL that PostgreSQL understands"+parseReason(err)), wantTarget)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	pool := stdlib.OpenDB(*config) // prepares statements with arguments once per connection and reuses them
	pool.SetMaxOpenConns(maxConns)
	pool.SetMaxIdleConns(maxConns)
	pool.SetConnMaxIdleTime(idleTime)
	if err := pool.PingContext(ctx); err != nil {
		return fail(errors.Join(err, pool.Close()), hintPostgres(err))
	}
	b := &batches{pool: pool}
	return &DB{kind: Postgres, target: name, pool: pool, batches: b, close: closeOnce(name, b.close, pool.Close)}, nil
}

// cutMaxConns takes pool_max_conns out of the URL: to the server it would be an unknown setting.
func cutMaxConns(target string) (string, int, error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", 0, errors.New("not a URL, mind that a password needs %-escapes")
	}
	query := u.Query()
	value := query.Get("pool_max_conns")
	if value == "" {
		return target, defaultMaxConns, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return "", 0, fmt.Errorf("pool_max_conns is %q, want a number from 1", value)
	}
	query.Del("pool_max_conns")
	u.RawQuery = query.Encode()
	return u.String(), n, nil
}

// parseReason returns the innermost cause of an error of pgx.ParseConfig. The outer ones repeat the URL.
func parseReason(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		err = inner
	}
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		return ""
	}
	return ": " + err.Error()
}

// hintPostgres says what to do about an error of the first connection.
func hintPostgres(err error) string {
	var (
		server *pgconn.PgError
		dns    *net.DNSError
		dial   *net.OpError
	)
	switch {
	case errors.As(err, &server):
		switch server.Code {
		case "28P01", "28000":
			return "see whether user and password are right and pg_hba.conf lets the user in"
		case "3D000":
			return "create the database or name another one"
		case "53300":
			return "the server has no connection left, lower pool_max_conns or raise max_connections"
		case "57P03":
			return "the server is starting or stopping, try again"
		}
		return "the server refused, see its log"
	case errors.As(err, &dns):
		return "see whether the name of the host is right"
	case errors.As(err, &dial), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "see whether the server runs and host and port are right"
	default:
		return "see whether the server runs and the URL is right"
	}
}
