package pushdb_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/internal/reused"
	"github.com/device-fanout/fanout/consumers/push"
	"github.com/device-fanout/fanout/consumers/push/pushdb"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

// task is one process of push.
type task struct {
	*push.Service
	url string
}

// startTask starts a task and waits until it takes clients.
func startTask(tb testing.TB, target string, cfg push.Config, feedConfig pushdb.Config) *task {
	tb.Helper()
	feed, err := pushdb.Open(tb.Context(), target, feedConfig)
	if err != nil {
		tb.Fatal(err)
	}
	cfg.Feed = feed
	cfg.Buffer = max(cfg.Buffer, 1000) // of a client that a test reads slowly
	s := push.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { s.Follow(ctx) })
	server := httptest.NewServer(s.Handler())
	tb.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			tb.Error(err)
		}
		server.Close()
		cancel()
		following.Wait()
		feed.Close()
	})
	t := &task{s, server.URL}
	for t.health(tb) != http.StatusOK {
	}
	return t
}

func (k *task) health(tb testing.TB) int {
	tb.Helper()
	answer, err := http.Get(k.url + "/healthz")
	if err != nil {
		tb.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

func (k *task) connect(tb testing.TB, query string) *websocket.Conn {
	tb.Helper()
	conn, _, err := websocket.Dial(tb.Context(), k.url+"/ws"+query, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.CloseNow() })
	return conn
}

func event(deviceID string, n int) events.Event {
	e := events.New(deviceID, device.PowerChanged{On: n%2 == 0})
	e.ID, e.Source = fmt.Sprintf("%s-%d", deviceID, n), "test"
	return e
}

// receive returns the ID of the next event.
func receive(tb testing.TB, conn *websocket.Conn) string {
	tb.Helper()
	_, message, err := conn.Read(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	var e struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(message, &e); err != nil {
		tb.Fatal(err)
	}
	return e.ID
}

// inOrder checks that the events of each device come from 0 on, and counts them.
type inOrder map[string]int

func (seen inOrder) add(tb testing.TB, id string) {
	tb.Helper()
	deviceID, n, _ := strings.Cut(id, "-")
	if want := fmt.Sprint(seen[deviceID]); n != want {
		tb.Errorf("device %s: got event %s, want %s", deviceID, n, want)
	}
	seen[deviceID]++
}

// handleAll handles n events of each device, one after another, by the tasks in turns.
func handleAll(t *testing.T, tasks []*task, devices, n int) (wait func()) {
	var group sync.WaitGroup
	for d := range devices {
		group.Go(func() {
			for i := range n {
				if err := tasks[(d+i)%len(tasks)].Handle(t.Context(), event(fmt.Sprintf("d%d", d), i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	return group.Wait
}

func TestFeed_ClientsOfAllTasksGetAll(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	tasks := []*task{startTask(t, target, push.Config{}, pushdb.Config{}), startTask(t, target, push.Config{}, pushdb.Config{})}
	clients := []*websocket.Conn{tasks[0].connect(t, ""), tasks[1].connect(t, ""), tasks[1].connect(t, "?device=d1")}
	wait := handleAll(t, tasks, 8, 25)
	defer wait()
	for i, c := range clients {
		seen, want := inOrder{}, 200
		if i == 2 {
			want = 25
		}
		for range want {
			seen.add(t, receive(t, c))
		}
	}
}

// A client changes tasks all the time, and goes on after its last event.
func TestFeed_AClientMoves(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	small := push.Config{Recent: 20} // what is longer ago comes from the table
	tasks := []*task{startTask(t, target, small, pushdb.Config{}), startTask(t, target, small, pushdb.Config{})}
	c := tasks[0].connect(t, "")
	wait := handleAll(t, tasks, 4, 100)
	defer wait()
	seen, last := inOrder{}, ""
	for n := range 400 {
		if n > 0 && n%7 == 0 {
			_ = c.CloseNow()
			c = tasks[n/7%2].connect(t, "?after="+last)
		}
		last = receive(t, c)
		seen.add(t, last)
	}
}

func TestFeed_ASecondDeliveryIsNotShownAgain(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	a, b := startTask(t, target, push.Config{}, pushdb.Config{}), startTask(t, target, push.Config{}, pushdb.Config{})
	c := b.connect(t, "")
	for _, step := range []struct {
		by *task
		n  int
	}{{a, 0}, {b, 0}, {a, 0}, {a, 1}} {
		if err := step.by.Handle(t.Context(), event("d0", step.n)); err != nil {
			t.Fatal(err)
		}
	}
	if got := receive(t, c) + " " + receive(t, c); got != "d0-0 d0-1" {
		t.Errorf("got %s", got)
	}
	// One that says something else is not shown either, and told.
	watch := reused.New(slog.New(slog.DiscardHandler), true)
	ctx := watch.In(t.Context())
	other := event("d0", 0)
	other.Data = device.MotionChanged{Detected: true}
	var known *failure.KnownError
	if err := b.Handle(ctx, other); !errors.As(err, &known) || known.Code != failure.CodeIDReused {
		t.Errorf("another event of that identity: got %v, want %s", err, failure.CodeIDReused)
	}
	if err := b.Handle(ctx, event("d0", 0)); err != nil || watch.Count() != 1 {
		t.Errorf("the same once more: got %v, and %d in all", err, watch.Count())
	}
}

// What nobody was told of comes all the same, and so does what happens while the connection that listens is cut.
func TestFeed_NothingIsMissedWithoutNotifications(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	query.Set("application_name", "cut-"+query.Get("search_path"))
	u.RawQuery = query.Encode()
	k := startTask(t, u.String(), push.Config{}, pushdb.Config{})
	c := k.connect(t, "")
	db, err := sql.Open("pgx", target)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	message, err := events.Encode(event("d0", 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `INSERT INTO push_events (event_id, device_id, source, event) VALUES ('d0-0', 'd0', 'test', $1)`, string(message)); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, c); got != "d0-0" {
		t.Errorf("without a notification: got %s", got)
	}
	for n := 1; n < 4; n++ {
		for cut := int64(0); cut == 0; { // until it listens again
			result, err := db.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND query LIKE 'LISTEN%'`, query.Get("application_name"))
			if err != nil {
				t.Fatal(err)
			}
			cut, _ = result.RowsAffected()
		}
		if err := k.Handle(t.Context(), event("d0", n)); err != nil {
			t.Fatal(err)
		}
		if got, want := receive(t, c), fmt.Sprintf("d0-%d", n); got != want {
			t.Errorf("after the connection was cut: got %s, want %s", got, want)
		}
	}
}

func TestFeed_IsShortened(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	k := startTask(t, target, push.Config{Recent: 10}, pushdb.Config{Keep: 50})
	c := k.connect(t, "")
	for n := range 200 {
		if err := k.Handle(t.Context(), event("d0", n)); err != nil {
			t.Fatal(err)
		}
		if got, want := receive(t, c), fmt.Sprintf("d0-%d", n); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	feed, err := pushdb.Open(t.Context(), target, pushdb.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	kept, err := feed.Read(t.Context(), 0, 1000)
	if err != nil || len(kept) < 50 || len(kept) > 51 || kept[len(kept)-1].Event.ID != "d0-199" {
		t.Errorf("got %d events, %v, want the last 50", len(kept), err)
	}
	if first := receive(t, k.connect(t, "?after=d0-160")); first != "d0-161" {
		t.Errorf("resumed: got %s, want d0-161", first)
	}
	_, _, err = k.connect(t, "?after=d0-10").Read(t.Context())
	if websocket.CloseStatus(err) != push.StatusCannotResume {
		t.Errorf("after an event that is gone: got %v", err)
	}
}

// filled opens a feed with n events of a device, d0-1 and so on, and its database beside it.
func filled(t *testing.T, n int, cfg pushdb.Config) (*pushdb.Feed, *sql.DB) {
	t.Helper()
	target := databasetest.Postgres(t)
	feed, err := pushdb.Open(t.Context(), target, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { feed.Close() })
	db, err := sql.Open("pgx", target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	message, err := events.Encode(event("d0", 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `INSERT INTO push_events (event_id, device_id, source, event)
		SELECT 'd0-' || n, 'd0', 'test', replace($1, 'd0-0', 'd0-' || n) FROM generate_series(1, $2::int) n`, string(message), n); err != nil {
		t.Fatal(err)
	}
	return feed, db
}

// A client that reads the past slowly is told when the feed is shortened beyond where it is: it gets no gap.
func TestFeed_IsShortenedUnderAReader(t *testing.T) {
	t.Parallel()
	feed, db := filled(t, 2500, pushdb.Config{})
	n, failed := 1, error(nil)
	for event, err := range feed.Since(t.Context(), events.Identity{ID: "d0-1"}) {
		if failed = err; err != nil {
			continue
		}
		n++
		if want := fmt.Sprintf("d0-%d", n); event.ID != want {
			t.Fatalf("got %s, want %s", event.ID, want)
		}
		if n == 3 {
			if _, err := db.ExecContext(t.Context(), `DELETE FROM push_events WHERE position < 2000`); err != nil {
				t.Fatal(err)
			}
		}
	}
	var down *failure.UnavailableError
	if !errors.As(failed, &down) {
		t.Errorf("after %d events: got %v, want unavailable: try again", n, failed)
	}
}

// However short the life of each process, the feed does not grow for ever.
func TestFeed_IsShortenedByTheFirstEventOfAProcess(t *testing.T) {
	t.Parallel()
	feed, _ := filled(t, 1200, pushdb.Config{Keep: 1000})
	if err := feed.Add(t.Context(), event("d1", 0), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if kept, err := feed.Read(t.Context(), 0, 2000); err != nil || len(kept) != 1000 {
		t.Errorf("got %d events, %v, want 1000", len(kept), err)
	}
}

// An event takes its position after those of transactions that were before it: a reader that has seen it never misses an earlier one.
func TestFeed_PositionsBecomeVisibleInOrder(t *testing.T) {
	t.Parallel()
	feed, db := filled(t, 1, pushdb.Config{})
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()                                                                                //nolint:errcheck // after the commit there is nothing to take back
	if _, err := tx.ExecContext(t.Context(), `SELECT pg_advisory_xact_lock(7463215908)`); err != nil { // as another process does
		t.Fatal(err)
	}
	added := make(chan error, 1)
	go func() { added <- feed.Add(t.Context(), event("d1", 0), []byte("{}")) }()
	for waits := false; !waits; {
		err := db.QueryRowContext(t.Context(), `SELECT count(*) > 0 FROM pg_locks JOIN pg_database d ON d.oid = database
			WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted`).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
		if len(added) > 0 {
			t.Fatal("an event was added while another process had its turn")
		}
	}
	if _, err := tx.ExecContext(t.Context(), `INSERT INTO push_events (event_id, device_id, source, event) VALUES ('earlier', 'd2', 'test', '{}')`); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tx.Commit(), <-added); err != nil {
		t.Fatal(err)
	}
	var last string
	if err := db.QueryRowContext(t.Context(), `SELECT event_id FROM push_events ORDER BY position DESC LIMIT 1`).Scan(&last); err != nil || last != "d1-0" {
		t.Errorf("last: got %s, %v, want d1-0", last, err)
	}
}

// An event that is delivered again and again takes no room from others.
func TestFeed_IsNotShortenedByRepeats(t *testing.T) {
	t.Parallel()
	feed, _ := filled(t, 10, pushdb.Config{Keep: 10})
	for range 20 {
		if err := feed.Add(t.Context(), event("d0", 10), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if err := feed.Add(t.Context(), event("d1", 0), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if kept, err := feed.Read(t.Context(), 0, 100); err != nil || len(kept) != 10 {
		t.Errorf("got %d events, %v, want 10", len(kept), err)
	}
}

func TestOpen_WithoutADatabaseOrAnother(t *testing.T) {
	t.Parallel()
	if _, err := pushdb.Open(t.Context(), databasetest.SQLite(t), pushdb.Config{}); err == nil || !strings.Contains(err.Error(), "PostgreSQL") {
		t.Errorf("SQLite: got %v", err)
	}
	feed, err := pushdb.Open(t.Context(), "postgres://x@127.0.0.1:1/x?sslmode=disable", pushdb.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	s := push.New(push.Config{Feed: feed})
	defer s.Close(t.Context())
	var down *failure.UnavailableError
	if err := s.Handle(t.Context(), event("d0", 0)); !errors.As(err, &down) {
		t.Errorf("Handle: got %v, want unavailable", err)
	}
	if err := s.Check(t.Context()); err == nil {
		t.Error("Check: got no error")
	}
}

// BenchmarkHandle is 32 devices at once, with one client.
func BenchmarkHandle(b *testing.B) {
	for _, fanIn := range []bool{false, true} {
		b.Run(fmt.Sprintf("fan-in=%v", fanIn), func(b *testing.B) {
			var k *task
			if fanIn {
				k = startTask(b, databasetest.Postgres(b), push.Config{Buffer: 1 << 20}, pushdb.Config{})
			} else {
				s := push.New(push.Config{Buffer: 1 << 20})
				server := httptest.NewServer(s.Handler())
				defer server.Close()
				defer s.Close(context.Background()) //nolint:errcheck // the end of a benchmark
				k = &task{s, server.URL}
			}
			c := k.connect(b, "")
			c.SetReadLimit(-1)
			var reading sync.WaitGroup
			const lanes = 32
			n := b.N / lanes
			reading.Go(func() {
				for range n * lanes {
					if _, _, err := c.Read(b.Context()); err != nil {
						return
					}
				}
			})
			b.ResetTimer()
			var group sync.WaitGroup
			for lane := range lanes {
				group.Go(func() {
					for i := range n {
						if err := k.Handle(b.Context(), event(fmt.Sprintf("d%d", lane), i)); err != nil {
							b.Error(err)
						}
					}
				})
			}
			group.Wait()
			reading.Wait() // all have come
			b.ReportMetric(float64(n*lanes)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
