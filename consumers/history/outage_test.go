package history_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/history"
	"github.com/device-fanout/fanout/consumers/internal/postgrestest"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
	"github.com/device-fanout/fanout/infra/declaration"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/producer"
)

const outageDevices = 5

// story is a history service on the local engine, whose database has an outage while events come in.
type story struct {
	t         *testing.T
	fanout    *provision.Environment
	service   *history.Service
	producer  *producer.Producer
	published int           // of each device
	handled   atomic.Int64  // events
	failed    atomic.Int64  // attempts, and checks
	progress  chan struct{} // an attempt or a check has ended
}

// during runs the service, has the outage begin and, once that many attempts and checks have failed, end while events come in, and then wants every
// event to be there, in order, with none in the dead-letter queue and no restart in between. Without a begin the outage is there already.
func during(t *testing.T, target string, failures int64, begin, end func()) {
	t.Helper()
	s := &story{t: t, fanout: provision.Start(t, declaration.Topology(), "dev", local.Options{}), progress: make(chan struct{}, 1)}
	logger := slog.New(slog.NewTextHandler(t.Output(), nil))
	var err error
	if s.service, err = history.Open(t.Context(), target, history.Config{Logger: logger}); err != nil {
		t.Fatal(err)
	}
	defer s.service.Close()
	queues := s.fanout.Queues["history"]
	queue := consumers.Queue{Service: "history", URL: queues.URL, DLQURL: queues.DLQURL}
	consumer, err := consumers.New(s.fanout.SQS, queue, s.handle, consumers.Config{
		WaitTime: time.Second, Check: s.check, UnknownTypes: true, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.producer, err = producer.New(s.fanout.SNS, s.fanout.TopicARN, producer.Config{Source: "gateway/test"}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx) }()

	if begin != nil {
		s.publish(3)
		s.await()
		begin()
	}
	for s.failed.Load() < failures { // at each attempt and check that ends
		s.publish(1)
		<-s.progress
	}
	if err := s.service.Check(t.Context()); err == nil {
		t.Error("Check: got no error during the outage")
	} else {
		t.Log("check:", err)
	}
	end()
	s.publish(3)
	s.await()
	if err := s.service.Check(t.Context()); err != nil {
		t.Errorf("Check after the outage: %v", err)
	}

	stop()
	if err := errors.Join(<-ended, s.producer.Close(context.Background())); err != nil {
		t.Error(err)
	}
	s.compare(deadletter.ReadDepth(t.Context(), s.fanout.SQS, queues.DLQURL))
}

// handle wants whatever the database fails with to be an outage.
func (s *story) handle(ctx context.Context, e events.Event) error {
	err := s.service.Handle(ctx, e)
	var unavailable *consumers.UnavailableError
	switch {
	case err == nil:
		s.handled.Add(1)
	case errors.As(err, &unavailable):
		s.failed.Add(1)
	default:
		s.t.Errorf("event %s of %s: got %v, want that the database is unavailable", e.ID, e.DeviceID, err)
	}
	s.ended()
	return err
}

// check is the check of the consumer, which attempts nothing while it fails.
func (s *story) check(ctx context.Context) error {
	err := s.service.Check(ctx)
	if err != nil {
		s.failed.Add(1)
	}
	s.ended()
	return err
}

func (s *story) ended() {
	select {
	case s.progress <- struct{}{}:
	default:
	}
}

// publish publishes rounds of events, one of each device.
func (s *story) publish(rounds int) {
	s.t.Helper()
	for range rounds {
		for n := range outageDevices {
			data := device.TemperatureMeasured{Celsius: float64(s.published) / 10}
			if err := s.producer.Publish(s.t.Context(), events.New(fmt.Sprint("device-", n), data)); err != nil {
				s.t.Fatal(err)
			}
		}
		s.published++
	}
}

// await waits until everything is handled.
func (s *story) await() {
	for s.handled.Load() < int64(s.published*outageDevices) {
		<-s.progress
	}
}

func (s *story) compare(deadLetters deadletter.Depth, err error) {
	s.t.Helper()
	if err != nil || deadLetters.Total() > 0 {
		s.t.Errorf("dead letters: got %+v, %v, want none", deadLetters, err)
	}
	next := make(map[string]int)
	for _, row := range rows(s.t, s.service) {
		var data device.TemperatureMeasured
		if err := json.Unmarshal(row.Data, &data); err != nil {
			s.t.Fatal(err)
		}
		if want := float64(next[row.DeviceID]) / 10; data.Celsius != want {
			s.t.Errorf("device %s: got event %v, want %v: in order, none missing, none twice", row.DeviceID, data.Celsius, want)
		}
		next[row.DeviceID]++
	}
	for id, n := range next {
		if n != s.published {
			s.t.Errorf("device %s: got %d events, want %d", id, n, s.published)
		}
	}
	if len(next) != outageDevices {
		s.t.Errorf("devices: got %d, want %d", len(next), outageDevices)
	}
}

func TestOutage_PostgresKilledAndStarted(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	server.Start()
	during(t, server.URL(), 2, server.Kill, func() { server.Start() })
}

func TestOutage_PostgresReadOnly(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	server.Start()
	during(t, server.URL(), 2, func() { server.SetReadOnly(true) }, func() { server.SetReadOnly(false) })
}

// The old primary stays there, but can only be read, and so do the connections to it.
func TestOutage_PostgresFailover(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string]string{"": "", "target_session_attrs": "&target_session_attrs=read-write"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old := postgrestest.New(t)
			old.Start()
			proxy := postgrestest.NewProxy(t, old.Address())
			during(t, postgrestest.URL(proxy.Address())+settings, 2, func() { old.SetReadOnly(true) }, func() {
				next := old.Copy()
				next.Start("default_transaction_read_only=off")
				proxy.Switch(next.Address())
			})
		})
	}
}

func TestOutage_StartsBeforePostgres(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	during(t, server.URL(), 2, nil, func() { server.Start() })
}

func TestOutage_StartsWhilePostgresIsReadOnly(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	server.Start()
	server.SetReadOnly(true)
	during(t, server.URL(), 2, nil, func() { server.SetReadOnly(false) })
}

// lockTarget is the environment variable that makes the test binary a process that locks a SQLite database.
const lockTarget = "FANOUT_TEST_LOCK_DATABASE"

// lockUntilInputEnds locks a database, says so, and keeps it locked until its standard input ends. It returns at once in a normal run of
// the tests.
func lockUntilInputEnds() {
	path := os.Getenv(lockTarget)
	if path == "" {
		return
	}
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(60000)")
	fail(err)
	conn, err := db.Conn(context.Background())
	fail(err)
	_, err = conn.ExecContext(context.Background(), "BEGIN EXCLUSIVE")
	fail(err)
	fmt.Println("locked")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// Attempts of five seconds fail, at first those of all devices and then one by one, until another process ends, which has locked the database.
func TestOutage_SQLiteLocked(t *testing.T) {
	t.Parallel()
	for _, locked := range []string{"while it runs", "before it starts"} {
		t.Run(locked, func(t *testing.T) {
			t.Parallel()
			target := databasetest.SQLite(t)
			path := strings.TrimPrefix(target, "sqlite:")
			child := exec.CommandContext(t.Context(), os.Args[0])
			child.Env = append(os.Environ(), lockTarget+"="+path)
			input, err := child.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			output, err := child.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			begin := func() {
				if err := child.Start(); err != nil {
					t.Fatal(err)
				}
				if line, err := bufio.NewReader(output).ReadString('\n'); line != "locked\n" {
					t.Fatalf("child: got %q, %v", line, err)
				}
			}
			end := func() {
				if err := errors.Join(input.Close(), child.Wait()); err != nil {
					t.Fatal(err)
				}
			}
			if locked == "before it starts" {
				begin()
				begin = nil
			}
			during(t, target, 6, begin, end)
		})
	}
}
