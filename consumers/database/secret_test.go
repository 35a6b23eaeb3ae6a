package database_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/postgrestest"
)

// vault keeps the secret of a test.
type vault struct {
	mu    sync.Mutex
	text  string
	err   error
	reads int
}

// register makes a vault known, and returns it with its target.
func register(t *testing.T) (*vault, string) {
	t.Helper()
	v := &vault{}
	scheme := "vault" + strings.ToLower(strings.ReplaceAll(t.Name(), "/", ""))
	database.RegisterSecrets(scheme, func(_ context.Context, name string) (string, error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.reads++
		if name != "prod/lights" {
			return "", errors.New("no such secret")
		}
		return v.text, v.err
	})
	return v, scheme + ":prod/lights"
}

func (v *vault) set(text string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.text, v.err, v.reads = text, err, 0
}

func (v *vault) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.reads
}

// guarded is a server that asks user app for its password, which is first.
func guarded(t *testing.T) *postgrestest.Server {
	t.Helper()
	server := postgrestest.New(t)
	server.Start("password_encryption=scram-sha-256")
	server.Exec(
		`CREATE ROLE app LOGIN PASSWORD 'hidden-1'`, `GRANT ALL ON SCHEMA public TO app`,
		// The server's own user writes its file.
		`DO $$ BEGIN EXECUTE format('COPY (VALUES (''host all app all scram-sha-256''), (''host all all all trust'')) TO %L', current_setting('hba_file')); END $$`,
		`SELECT pg_reload_conf()`,
	)
	for { // until the server has heard of it
		wrong := strings.Replace(server.URL(), "fanout@", "app:wrong@", 1)
		db, err := database.Open(t.Context(), wrong)
		if err != nil {
			return server
		}
		db.Close()
	}
}

func secretOf(server *postgrestest.Server, password string) string {
	host, port, _ := net.SplitHostPort(server.Address())
	return fmt.Sprintf(`{"engine":"postgres","username":"app","password":%q,"host":%q,"port":%s,"dbname":"postgres"}`, password, host, port)
}

// rotate changes the password and cuts the connections that were opened with the old one.
func rotate(server *postgrestest.Server, password string) {
	server.Exec(`ALTER ROLE app PASSWORD '`+password+`'`, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'`)
}

func addRow(ctx context.Context, db *database.DB, name string) error {
	_, err := db.ExecContext(ctx, `INSERT INTO rows VALUES ($1)`, name)
	return err
}

func wantHidden(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), "hidden") {
		t.Errorf("the error shows the password: %v", err)
	}
}

func TestSecret_ARotationGoesUnnoticed(t *testing.T) {
	t.Setenv("PGSSLMODE", "disable")
	server := guarded(t)
	v, target := register(t)
	v.set(secretOf(server, "hidden-1"), nil)
	db, err := database.OpenService(t.Context(), target, setup(newLines()))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if db.String() != target || v.count() != 1 {
		t.Errorf("got %s after %d readings, want %s after one", db, v.count(), target)
	}
	v.set(secretOf(server, "hidden-2"), nil)
	server.Exec(`ALTER ROLE app PASSWORD 'hidden-2'`)
	var group, together sync.WaitGroup
	together.Add(16)
	for i := range 16 { // at the same time, so that all but one need a new connection
		group.Go(func() {
			arrive := sync.OnceFunc(together.Done)
			defer arrive()
			err := db.Write(t.Context(), func(ctx context.Context, tx database.Tx) error {
				arrive()
				together.Wait()
				_, err := tx.ExecContext(ctx, `INSERT INTO rows VALUES ($1)`, fmt.Sprint(i))
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := v.count(); n != 1 {
		t.Errorf("got %d readings, want one for all", n)
	}

	// In the midst of a rotation the server has the new password and the secret the old one.
	rotate(server, "hidden-3")
	var down *failure.UnavailableError
	if err := addRow(t.Context(), db, "waits"); !errors.As(err, &down) {
		t.Errorf("in the midst of a rotation: got %v, want unavailable", err)
	}
	wantHidden(t, err)
	v.set("", errors.New("throttled"))
	if err = addRow(t.Context(), db, "waits"); !errors.As(err, &down) || !strings.Contains(err.Error(), "throttled") {
		t.Errorf("a secret that can't be read: got %v, want unavailable", err)
	}
	v.set(`{"username":"app","password":hidden-3}`, nil)
	if err = addRow(t.Context(), db, "waits"); !errors.As(err, &down) {
		t.Errorf("a secret that is none: got %v, want unavailable", err)
	}
	wantHidden(t, err)
	v.set(secretOf(server, "hidden-3"), nil)
	if err := addRow(t.Context(), db, "waits"); err != nil {
		t.Errorf("after the rotation: got %v", err)
	}
}

// A service starts before its secret can be read, and while that is a rotation behind.
func TestSecret_OfAServiceThatStarts(t *testing.T) {
	t.Setenv("PGSSLMODE", "disable")
	server := guarded(t)
	v, target := register(t)
	for what, first := range map[string]func(){
		"unreadable": func() { v.set("", errors.New("denied")) },
		"old":        func() { v.set(secretOf(server, "hidden-0"), nil) },
	} {
		first()
		log := newLines()
		db, err := database.OpenService(t.Context(), target, setup(log))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if line := log.await("waiting for it"); strings.Contains(line, "hidden") {
			t.Errorf("%s: log: got %s", what, line)
		}
		v.set(secretOf(server, "hidden-1"), nil)
		log.await("database has come")
		if err := addRow(t.Context(), db, what); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		db.Close()
	}
}

// RDS keeps user and password only; the rest comes from the environment.
func TestSecret_TheRestComesFromTheEnvironment(t *testing.T) {
	server := guarded(t)
	v, target := register(t)
	v.set(`{"username":"app","password":"hidden-1"}`, nil)
	t.Setenv("PGHOST", "")
	if _, err := database.OpenService(t.Context(), target, setup(newLines())); err == nil || !strings.Contains(err.Error(), "neither the JSON nor PGHOST") {
		t.Errorf("no host: got %v", err)
	}
	host, port, _ := net.SplitHostPort(server.Address())
	for name, value := range map[string]string{"PGHOST": host, "PGPORT": port, "PGDATABASE": "postgres", "PGSSLMODE": "disable", "PGPASSWORD": "hidden-wrong"} {
		t.Setenv(name, value)
	}
	db, err := database.OpenService(t.Context(), target, setup(newLines()))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := addRow(t.Context(), db, "hall"); err != nil {
		t.Error(err)
	}
}

func TestSecret_BadOnes(t *testing.T) {
	t.Parallel()
	v, target := register(t)
	scheme, _, _ := strings.Cut(target, ":")
	for want, name := range map[string]string{
		"want the name or ARN":        scheme + `:{"password":"hidden"}`,
		"want the name or ARN of a":   scheme + `:`,
		"import consumers/database/a": `secretsmanager:hidden`,
	} {
		_, err := database.Open(t.Context(), name)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
		wantHidden(t, err)
	}
	for text, want := range map[string]string{
		`hidden`:                                       "no JSON object",
		`{"host":"db","username":"app"}`:               "no username or no password",
		`{"host":"db","password":"hidden"}`:            "no username or no password",
		`{"engine":"mysql","password":"hidden"}`:       "the engine in the JSON is not postgres",
		`{"host":"db","port":{},"username":"hidden"}`:  "the port in the JSON is no number",
		`{"host":"a\\'b","username":"a"} {"hidden":1}`: "no JSON object",
	} {
		v.set(text, nil)
		_, err := database.OpenService(t.Context(), target, setup(newLines()))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
		wantHidden(t, err)
	}
}
