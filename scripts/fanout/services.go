package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/history"
	"github.com/device-fanout/fanout/consumers/inbox"
	"github.com/device-fanout/fanout/consumers/push"
	"github.com/device-fanout/fanout/consumers/state"
	"github.com/device-fanout/fanout/events"
)

// service is one of the ready services, opened and able to handle events.
type service struct {
	handle  consumers.Handler
	address string    // where it listens; empty if it does not
	past    push.Past // what happened, for clients of push that come back; nil if it keeps nothing
	close   func(context.Context) error
}

// serviceOptions say where services keep and offer what they have.
type serviceOptions struct {
	data     string    // folder of the SQLite databases
	database string    // URL of a database; instead of data
	pushAddr string    // where push listens
	past     push.Past // what happened, for clients of push that come back
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
	return path
}

// opener opens a ready service.
type opener func(ctx context.Context, o serviceOptions) (*service, error)

// ready are the services that this program can run. "fanout new service" adds to them.
var ready = map[string]opener{
	"history": openHistory,
	"push":    openPush,
	"state":   openState,
}

// openService opens a ready service by its name.
func openService(ctx context.Context, name string, o serviceOptions) (*service, error) {
	open, ok := ready[name]
	if !ok {
		names := slices.Sorted(maps.Keys(ready))
		return nil, fmt.Errorf("no handler for service %q in this program; there are %s", name, strings.Join(names, ", "))
	}
	return open(ctx, o)
}

// databaseService is a service that keeps a database and nothing else.
type databaseService interface {
	Handle(ctx context.Context, event events.Event) error
	Close() error
}

// onDatabase makes an opener of a service's own.
func onDatabase[S databaseService](name string, open func(ctx context.Context, target string) (S, error)) opener {
	return func(ctx context.Context, o serviceOptions) (*service, error) {
		s, err := open(ctx, o.url(name))
		if err != nil {
			return nil, err
		}
		past, _ := any(s).(push.Past)
		return &service{handle: s.Handle, past: past, close: func(context.Context) error { return s.Close() }}, nil
	}
}

var openHistory = onDatabase("history", func(ctx context.Context, target string) (*history.Service, error) {
	return history.Open(ctx, target, history.Config{})
})

func openState(ctx context.Context, o serviceOptions) (*service, error) {
	s, err := state.Open(ctx, o.url("state"), state.Config{})
	if err != nil {
		return nil, err
	}
	stop := hourly(func(ctx context.Context) {
		if _, err := s.Expire(ctx, time.Now().Add(-inbox.DefaultRetention)); err != nil && ctx.Err() == nil {
			o.logger.Warn("the inbox's old rows could not be deleted; trying again in an hour", "service", "state", "err", err)
		}
	})
	return &service{handle: s.Handle, close: func(context.Context) error {
		stop()
		return s.Close()
	}}, nil
}

// hourly calls work now and once an hour, until stop, which waits for it to end.
func hourly(work func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(time.Hour)
		defer ticker.Stop()
		for {
			work(ctx)
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// pushTokenVariable is the environment variable with the token that clients of push must show. It is no flag, as those
// can be seen by other users of the machine.
const pushTokenVariable = "FANOUT_PUSH_TOKEN"

func openPush(ctx context.Context, o serviceOptions) (*service, error) {
	token := os.Getenv(pushTokenVariable)
	if err := push.CheckToken(token); err != nil {
		return nil, &exitError{exitUsage, fmt.Errorf("%s: %w", pushTokenVariable, err)}
	}
	listener, err := listen(o.pushAddr, "--push-addr")
	if err != nil {
		return nil, err
	}
	closePast := func() error { return nil }
	if o.past == nil && o.history {
		h, err := openHistory(ctx, o)
		if err != nil {
			return nil, errors.Join(err, listener.Close())
		}
		o.past, closePast = h.past, func() error { return h.close(ctx) }
	}
	s := push.New(push.Config{Token: token, Past: o.past, Logger: o.logger})
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener) // ends with server.Shutdown
	return &service{
		handle:  s.Handle,
		address: listener.Addr().String(),
		close: func(ctx context.Context) error {
			return errors.Join(s.Close(ctx), server.Shutdown(ctx), closePast())
		},
	}, nil
}

// listen opens a TCP port; flag is the flag that chooses another.
func listen(addr, flag string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, portTaken(err, flag)
	}
	return l, nil
}

// portTaken adds the most likely cause of a port that can't be listened on.
func portTaken(err error, flag string) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return &hinted{fmt.Errorf("%s: %w", flag, err), fmt.Sprintf("%s wants HOST:PORT, such as 127.0.0.1:0 for any free port", flag)}
	}
	return &hinted{err, fmt.Sprintf("something else may use the port; choose another with %s, such as %s 127.0.0.1:0", flag, flag)}
}

// dataFolder makes sure that the folder is there. Without a name it is a new temporary one.
func dataFolder(name string) (string, error) {
	if name == "" {
		dir, err := os.MkdirTemp("", "fanout-")
		if err != nil {
			return "", fmt.Errorf("data folder: %w", err)
		}
		return dir, nil
	}
	if err := os.MkdirAll(name, 0o755); err != nil {
		return "", &hinted{fmt.Errorf("data folder: %w", err), "--data names a folder where this user can write; it is made if it is not there"}
	}
	return name, nil
}
