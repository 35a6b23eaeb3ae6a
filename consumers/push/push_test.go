package push_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/device-fanout/fanout/consumers/push"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipes is a network without sockets, so that the clock of synctest moves when everybody waits. A connection holds
// nothing: what is written waits until it is read, which makes slow clients easy.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accept:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.IPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.accept <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bench is a service with clients, all inside one bubble of synctest.
type bench struct {
	*push.Service
	t    *testing.T
	http *http.Client
}

// start starts a service and stops it when the test ends.
func start(t *testing.T, cfg push.Config) *bench {
	t.Helper()
	network := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
	service := push.New(cfg)
	server := &http.Server{Handler: service.Handler(), ReadHeaderTimeout: time.Minute}
	served := make(chan error)
	go func() { served <- server.Serve(network) }()
	transport := &http.Transport{DialContext: network.dial, DisableKeepAlives: true}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = service.Close(ctx) // the test has closed it, or does not care how
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Errorf("server: %v", err)
		}
		<-served
	})
	return &bench{Service: service, t: t, http: &http.Client{Transport: transport}}
}

// client is a client whose messages are read when the test asks for them.
type client struct {
	*websocket.Conn
	t *testing.T
}

// connect connects with that query. The connection is cut when the test ends.
func (b *bench) connect(query string) client {
	b.t.Helper()
	conn, _, err := websocket.Dial(b.t.Context(), "ws://push/ws"+query, &websocket.DialOptions{HTTPClient: b.http})
	if err != nil {
		b.t.Fatalf("connect to /ws%s: %v", query, err)
	}
	b.t.Cleanup(func() { _ = conn.CloseNow() })
	synctest.Wait()
	return client{conn, b.t}
}

func (b *bench) handle(all ...events.Event) {
	b.t.Helper()
	for _, e := range all {
		if err := b.Handle(b.t.Context(), e); err != nil {
			b.t.Fatalf("Handle: %v", err)
		}
	}
}

func (c client) send(message string) {
	c.t.Helper()
	if err := c.Write(c.t.Context(), websocket.MessageText, []byte(message)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
	synctest.Wait()
}

// next returns the ID of the next event.
func (c client) next() string {
	c.t.Helper()
	kind, message, err := c.Read(c.t.Context())
	if err != nil || kind != websocket.MessageText {
		c.t.Fatalf("read: got %v, %v, want a text message", kind, err)
	}
	e, err := events.Decode(message)
	if err != nil {
		c.t.Fatalf("message: %v", err)
	}
	return e.ID
}

// all returns the IDs of n events.
func (c client) all(n int) string {
	c.t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = c.next()
	}
	return strings.Join(ids, " ")
}

// ended reads until the connection ends and tells how it did. It also returns how many events came before.
func (c client) ended() (before int, end websocket.CloseError) {
	c.t.Helper()
	for {
		_, _, err := c.Read(c.t.Context())
		if err != nil {
			errors.As(err, &end) // else it stays empty: cut
			return before, end
		}
		before++
	}
}

// event makes the nth event of a device.
func event(deviceID string, n int) events.Event {
	return events.Event{
		ID:       fmt.Sprintf("%s-%d", deviceID, n),
		Source:   "/gateways/home-1",
		DeviceID: deviceID,
		Time:     time.Date(2005, 1, 29, 12, 0, 0, 0, time.UTC),
		Sequence: fmt.Sprintf("%08d", n),
		Data:     device.PowerChanged{On: n%2 == 0},
	}
}

func TestService_SendsTheEventAsCloudEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, push.Config{})
		c := b.connect("")
		b.handle(event("hall", 4))
		_, message, err := c.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(message, &got); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]any{
			"specversion": "1.0", "id": "hall-4", "subject": "hall", "type": "device.power.changed.v1",
			"source": "/gateways/home-1", "sequence": "00000004",
		} {
			if got[name] != want {
				t.Errorf("%s: got %v, want %v", name, got[name], want)
			}
		}
		if got, want := fmt.Sprint(got["data"]), "map[on:true]"; got != want {
			t.Errorf("data: got %s, want %s", got, want)
		}
	})
}

func TestService_ClientsGetTheDevicesTheyChose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, push.Config{})
		all, hall, two := b.connect(""), b.connect("?device=hall"), b.connect("?device=attic&device=hall&device=hall")
		b.handle(event("hall", 1), event("cellar", 1), event("attic", 1), event("hall", 2))
		for name, test := range map[string]struct {
			client client
			n      int
			want   string
		}{
			"all":  {all, 4, "hall-1 cellar-1 attic-1 hall-2"},
			"hall": {hall, 2, "hall-1 hall-2"},
			"two":  {two, 3, "hall-1 attic-1 hall-2"},
		} {
			if got := test.client.all(test.n); got != test.want {
				t.Errorf("%s: got %q, want %q", name, got, test.want)
			}
		}
		synctest.Wait()
		if got, want := b.Stats(), (push.Stats{Clients: 3, Handled: 4, Sent: 9}); got != want {
			t.Errorf("stats: got %+v, want %+v", got, want)
		}
	})
}

func TestService_ClientsMayChangeTheirChoice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, push.Config{})
		c := b.connect("?device=hall")
		steps := []struct {
			choice string
			want   string // of an event of each of hall and attic
		}{
			{`{"devices":["attic"]}`, "attic-0"},
			{`{"devices":["hall","attic","hall"]}`, "hall-1 attic-1"},
			{`{"devices":["hall"]}`, "hall-2"},
			{`{"devices":[]}`, "hall-3 attic-3"},
			{` { "devices" : [ "cellar", "attic" ] } `, "attic-4"},
		}
		for n, step := range steps {
			c.send(step.choice)
			b.handle(event("hall", n), event("attic", n))
			if got := c.all(len(strings.Fields(step.want))); got != step.want {
				t.Errorf("after %s: got %q, want %q", step.choice, got, step.want)
			}
		}
	})
}

func TestService_DropsSlowClientsAndNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, push.Config{Buffer: 10})
		good := b.connect("")
		slow := make([]client, 8)
		for i := range slow {
			slow[i] = b.connect("")
		}
		began := time.Now()
		for n := range 40 {
			b.handle(event("hall", n))
			if got, want := good.next(), event("hall", n).ID; got != want {
				t.Fatalf("good client: got %q, want %q", got, want)
			}
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("Handle: waited %v, want no waiting for the slow client", waited)
		}
		synctest.Wait()
		if got, want := b.Stats(), (push.Stats{Clients: 1, Handled: 40, Sent: 40, Dropped: 8}); got != want {
			t.Errorf("stats: got %+v, want %+v", got, want)
		}
		for i, c := range slow {
			before, end := c.ended()
			if before > 1 { // the one that was being written comes still
				t.Errorf("slow client %d: got %d events after the drop, want at most 1", i, before)
			}
			if got, want := end.Code, websocket.StatusPolicyViolation; got != want {
				t.Errorf("slow client %d: got code %v, want %v", i, got, want)
			}
			if got, want := end.Reason, "too slow: 10 events were waiting"; got != want {
				t.Errorf("slow client %d: got reason %q, want %q", i, got, want)
			}
		}
	})
}

// A client that does not read at all cannot be told anything. It must be gone after the write timeout.
func TestService_CutsAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, push.Config{WriteTimeout: 10 * time.Second, PingInterval: time.Hour})
		b.connect("")
		b.handle(event("hall", 1))
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{10*time.Second - 1, 1}, {1, 0}} {
			time.Sleep(step.wait)
			synctest.Wait()
			if got := b.Stats().Clients; got != step.want {
				t.Errorf("clients %v later: got %d, want %d", step.wait, got, step.want)
			}
		}
	})
}

func TestService_PingsFindClientsThatAreGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, push.Config{PingInterval: 30 * time.Second, WriteTimeout: 10 * time.Second})
		b.connect("") // never reads, so it never answers
		alive := b.connect("")
		reading := alive.CloseRead(t.Context()) // answers pings
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{30*time.Second - 1, 2}, {10*time.Second + 1, 1}, {time.Hour, 1}} {
			time.Sleep(step.wait)
			synctest.Wait()
			if got := b.Stats().Clients; got != step.want {
				t.Errorf("clients %v later: got %d, want %d", step.wait, got, step.want)
			}
		}
		if reading.Err() != nil {
			t.Error("client that answers pings: got its connection closed, want it open")
		}
	})
}

func TestService_RefusesNonsenseWithAReason(t *testing.T) {
	t.Parallel()
	many, err := json.Marshal(map[string]any{"devices": make([]string, 1001)})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		kind    websocket.MessageType
		message string
		code    websocket.StatusCode
		reason  string // its beginning
	}{
		"binary":         {websocket.MessageBinary, `{"devices":[]}`, websocket.StatusUnsupportedData, "want text messages"},
		"no JSON":        {websocket.MessageText, `hello`, 1007, `want {"devices":["a","b"]}: invalid character 'h'`},
		"empty":          {websocket.MessageText, ``, 1007, `want {"devices":["a","b"]}: an empty message`},
		"cut off":        {websocket.MessageText, `{"devices":["a"`, 1007, `want {"devices":["a","b"]}: unexpected EOF`},
		"list":           {websocket.MessageText, `["hall"]`, 1007, `want {"devices":["a","b"]}: json: cannot unmarshal array`},
		"numbers":        {websocket.MessageText, `{"devices":[7]}`, 1007, `want {"devices":["a","b"]}: json: cannot unmarshal number`},
		"other field":    {websocket.MessageText, `{"device":"a"}`, 1007, `want {"devices":["a","b"]}: json: unknown field "device"`},
		"nothing chosen": {websocket.MessageText, `{}`, 1007, `want {"devices":["a","b"]}: devices is missing`},
		"null":           {websocket.MessageText, `{"devices":null}`, 1007, `want {"devices":["a","b"]}: devices is missing`},
		"two values":     {websocket.MessageText, `{"devices":[]}{}`, 1007, `want {"devices":["a","b"]}: more than one JSON value`},
		"bad device":     {websocket.MessageText, `{"devices":["the hall"]}`, 1007, `device "the hall": want 1 to 128 ASCII`},
		"long device": {
			websocket.MessageText, `{"devices":["` + strings.Repeat("ü", 500) + `"]}`, 1007,
			`device "üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü": want`,
		},
		"unknown type": {
			websocket.MessageText, `{"devices":[],"types":["device.teleported.v1"]}`, 1007, `type "device.teleported.v1" is not known here`,
		},
		"too many": {websocket.MessageText, string(many), 1007, "1001 devices, want at most 1000, or none for all"},
		"too long": {websocket.MessageText, strings.Repeat(" ", 300<<10), websocket.StatusMessageTooBig, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := start(t, push.Config{})
				bad, good := b.connect(""), b.connect("")
				written := make(chan struct{})
				go func() { // side by side with the reading: the service may answer before it has read all
					defer close(written)
					_ = bad.Write(t.Context(), test.kind, []byte(test.message))
				}()
				_, end := bad.ended()
				<-written
				if end.Code != test.code || !strings.HasPrefix(end.Reason, test.reason) {
					t.Errorf("end: got %d %q, want %d %q", end.Code, end.Reason, test.code, test.reason)
				}
				synctest.Wait()
				b.handle(event("hall", 1))
				if got, want := good.next(), "hall-1"; got != want {
					t.Errorf("other client: got %q, want %q", got, want)
				}
				if got, want := b.Stats().Clients, 1; got != want {
					t.Errorf("clients: got %d, want %d", got, want)
				}
			})
		})
	}
}

func TestService_HandleReturnsWhyAnEventCannotBeEncoded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, push.Config{})
		b.connect("")
		bad := event("hall", 1)
		bad.Data = device.HumidityMeasured{Percent: 140}
		err := b.Handle(t.Context(), bad)
		var invalid *events.Error
		if !errors.As(err, &invalid) || !strings.HasPrefix(err.Error(), `push: event "hall-1" of device "hall": `) {
			t.Errorf("error: got %v, want an *events.Error with the event's name", err)
		}
		if got, want := b.Stats().Handled, uint64(0); got != want {
			t.Errorf("handled: got %d, want %d", got, want)
		}
	})
}

func TestService_CloseSaysGoodbye(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, push.Config{})
		c := b.connect("")
		closed := make(chan error)
		go func() { closed <- b.Close(t.Context()) }()
		_, end := c.ended()
		if end.Code != websocket.StatusGoingAway || end.Reason != "the service stops" {
			t.Errorf("end: got %d %q, want 1001", end.Code, end.Reason)
		}
		if err := <-closed; err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if err := b.Check(t.Context()); !errors.Is(err, push.ErrClosed) {
			t.Errorf("Check: got %v, want %v", err, push.ErrClosed)
		}
		if err := b.Handle(t.Context(), event("hall", 1)); !errors.Is(err, push.ErrClosed) {
			t.Errorf("Handle: got %v, want %v", err, push.ErrClosed)
		}
		if got := b.Stats().Clients; got != 0 {
			t.Errorf("clients: got %d, want 0", got)
		}
	})
}

func TestService_CloseCutsClientsThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, push.Config{})
		for range 3 {
			b.connect("") // reads nothing, so it cannot even be told
		}
		b.handle(event("hall", 1))
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := b.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Close: got %v, want %v", err, context.DeadlineExceeded)
		}
		if got, want := time.Since(began), 2*time.Second; got != want {
			t.Errorf("Close: took %v, want %v", got, want)
		}
	})
}

func TestNew_PanicsOnBadSettings(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]push.Config{
		"negative buffer": {Buffer: -1},
		"bad pattern":     {OriginPatterns: []string{"[a"}},
		"bad token":       {Token: "secret"},
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.HasPrefix(got, "push: config: ") || strings.Contains(got, "secret") {
					t.Errorf("%s: got %q, want a panic of this package", name, got)
				}
			}()
			push.New(cfg)
		}()
	}
}
