package cli

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/consumers/state"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func TestState_ForgetMendsADevice(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	apply := func(id string, at time.Time, payload events.Data) {
		t.Helper()
		s, err := state.Open(t.Context(), filepath.Join(folder, "state.db"), state.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		e := events.New("hall", payload)
		e.ID, e.Time, e.Source = id, at, "test"
		if err := s.Handle(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	events := func() string {
		t.Helper()
		var rows []struct {
			EventID string `json:"event_id"`
		}
		if err := json.Unmarshal([]byte(invoke(t, "", "state", "show", "hall", "--data", folder, "--json").want(t, exitOK).stdout), &rows); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, row := range rows {
			ids = append(ids, row.EventID)
		}
		return strings.Join(ids, " ")
	}
	evening := time.Now().Add(10 * time.Hour)
	apply("motion", evening, device.MotionChanged{Detected: true})
	apply("evening", evening, device.PowerChanged{On: true})
	apply("noon", time.Now(), device.PowerChanged{})

	forget := []string{"state", "forget", "hall", "--data", folder, "--type", "device.power.changed.v1"}
	for _, more := range []struct {
		flag string
		code int
	}{{"--dry-run", exitOK}, {"", exitUsage}} {
		plan := invoke(t, "", append(forget, strings.Fields(more.flag)...)...).want(t, more.code)
		if !strings.Contains(plan.stdout, "evening") || strings.Contains(plan.stdout, "motion") || events() != "motion evening" {
			t.Errorf("%s: got %q and left %q, want the plan and nothing deleted", more.flag, plan.stdout, events())
		}
	}
	done := invoke(t, "", append(forget, "--yes")...).want(t, exitOK)
	if !strings.Contains(done.stdout, "deleted 1 rows") || events() != "motion" {
		t.Errorf("got %q and left %q, want one row deleted", done.stdout, events())
	}
	apply("noon again", time.Now(), device.PowerChanged{})
	if got, want := events(), "motion noon again"; got != want {
		t.Errorf("after the next event: got %q, want %q", got, want)
	}
	if none := invoke(t, "", "state", "forget", "nobody", "--data", folder, "--yes").want(t, exitOK); !strings.Contains(none.stderr, "no such state") {
		t.Errorf("a device without state: got %q", none.stderr)
	}
}

func TestState_WantsADatabaseThatIsThere(t *testing.T) {
	t.Setenv("FANOUT_DATABASE", "")
	folder := t.TempDir()
	for _, test := range []struct {
		args []string
		code int
		text string
	}{
		{nil, exitUsage, "which database?"},
		{[]string{"--data", folder}, exitFailed, "state.db: no such file"},
		{[]string{"--database", filepath.Join(folder, "x.db")}, exitFailed, "x.db: no such file"},
		{[]string{"--database", "sqlite:" + filepath.Join(folder, "x")}, exitFailed, "x: no such file"},
		{[]string{"--database", "secret"}, exitFailed, "FANOUT_DATABASE"},
	} {
		for _, command := range []string{"show", "forget"} {
			done := invoke(t, "", append([]string{"state", command, "hall"}, test.args...)...).want(t, test.code)
			if !strings.Contains(done.stderr, test.text) {
				t.Errorf("%s %v: got %q, want %q", command, test.args, done.stderr, test.text)
			}
		}
	}
	if made, _ := filepath.Glob(filepath.Join(folder, "*")); made != nil {
		t.Errorf("made %v, want nothing", made)
	}
}
