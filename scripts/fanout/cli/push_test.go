package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
)

// A phone was away while the service was restarted. It shows the token and gets what it missed from the history.
func TestConsume_PushResumesThroughTheHistory(t *testing.T) {
	t.Parallel()
	const token = "0123456789abcdef"
	input := generate(300)
	folder := t.TempDir()
	invoke(t, "", upArgs(folder, "--input", writeFile(t, "input.ndjson", input), "--until-idle", "100ms")...).want(t, exitOK)
	recorded := rows(t, openDatabase(t, folder, "history"), `SELECT event_id, device_id, type, time, data FROM event_history ORDER BY position`)

	_, endpoint := localEngine(t)
	job := startWith(t, []string{pushTokenVariable + "=" + token}, nil, "consume", "push", "--endpoint", endpoint, "--push-addr", "127.0.0.1:0", "--data", folder)
	address := "ws://" + job.stderr.find(t, `http://(\S+)\n`) + "/ws?after=" + recorded[0].ID
	if _, response, err := websocket.Dial(t.Context(), address, nil); err == nil || response.StatusCode != http.StatusUnauthorized {
		t.Errorf("without the token: got %v, want status 401", err)
	}
	phone, _, err := websocket.Dial(t.Context(), address, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token}}})
	if err != nil {
		t.Fatal(err)
	}
	defer phone.CloseNow()
	for i, want := range recorded { // the first ones were recorded shortly before the one that it has seen, or are that
		_, body, err := phone.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ ID, Subject string }
		if err := json.Unmarshal(body, &got); err != nil || got.ID != want.ID || got.Subject != want.DeviceID {
			t.Fatalf("event %d: got %+v, %v, want %s of %s", i, got, err, want.ID, want.DeviceID)
		}
	}
	if err := job.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, _, err := phone.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("at the end: got %v, want a close frame that says the service stops", err)
	}
	if done := job.end(t).want(t, exitOK); !strings.Contains(done.stderr, "push reads") {
		t.Errorf("stderr: got %q, want it to say that push reads", done.stderr)
	}
}
