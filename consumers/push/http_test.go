package push_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/consumers/push"
	"github.com/device-fanout/fanout/events"
)

func TestHandler_AnswersHTTP(t *testing.T) {
	t.Parallel()
	service := push.New(push.Config{})
	handler := service.Handler()
	manyDevices := "/ws?" + strings.Repeat("device=a&", 1001)
	tests := []struct {
		method, target string
		code           int
		want           string // in the body
	}{
		{"GET", "/healthz", 200, `{"clients":0,"status":"ok"}`},
		{"GET", "/", 200, "<!doctype html>"},
		{"GET", "/", 200, "<option>device.power.changed.v1</option>"},
		{"HEAD", "/", 200, ""},
		{"GET", "/nowhere", 404, "not found"},
		{"POST", "/ws", 405, "Method Not Allowed"},
		{"GET", "/ws", 426, "WebSocket"},
		{"GET", "/ws?devices=hall", 400, `unknown parameter "devices", want device, type, after, after_device or after_source`},
		{"GET", "/ws?after_device=hall", 400, "after is missing"},
		{"GET", "/ws?type=device.teleported.v1", 400, `type "device.teleported.v1" is not known here`},
		{"GET", "/ws?after=", 400, "after: want one ID of an event"},
		{"GET", "/ws?after=a&after=b", 400, "after: want one ID of an event"},
		{"GET", "/ws?device=", 400, `device "": want 1 to 128 ASCII letters`},
		{"GET", "/ws?device=the%20hall", 400, `device "the hall": want`},
		{"GET", "/ws?device=%zz", 400, "invalid URL escape"},
		{"GET", manyDevices, 400, "1001 devices, want at most 1000"},
	}
	for _, test := range tests {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(test.method, test.target, nil))
		if answer.Code != test.code || !strings.Contains(answer.Body.String(), test.want) {
			t.Errorf("%s %.40s: got %d %.80q, want %d and %q in it",
				test.method, test.target, answer.Code, answer.Body, test.code, test.want)
		}
	}
	if got := service.Stats().Clients; got != 0 {
		t.Errorf("clients: got %d, want 0", got)
	}
	if err := service.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/healthz", "/ws"} {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest("GET", target, nil))
		if got, want := answer.Code, http.StatusServiceUnavailable; got != want {
			t.Errorf("GET %s after Close: got %d, want %d", target, got, want)
		}
	}
}

// serve serves the service on a real socket.
func serve(tb testing.TB, service *push.Service) (url string) {
	tb.Helper()
	server := httptest.NewServer(service.Handler())
	tb.Cleanup(func() {
		if err := service.Close(tb.Context()); err != nil && tb.Context().Err() == nil {
			tb.Errorf("Close: %v", err)
		}
		server.Close()
	})
	return server.URL
}

func TestHandler_LetsInPagesOfItsOwnHost(t *testing.T) {
	t.Parallel()
	url := serve(t, push.New(push.Config{OriginPatterns: []string{"*.example.com"}}))
	for _, test := range []struct {
		origin string
		code   int
	}{
		{"", 101}, // no browser
		{url, 101},
		{"https://app.example.com", 101},
		{"https://example.org", 403},
		{"null", 403},
	} {
		header := http.Header{}
		if test.origin != "" {
			header.Set("Origin", test.origin)
		}
		conn, response, err := websocket.Dial(t.Context(), url+"/ws", &websocket.DialOptions{HTTPHeader: header})
		if err == nil {
			_ = conn.CloseNow()
		}
		if got := response.StatusCode; got != test.code {
			t.Errorf("origin %q: got %d, want %d", test.origin, got, test.code)
		}
	}
}

func TestHandler_RefusesTooManyClients(t *testing.T) {
	t.Parallel()
	url := serve(t, push.New(push.Config{MaxClients: 1}))
	first, _, err := websocket.Dial(t.Context(), url+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer first.CloseNow() //nolint:errcheck // the test is over
	_, response, err := websocket.Dial(t.Context(), url+"/ws", nil)
	if err == nil || response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
		t.Fatalf("second client: got %v, want 503 with Retry-After", err)
	}
	body, err := io.ReadAll(response.Body)
	if got, want := string(body), "too many clients"; err != nil || !strings.Contains(got, want) {
		t.Errorf("second client: got %q, %v, want %q in it", got, err, want)
	}
}

func TestHandler_PageLoadsNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	answer := httptest.NewRecorder()
	push.New(push.Config{}).Handler().ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	if got, want := answer.Header().Get("Content-Security-Policy"), "default-src 'none'"; !strings.HasPrefix(got, want) {
		t.Errorf("Content-Security-Policy: got %q, want it to begin with %q", got, want)
	}
	for _, unwanted := range []string{"http://", "https://", "src=", "innerHTML"} {
		if strings.Contains(answer.Body.String(), unwanted) {
			t.Errorf("page: got %q in it, want none", unwanted)
		}
	}
}

// Devices are handled side by side; each client must see the order of each device.
func TestHandler_KeepsTheOrderOfEachDevice(t *testing.T) {
	t.Parallel()
	const devices, each, clients = 8, 100, 6
	service := push.New(push.Config{Buffer: devices * each})
	url := serve(t, service)
	var readers sync.WaitGroup
	for i := range clients {
		query, want := "", devices*each
		if i%2 == 1 {
			query, want = "?device=device-1&device=device-2", 2*each
		}
		conn, _, err := websocket.Dial(t.Context(), url+"/ws"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		readers.Go(func() {
			defer conn.CloseNow() //nolint:errcheck // it has got all that it wanted
			next := make(map[string]int)
			for range want {
				_, message, err := conn.Read(t.Context())
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				e, err := events.Decode(message)
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				if want := event(e.DeviceID, next[e.DeviceID]).ID; e.ID != want {
					t.Errorf("client %d: got event %q, want %q", i, e.ID, want)
				}
				next[e.DeviceID]++
			}
		})
	}
	var handlers sync.WaitGroup
	for device := range devices {
		handlers.Go(func() {
			for n := range each {
				if err := service.Handle(t.Context(), event(fmt.Sprintf("device-%d", device), n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	handlers.Wait()
	readers.Wait()
	if got := service.Stats(); got.Handled != devices*each || got.Dropped != 0 {
		t.Errorf("stats: got %+v, want %d handled and none dropped", got, devices*each)
	}
}

func BenchmarkHandle(b *testing.B) {
	for _, clients := range []int{0, 1, 10, 100} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			service := push.New(push.Config{Buffer: 1 << 16})
			url := serve(b, service)
			var readers sync.WaitGroup
			for range clients {
				conn, _, err := websocket.Dial(b.Context(), url+"/ws", nil)
				if err != nil {
					b.Fatal(err)
				}
				readers.Go(func() {
					for {
						if _, _, err := conn.Read(b.Context()); err != nil {
							return
						}
					}
				})
			}
			e := event("hall", 1)
			b.ReportAllocs()
			for b.Loop() {
				if err := service.Handle(b.Context(), e); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(service.Stats().Dropped), "dropped")
			if err := service.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
			readers.Wait()
		})
	}
}
