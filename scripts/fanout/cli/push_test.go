package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/consumers/database/databasetest"
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

// Two processes of push read one queue. A client of each gets every event; one of them is killed, and its client goes on at the other.
func TestConsume_PushFansIn(t *testing.T) {
	t.Parallel()
	target := databasetest.Postgres(t)
	_, endpoint := localEngine(t)
	var jobs []*program
	var addresses []string
	for range 2 {
		job := startWith(t, []string{"FANOUT_DATABASE=" + target}, nil, "consume", "push", "--fan-in", "--endpoint", endpoint, "--push-addr", "127.0.0.1:0")
		jobs, addresses = append(jobs, job), append(addresses, job.stderr.find(t, `http://(\S+)\n`))
	}
	connect := func(address string) (phone *websocket.Conn) {
		t.Helper()
		eventually(t, "push takes clients", func() bool {
			var err error
			phone, _, err = websocket.Dial(t.Context(), "ws://"+address, nil)
			return err == nil
		})
		t.Cleanup(func() { _ = phone.CloseNow() })
		return phone
	}
	phones := []*websocket.Conn{connect(addresses[0] + "/ws"), connect(addresses[1] + "/ws")}
	publish := func(from, to int) {
		t.Helper()
		var lines strings.Builder
		for n := from; n < to; n++ {
			fmt.Fprintf(&lines, `{"id":"hall-%d","device_id":"hall","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`+"\n", n)
		}
		invoke(t, lines.String(), "publish", "-", "--endpoint", endpoint).want(t, exitOK)
	}
	want := func(phone *websocket.Conn, from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			_, body, err := phone.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got struct{ ID string }
			if err := json.Unmarshal(body, &got); err != nil || got.ID != fmt.Sprintf("hall-%d", n) {
				t.Fatalf("got %s, %v, want hall-%d", body, err, n)
			}
		}
	}
	publish(0, 20)
	for _, phone := range phones {
		want(phone, 0, 20)
	}
	if err := jobs[0].Process.Kill(); err != nil {
		t.Fatal(err)
	}
	publish(20, 30)
	want(connect(addresses[1]+"/ws?after=hall-19"), 20, 30)
	want(phones[1], 20, 30)
	if err := jobs[1].Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	jobs[1].end(t).want(t, exitOK)
}

func TestConsume_FanInWantsPostgreSQL(t *testing.T) {
	t.Setenv("FANOUT_DATABASE", "")
	_, endpoint := localEngine(t)
	for _, args := range [][]string{
		{"push"},
		{"push", "--data", t.TempDir()},
		{"push", "--database", filepath.Join(t.TempDir(), "push.db")},
		{"history", "--database", "postgres://x@127.0.0.1/x"},
	} {
		done := invoke(t, "", append([]string{"consume", "--fan-in", "--endpoint", endpoint}, args...)...).want(t, exitUsage)
		want := "PostgreSQL"
		if args[0] == "history" {
			want = `service "history" is not opened by Push`
		}
		if !strings.Contains(done.stderr, want) {
			t.Errorf("%v: got %s", args, done.stderr)
		}
	}
}
