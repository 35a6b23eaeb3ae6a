package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/history"
	"github.com/device-fanout/fanout/consumers/inbox"
	"github.com/device-fanout/fanout/consumers/push"
	"github.com/device-fanout/fanout/consumers/state"
)

// service is one of the ready services, opened and able to handle events.
type service struct {
	handle  consumers.Handler
	address string // where it listens; empty if it does not
	close   func(context.Context) error
}

// serviceOptions say where services keep and offer what they have.
type serviceOptions struct {
	data     string // folder of the SQLite databases
	database string // URL of a database; instead of data
	pushAddr string // where push listens
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

// openService opens a ready service by its name.
func openService(ctx context.Context, name string, o serviceOptions) (*service, error) {
	switch name {
	case "history":
		s, err := history.Open(ctx, o.url(name), history.Config{})
		if err != nil {
			return nil, err
		}
		return &service{handle: s.Handle, close: func(context.Context) error { return s.Close() }}, nil
	case "state":
		s, err := state.Open(ctx, o.url(name), state.Config{})
		if err != nil {
			return nil, err
		}
		stop := hourly(func(ctx context.Context) {
			if _, err := s.Expire(ctx, time.Now().Add(-inbox.DefaultRetention)); err != nil && ctx.Err() == nil {
				o.logger.Warn("the inbox's old rows could not be deleted; trying again in an hour", "service", name, "err", err)
			}
		})
		return &service{handle: s.Handle, close: func(context.Context) error {
			stop()
			return s.Close()
		}}, nil
	case "push":
		return openPush(o.pushAddr)
	}
	return nil, fmt.Errorf("no handler for service %q in this program; there are history, state and push", name)
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

func openPush(addr string) (*service, error) {
	listener, err := listen(addr, "--push-addr")
	if err != nil {
		return nil, err
	}
	s := push.New(push.Config{})
	server := &http.Server{Handler: s.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener) // ends with server.Shutdown
	return &service{
		handle:  s.Handle,
		address: listener.Addr().String(),
		close: func(ctx context.Context) error {
			err := s.Close(ctx)
			if down := server.Shutdown(ctx); err == nil {
				err = down
			}
			return err
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
