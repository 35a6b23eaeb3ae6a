package gateway_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/device-fanout/fanout/producer/gateway"
)

// Whatever a client sends, it gets an answer for it: 202, or a problem that blames the client.
func FuzzPost(f *testing.F) {
	f.Add([]byte(power("lamp-1", "e")), false)
	f.Add([]byte(power("lamp-1", "e")+"\n\n{\n"+power("lamp-1", "f")), true)
	f.Add([]byte("\x00\xff{}[]"), false)
	g, err := gateway.New(confirming, gateway.Anyone(), gateway.Config{MaxEventBytes: 1000})
	if err != nil {
		f.Fatal(err)
	}
	handler := g.Handler()
	f.Fuzz(func(t *testing.T, body []byte, lines bool) {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/events", bytes.NewReader(body))
		request.Header.Set("Content-Type", map[bool]string{false: oneEvent, true: ndjson}[lines])
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, request)
		a := answer{recorder.Code, recorder.Header(), recorder.Body.String()}
		if !lines {
			if a.status != http.StatusAccepted {
				if p := a.problem(t); a.status < 400 || a.status >= 500 || p.Status != a.status {
					t.Errorf("got %d %s, want a problem that blames the client", a.status, a.body)
				}
			}
			return
		}
		answers := a.lines(t)
		for i, line := range bytes.Split(body, []byte("\n")) {
			one, answered := answers[i+1]
			if want := len(bytes.TrimSpace(line)) > 0 || len(line) > 1002; answered != want {
				t.Errorf("line %d: answered: got %v, want %v", i+1, answered, want)
			}
			if answered && one.Status != http.StatusAccepted && (one.Status < 400 || one.Status >= 500) {
				t.Errorf("line %d: got %+v", i+1, one)
			}
		}
	})
}

// A file of keys is used or refused with an error that names it. To one that is used a key can be added, which changes no other; one that
// is refused stays as it was.
func FuzzLoadKeys(f *testing.F) {
	entry := `{"name":"a","sha256":"` + strings.Repeat("0", 64) + `","devices":["a*"],"per_second":1}`
	f.Add(`{"keys":[` + entry + `]}`)
	f.Add(`{"keys":[` + entry + `],"keys":[{"name":"b","sha256":"` + strings.Repeat("1", 64) + `"}]}`)
	f.Add(`{"KEYS":[` + entry + `]}`)
	f.Add(`{"keys":[{}]} {}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "keys.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := gateway.LoadKeys(path)
		key, addErr := gateway.AddKey(path, "new")
		if addErr != nil {
			if !strings.Contains(addErr.Error(), path) {
				t.Errorf("add: got %v, want it to name %s", addErr, path)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != text {
				t.Errorf("file: got %q, %v, want it as it was", got, err)
			}
		}
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want it to name %s", err, path)
			}
			if addErr == nil {
				t.Error("added a key to a file that can't be used")
			}
			return
		}
		if _, ok := keys.Check("a.b"); ok {
			t.Error("a made-up key is let in")
		}
		if addErr != nil {
			return
		}
		before := keys.Len()
		if changed, err := keys.Reload(); !changed || err != nil || keys.Len() != before+1 {
			t.Errorf("reload: got %v, %v and %d keys, want one more than %d", changed, err, keys.Len(), before)
		}
		if got, ok := keys.Check(key); !ok || got.Name != "new" {
			t.Errorf("the new key: got %+v, %v, want it let in", got, ok)
		}
	})
}
