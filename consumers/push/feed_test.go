package push_test

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/push"
	"github.com/device-fanout/fanout/events"
)

// list is a feed in memory, which nobody is notified of. Its positions are from 1.
type list struct {
	mu      sync.Mutex
	entries []push.Entry
	gone    int           // entries it has been shortened by
	fault   error         // of every use but Since
	gate    chan struct{} // Read waits here; nil does not hold up

	sinceFault error // of Since; nil means that it knows no event
}

func (l *list) Add(_ context.Context, event events.Event, message []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault == nil {
		l.entries = append(l.entries, push.Entry{Position: int64(len(l.entries) + 1), Event: event, Message: message})
	}
	return l.fault
}

func (l *list) Begin(_ context.Context, n int) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(0, int64(len(l.entries)-n)), l.fault
}

func (l *list) Read(_ context.Context, position int64, limit int) ([]push.Entry, error) {
	l.mu.Lock()
	gate := l.gate
	l.mu.Unlock()
	if gate != nil {
		<-gate
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	from := min(max(int(position)-1, l.gone), len(l.entries))
	return l.entries[from:min(from+limit, len(l.entries))], l.fault
}

func (l *list) Listen(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return ctx.Err()
}

func (l *list) Check(context.Context) error { return l.fault }

func (l *list) Since(context.Context, events.Identity) iter.Seq2[events.Event, error] {
	return func(yield func(events.Event, error) bool) {
		yield(events.Event{}, cmp.Or(l.sinceFault, errors.New("no such event")))
	}
}

// change changes the list while nobody uses it.
func (l *list) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// follow starts a service on a feed.
func follow(t *testing.T, cfg push.Config) *bench {
	t.Helper()
	b := start(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { b.Follow(ctx) })
	t.Cleanup(func() {
		cancel()
		following.Wait()
	})
	synctest.Wait()
	return b
}

func (b *bench) health() int {
	b.t.Helper()
	answer, err := b.http.Get("http://push/healthz")
	if err != nil {
		b.t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// The other service has passed on an event which this one has not read yet. A client that has it comes here.
func TestFeed_AClientThatIsAhead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		feed := &list{}
		b := follow(t, push.Config{Feed: feed})
		b.handle(event("hall", 0), event("hall", 1)) // in the feed; it is read again only in two seconds
		begin := time.Now()
		c := b.connect("?after=hall-0")
		if got := c.all(1); got != "hall-1" {
			t.Errorf("got %s, want hall-1", got)
		}
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("got it after %v, want at once", waited)
		}
		// Of a feed that can't be read nobody knows what comes next.
		feed.change(func() { feed.fault = errors.New("down") })
		late := b.connect("?after=hall-7")
		if _, _, err := late.Read(t.Context()); websocket.CloseStatus(err) != push.StatusTryAgain {
			t.Errorf("while the feed is down: got %v, want %v", err, push.StatusTryAgain)
		}
	})
}

// The feed is down for a while: clients wait, and events too.
func TestFeed_IsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		feed := &list{fault: errors.New("down")}
		b := follow(t, push.Config{Feed: feed})
		if got := b.health(); got != http.StatusServiceUnavailable {
			t.Errorf("before it was read: got %d", got)
		}
		if _, answer, err := websocket.Dial(t.Context(), "ws://push/ws", &websocket.DialOptions{HTTPClient: b.http}); err == nil || answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a client before that: got %v, want that it is refused", err)
		}
		feed.change(func() { feed.fault = nil })
		time.Sleep(3 * time.Second)
		c := b.connect("")
		feed.change(func() { feed.fault = errors.New("down") })
		if err := b.Handle(t.Context(), event("hall", 0)); !errors.Is(err, feed.fault) {
			t.Errorf("Handle: got %v, want %v", err, feed.fault)
		}
		if err := b.Check(t.Context()); !errors.Is(err, feed.fault) {
			t.Errorf("Check: got %v, want %v", err, feed.fault)
		}
		time.Sleep(20 * time.Second) // shorter than until a ping, which nobody would answer
		if got := b.health(); got != http.StatusOK {
			t.Errorf("while clients wait: got %d", got)
		}
		feed.change(func() { feed.fault = nil })
		b.handle(event("hall", 1))
		if got := c.all(1); got != "hall-1" {
			t.Errorf("got %s, want hall-1", got)
		}
	})
}

// The service was away from the feed for so long that it has missed events: nobody is left out in silence.
func TestFeed_WasShortenedBeyondWhatWasRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		feed := &list{}
		b := follow(t, push.Config{Feed: feed})
		c := b.connect("")
		b.handle(event("hall", 0))
		if got := c.all(1); got != "hall-0" {
			t.Errorf("got %s, want hall-0", got)
		}
		feed.change(func() { feed.gate = make(chan struct{}) })
		b.handle(event("hall", 1), event("hall", 2), event("hall", 3))
		feed.change(func() { feed.gone = 2 })
		close(feed.gate)
		if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != push.StatusTryAgain {
			t.Errorf("got %v, want %v", err, push.StatusTryAgain)
		}
		time.Sleep(3 * time.Second)
		if got := b.connect("?after=hall-2").all(1); got != "hall-3" {
			t.Errorf("afterwards: got %s, want hall-3", got)
		}
	})
}

// What there was before the service started is no news, and can be resumed from.
func TestFeed_HasEventsAtTheStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		feed := &list{}
		first := follow(t, push.Config{Feed: feed})
		for n := range 6 {
			first.handle(event("hall", n))
		}
		b := follow(t, push.Config{Feed: feed, Recent: 3})
		live := b.connect("")
		for after, want := range map[string]string{"hall-2": "hall-3", "hall-4": "hall-5"} {
			if got := b.connect("?after=" + after).all(1); got != want {
				t.Errorf("after %s: got %s, want %s", after, got, want)
			}
		}
		b.handle(event("hall", 6))
		if got := live.all(1); got != "hall-6" {
			t.Errorf("live: got %s, want hall-6", got)
		}
	})
}

// A feed that is down while a client resumes is no reason for it to forget where it was, whatever an older past knows.
func TestFeed_IsDownWhileAClientResumes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, older := range []push.Past{nil, &list{}} {
			b := follow(t, push.Config{Feed: &list{sinceFault: consumers.Unavailable(errors.New("down"))}, Past: older})
			if _, _, err := b.connect("?after=hall-7").Read(t.Context()); websocket.CloseStatus(err) != push.StatusTryAgain {
				t.Errorf("got %v, want %v", err, push.StatusTryAgain)
			}
		}
	})
}

// After a failover that has cost the database its last moments the positions of then are those of other events.
func TestFeed_HasLostItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		feed := &list{}
		b := follow(t, push.Config{Feed: feed})
		c := b.connect("")
		b.handle(event("hall", 0), event("hall", 1))
		if got := c.all(2); got != "hall-0 hall-1" {
			t.Errorf("got %s, want hall-0 hall-1", got)
		}
		feed.change(func() { feed.entries = feed.entries[:1:1] })
		b.handle(event("lamp", 0), event("lamp", 1))
		if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != push.StatusTryAgain {
			t.Errorf("got %v, want %v", err, push.StatusTryAgain)
		}
		time.Sleep(3 * time.Second)
		if got := b.connect("?after=hall-0").all(2); got != "lamp-0 lamp-1" {
			t.Errorf("afterwards: got %s, want lamp-0 lamp-1", got)
		}
	})
}
