package database

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SecretReader returns the present text of the secret of that name. Its error must not show the text.
type SecretReader func(ctx context.Context, name string) (text string, err error)

var (
	secretReadersMu sync.RWMutex
	secretReaders   = map[string]SecretReader{}
)

// RegisterSecrets makes read the reader of targets "SCHEME:NAME", for [Open] and [OpenService]. To import package awssecret registers
// "secretsmanager", for AWS Secrets Manager. A program does it before it opens a database; it is safe for concurrent use.
//
// The secret is the JSON that RDS keeps: username and password, and host, port and dbname, or what is not in it from the environment
// variables of libpq: PGHOST, PGPORT, PGDATABASE, PGSSLMODE and so on. It is read when the database is opened, and again when the server refuses the user
// or the password to a new connection, which is then tried once more: so a rotation goes unnoticed. Whatever else changes in it wants a restart.
// A secret that can't be read, and a password that is refused all the same, as in the midst of a rotation, mean that the database is down.
func RegisterSecrets(scheme string, read SecretReader) {
	secretReadersMu.Lock()
	defer secretReadersMu.Unlock()
	secretReaders[scheme] = read
}

// secretReader is the reader of targets with that scheme, or nil.
func secretReader(scheme string) SecretReader {
	secretReadersMu.RLock()
	defer secretReadersMu.RUnlock()
	return secretReaders[scheme]
}

// secretName is what the name of a secret may look like. Anything else may be the secret itself, and is not shown.
var secretName = regexp.MustCompile(`^[A-Za-z0-9/_+=.@!:-]+$`)

// secretPatience is how long one reading of a secret may take.
const secretPatience = 10 * time.Second

// login is what a connection is opened with.
type login struct {
	user, password string
	reading        int // the number of the reading that it comes from
}

// secret is where the login of a database comes from. It is safe for concurrent use.
type secret struct {
	name string
	read SecretReader
	turn chan struct{} // whoever reads holds its one place, and may touch what is below
	last login
}

func newSecret(name string, read SecretReader) *secret {
	return &secret{name: name, read: read, turn: make(chan struct{}, 1)}
}

// settings reads the secret, and returns it as settings for PostgreSQL.
func (s *secret) settings(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, secretPatience)
	defer cancel()
	text, err := s.read(ctx, s.name)
	if err != nil {
		return "", unusable(err)
	}
	return secretSettings(text, false)
}

// begin sets the login that the first connections are opened with.
func (s *secret) begin(config *pgx.ConnConfig) {
	s.turn <- struct{}{}
	s.last = login{config.User, config.Password, s.last.reading + 1}
	<-s.turn
}

// after returns a login that was read after that one; the first there is after the zero login.
func (s *secret) after(ctx context.Context, old login) (login, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return login{}, ctx.Err()
	}
	if s.last.reading > old.reading { // somebody else has read it meanwhile
		return s.last, nil
	}
	settings, err := s.settings(ctx)
	var config *pgx.ConnConfig
	if err == nil {
		config, _, err = parsePostgres(settings)
	}
	if err != nil {
		return login{}, err
	}
	s.last = login{config.User, config.Password, s.last.reading + 1}
	return s.last, nil
}

// refusedLogin says that the server has refused user or password although they came from the secret just now.
type refusedLogin struct{ error }

func (e refusedLogin) Unwrap() error { return e.error }

func loginRefused(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && (answer.Code == "28P01" || answer.Code == "28000")
}

// connector opens connections with the login of a secret.
type connector struct {
	driver.Connector // calls beforeConnect
	secret           *secret
}

type loginKey struct{}

func beforeConnect(ctx context.Context, config *pgx.ConnConfig) error {
	if l, ok := ctx.Value(loginKey{}).(login); ok {
		config.User, config.Password = l.user, l.password
	}
	return nil
}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	current, err := c.secret.after(ctx, login{})
	if err != nil {
		return nil, unusable(err)
	}
	conn, err := c.Connector.Connect(context.WithValue(ctx, loginKey{}, current))
	if !loginRefused(err) {
		return conn, err
	}
	if current, err = c.secret.after(ctx, current); err != nil {
		return nil, unusable(err)
	}
	conn, err = c.Connector.Connect(context.WithValue(ctx, loginKey{}, current))
	if loginRefused(err) {
		err = refusedLogin{err}
	}
	return conn, err
}

// unusable marks an error of a secret, unless who wanted it has gone: nothing is wrong with any event.
func unusable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("database: %w", marked(err, "its secret can't be used"))
}
