package push_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/consumers/push"
	"github.com/device-fanout/fanout/events/device"
)

func TestHandler_WantsItsToken(t *testing.T) {
	t.Parallel()
	const token = "q2R7-wall-panel.42"
	url := serve(t, push.New(push.Config{Token: token}))
	for name, test := range map[string]struct {
		header    string
		protocols []string
		code      int
	}{
		"none":                     {"", nil, 401},
		"header":                   {"Bearer " + token, nil, 101},
		"wrong header":             {"Bearer " + token + "x", nil, 401},
		"other scheme":             {"Basic " + token, nil, 401},
		"empty":                    {"Bearer ", nil, 401},
		"subprotocol":              {"", []string{push.Subprotocol, "fanout.token." + token}, 101},
		"wrong subprotocol":        {"", []string{push.Subprotocol, "fanout.token.x"}, 401},
		"subprotocol, no token":    {"", []string{push.Subprotocol}, 401},
		"wrong header counts more": {"Bearer x", []string{"fanout.token." + token}, 401},
	} {
		header := http.Header{}
		if test.header != "" {
			header.Set("Authorization", test.header)
		}
		conn, response, err := websocket.Dial(t.Context(), url+"/ws", &websocket.DialOptions{HTTPHeader: header, Subprotocols: test.protocols})
		if err == nil {
			if got := conn.Subprotocol(); strings.Contains(got, token) {
				t.Errorf("%s: got subprotocol %q, want no token in the answer", name, got)
			}
			_ = conn.CloseNow()
		}
		if got := response.StatusCode; got != test.code {
			t.Errorf("%s: got %d, want %d", name, got, test.code)
		}
		if test.code == 401 && response.Header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s: got WWW-Authenticate %q, want Bearer", name, response.Header.Get("WWW-Authenticate"))
		}
	}
}

func TestCheckToken(t *testing.T) {
	t.Parallel()
	for token, want := range map[string]bool{
		"": true, "0123456789abcdef": true, "A-Za_z0.9~0123456": true, strings.Repeat("x", 256): true,
		"short": false, "0123456789 abcdef": false, "0123456789abcdeü": false, strings.Repeat("x", 257): false, "0123456789abcdef\n": false,
	} {
		err := push.CheckToken(token)
		if (err == nil) != want {
			t.Errorf("CheckToken(%q): got %v, want accepted %t", token, err, want)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("CheckToken(%q): the error shows it: %v", token, err)
		}
	}
}

func TestService_ClientsGetTheTypesTheyChose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := start(t, push.Config{})
		door := event("hall", 2)
		door.Data = device.ContactChanged{Open: true}
		attic := event("attic", 2)
		attic.Data = device.ContactChanged{Open: true}
		power := b.connect("?type=device.power.changed.v1")
		hall := b.connect("?type=device.contact.changed.v1&type=device.motion.changed.v1&device=hall")
		changing := b.connect("?type=device.motion.changed.v1")
		changing.send(`{"devices":[],"types":["device.contact.changed.v1"]}`)
		b.handle(event("hall", 1), door, attic, event("attic", 3))
		for name, test := range map[string]struct {
			client client
			n      int
			want   string
		}{
			"power": {power, 2, "hall-1 attic-3"}, "hall": {hall, 1, "hall-2"}, "changing": {changing, 2, "hall-2 attic-2"},
		} {
			if got := test.client.all(test.n); got != test.want {
				t.Errorf("%s: got %q, want %q", name, got, test.want)
			}
		}
		synctest.Wait()
		if got, want := b.Stats().Sent, uint64(5); got != want {
			t.Errorf("sent: got %d, want %d", got, want)
		}
	})
}
