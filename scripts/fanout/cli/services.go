package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database"
	_ "github.com/device-fanout/fanout/consumers/database/awssecret" // targets secretsmanager:NAME
	"github.com/device-fanout/fanout/consumers/history"
	"github.com/device-fanout/fanout/consumers/inbox"
	"github.com/device-fanout/fanout/consumers/push"
	"github.com/device-fanout/fanout/consumers/push/pushdb"
	"github.com/device-fanout/fanout/consumers/state"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/internal/door"
)

// Service is an opened service, able to handle events.
type Service struct {
	Handle consumers.Handler // never nil
	// UnknownTypes says that Handle also takes events of types that this program has not registered, with an [events.Raw] as payload.
	// Without it they go to the service's dead-letter queue, with the code unknown_type.
	UnknownTypes bool
	Address      string                      // where it listens; empty if it does not
	Leave        func()                      // tells a load balancer that asks at Address to send nobody here any more; nil if none asks
	Past         push.Past                   // past events, for clients of push that reconnect; nil if it keeps none
	Check        func(context.Context) error // whether what Handle depends on works, see consumers.Config; nil if the service can't tell
	Close        func(context.Context) error // waits for what is being handled, at most until the context ends; nil if nothing is to be closed

	fansIn bool // it shares a feed with others
}

// Services are the services of an [App] by their names in the topology.
type Services map[string]Opener

// Opener opens a service. It returns one that has a Handle, or an error.
type Opener func(ctx context.Context, o Options) (*Service, error)

// Elsewhere is the opener of a service that another program runs: `up` leaves it out, `consume` refuses it, and every other command
// works on its queues all the same.
func Elsewhere(context.Context, Options) (*Service, error) { return nil, errElsewhere }

var errElsewhere = errors.New("another program runs this service")

// Options say where a service keeps its data and where it listens.
type Options struct {
	// Name is the service's name in the topology.
	Name string
	// Database names the service's database, as package database takes it: a path, a URL, settings or JSON. It may hold a password. It is empty
	// only on Lambda, where none was named.
	Database string
	// Logger takes what the service reports. It is never nil.
	Logger *slog.Logger
	// Migrate says that the service is opened by `fanout migrate`: only to bring its tables up to date, and to be closed at once. An opener that
	// does more than to open a database may leave that out then, and may return nil.
	Migrate bool

	pushAddr string
	fanIn    bool // of push: its database has the feed that several processes share
	exposed  bool
	past     push.Past
	history  string // the history's database, where push can look for the past; empty if there is none
}

// serviceOptions are the flags that say where services keep their data and where they listen.
type serviceOptions struct {
	data     string    // folder of the SQLite databases
	database string    // URL of a database; instead of data
	pushAddr string    // where push listens
	fanIn    bool      // push shares a feed with others
	exposed  bool      // what asks for no key may listen where other machines reach it
	past     push.Past // past events, for clients of push that reconnect
	// history says that the history's database is among the services' own, where push can look for the past.
	history bool
	// relaxed lets SQLite commit without waiting for the disk. With the local engine beside it nothing is gained by waiting:
	// a power cut takes the queues as well.
	relaxed bool
	logger  *slog.Logger
}

func (o serviceOptions) url(service string) string {
	if o.database != "" {
		return o.database
	}
	path := filepath.Join(o.data, service+".db")
	if o.relaxed {
		return "sqlite:" + path + "?synchronous=normal"
	}
	if !filepath.IsAbs(path) { // whatever is in it, it is taken for a path
		path = "." + string(filepath.Separator) + path
	}
	return path
}

// openService opens the service called name. What it returns has a Handle and a Close; an opener that returns less, or panics, is an
// error that names the service.
func (g *globals) openService(ctx context.Context, name string, o serviceOptions) (*Service, error) {
	open, ok := g.app.Services[name]
	if !ok {
		return nil, fmt.Errorf("this program has no handler for service %q; it has %s", name, strings.Join(slices.Sorted(maps.Keys(g.app.Services)), ", "))
	}
	opened := Options{Name: name, Logger: o.logger, pushAddr: o.pushAddr, fanIn: o.fanIn, exposed: o.exposed, past: o.past}
	if o.data != "" || o.database != "" {
		opened.Database = o.url(name)
	}
	if o.history {
		opened.history = o.url("history")
	}
	s, err := openSafely(ctx, open, opened)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return nil, fmt.Errorf("service %q: its opener returned no service, and no error; it must return one of both", name)
	}
	checked := *s // it stays as its opener has made it
	if checked.Close == nil {
		checked.Close = func(context.Context) error { return nil }
	}
	if checked.Handle == nil {
		return nil, errors.Join(fmt.Errorf("service %q: its opener returned a service with no Handle; set Service.Handle", name), checked.Close(ctx))
	}
	if checked.Check != nil {
		reportCheck(ctx, name, checked.Check, o.logger)
	}
	return &checked, nil
}

// reportCheck says what a service waits for that can't handle anything yet. A check that panics or does not return is one more thing to say: the
// consumer counts it as a failure.
func reportCheck(ctx context.Context, name string, check func(context.Context) error, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, consumers.CheckTimeout)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		err := errors.New("the service's check ended its goroutine")
		defer func() {
			if value := recover(); value != nil {
				err = fmt.Errorf("the service's check panicked: %v", value)
			}
			answer <- err
		}()
		err = check(ctx)
	}()
	var err error
	select {
	case err = <-answer:
	case <-ctx.Done():
		select {
		case err = <-answer:
		case <-time.After(checkPatience):
			err = fmt.Errorf("the service's check does not return within %v", consumers.CheckTimeout)
		}
	}
	if err != nil {
		logger.Warn("what the service depends on can't be used yet; its events wait for it", "service", name, "err", err)
	}
}

// checkPatience is how long a check may take to notice that its context has ended, so that its own error is heard.
const checkPatience = 100 * time.Millisecond

// openSafely calls an opener and makes a panic of it an error, with its stack.
func openSafely(ctx context.Context, open Opener, o Options) (s *Service, err error) {
	defer func() {
		if value := recover(); value != nil {
			s, err = nil, fmt.Errorf("service %q: its opener panicked: %v\n%s", o.Name, value, debug.Stack())
		}
	}()
	return open(ctx, o)
}

// DatabaseService is a service that keeps a database and nothing else. One that takes events of types that its program has not
// registered also has a method UnknownTypes() bool that says so, and one that can tell whether its database works a method
// Check(context.Context) error; see [Service].
type DatabaseService interface {
	Handle(ctx context.Context, event events.Event) error
	Close() error
}

// OnDatabase makes an opener of a service that keeps a database.
func OnDatabase[S DatabaseService](open func(ctx context.Context, target string) (S, error)) Opener {
	return func(ctx context.Context, o Options) (*Service, error) {
		s, err := open(ctx, o.Database)
		if err != nil {
			return nil, err
		}
		if value := reflect.ValueOf(s); !value.IsValid() || value.Kind() == reflect.Pointer && value.IsNil() {
			return nil, nil // openService says whose
		}
		past, _ := any(s).(push.Past)
		keeper, ok := any(s).(interface{ UnknownTypes() bool })
		opened := &Service{Handle: s.Handle, UnknownTypes: ok && keeper.UnknownTypes(), Past: past, Close: func(context.Context) error { return s.Close() }}
		if checker, ok := any(s).(interface{ Check(context.Context) error }); ok {
			opened.Check = checker.Check
		}
		return opened, nil
	}
}

// History opens the service of package history.
func History(ctx context.Context, o Options) (*Service, error) { return openHistory(ctx, o) }

var openHistory = OnDatabase(func(ctx context.Context, target string) (*history.Service, error) {
	return history.Open(ctx, target, history.Config{})
})

// State opens the service of package state. Once an hour it deletes the rows of its inbox that are older than inbox.DefaultRetention.
func State(ctx context.Context, o Options) (*Service, error) {
	s, err := state.Open(ctx, o.Database, state.Config{})
	if err != nil {
		return nil, err
	}
	if o.Migrate {
		return nil, s.Close()
	}
	stop := hourly(func(ctx context.Context) {
		if _, err := s.Expire(ctx, time.Now().Add(-inbox.DefaultRetention)); err != nil && ctx.Err() == nil {
			o.Logger.Warn("the inbox's old rows could not be deleted; trying again in an hour", "service", o.Name, "err", err)
		}
	})
	return &Service{Handle: s.Handle, UnknownTypes: s.UnknownTypes(), Check: s.Check, Close: func(context.Context) error {
		stop()
		return s.Close()
	}}, nil
}

// hourly calls work now and once an hour, until stop, which waits for it to end.
func hourly(work func(context.Context)) (stop func()) {
	return inBackground(context.Background(), func(ctx context.Context) {
		tick := time.Tick(time.Hour)
		for {
			work(ctx)
			select {
			case <-tick:
			case <-ctx.Done():
				return
			}
		}
	})
}

// pushTokenVariable is the environment variable with the token that clients of push must show. It is no flag, as those
// can be seen by other users of the machine.
const pushTokenVariable = "FANOUT_PUSH_TOKEN"

// Push opens the service of package push, with an HTTP server at --push-addr. With --fan-in its database has the feed that it shares with others.
func Push(ctx context.Context, o Options) (*Service, error) {
	if o.Migrate {
		return nil, migratePush(ctx, o)
	}
	token := os.Getenv(pushTokenVariable)
	if err := push.CheckToken(token); err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("%s: %w", pushTokenVariable, err)}
	}
	listener, err := listen(o.pushAddr, "--push-addr", o.exposed || token != "")
	if err != nil {
		return nil, err
	}
	closePast := func() error { return nil }
	if o.past == nil && o.history != "" {
		h, err := History(ctx, Options{Name: "history", Database: o.history, Logger: o.Logger})
		if err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		o.past, closePast = h.Past, func() error { return h.Close(ctx) }
	}
	cfgPush := push.Config{Token: token, Past: o.past, Logger: o.Logger}
	closeFeed := func() error { return nil }
	if o.fanIn {
		feed, err := pushdb.Open(ctx, o.Database, pushdb.Config{Logger: o.Logger})
		if err != nil {
			return nil, errors.Join(err, closePast(), listener.Close())
		}
		cfgPush.Feed, closeFeed = feed, feed.Close
	}
	s := push.New(cfgPush)
	stopFollowing := inBackground(context.Background(), s.Follow)
	var leaving atomic.Bool
	cfg := door.Config{
		Name: "push", Handler: unhealthy(&leaving, s.Handler()), Logger: o.Logger, Always: []string{"/healthz"},
		MaxHeaderBytes: 256 << 10, // a client may name many devices in its URL
	}
	if token == "" {
		if cfg.Guard = door.Loopback(listener); cfg.Guard != nil {
			cfg.Guard.Links = true
		}
	}
	server := door.New(cfg)
	go server.Serve(listener) // ends with server.Shutdown
	return &Service{
		Handle: s.Handle, UnknownTypes: s.UnknownTypes(), Check: s.Check,
		Address: listener.Addr().String(), fansIn: o.fanIn, Leave: func() { leaving.Store(true); server.Leave() },
		Close: func(ctx context.Context) error {
			err := errors.Join(s.Close(ctx), server.Shutdown(ctx))
			stopFollowing()
			return errors.Join(err, closePast(), closeFeed())
		},
	}, nil
}

// unhealthy is a handler whose /healthz says no once the service is leaving.
func unhealthy(leaving *atomic.Bool, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if leaving.Load() && r.URL.Path == "/healthz" {
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// migratePush makes the table that processes of push share, where their database can have it.
func migratePush(ctx context.Context, o Options) error {
	if kind, err := database.KindOf(o.Database); err != nil || kind != database.Postgres {
		return err
	}
	feed, err := pushdb.Open(ctx, o.Database, pushdb.Config{Logger: o.Logger})
	if err != nil {
		return err
	}
	return feed.Close()
}

// dataFolder makes sure that the folder is there; a new one is its owner's alone. Without a name it is a new temporary one.
func dataFolder(name string) (string, error) {
	if name == "" {
		dir, err := os.MkdirTemp("", "fanout-")
		if err != nil {
			return "", fmt.Errorf("data folder: %w", err)
		}
		return dir, nil
	}
	if err := os.MkdirAll(name, 0o700); err != nil {
		return "", &hinted{fmt.Errorf("data folder: %w", err), "--data names a folder where this user can write; it is made if it is not there"}
	}
	return name, nil
}
