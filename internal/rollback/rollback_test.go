package rollback_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/database/databasetest"
	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/infra/provision"
	"github.com/device-fanout/fanout/internal/rollback"
)

// baseVariable names the commit whose program runs beside this one. Without it that is where this branch has left main, or the commit before on main.
const baseVariable = "FANOUT_ROLLBACK_BASE"

const folder = "internal/rollback"

// git runs git in the root of the repository.
func git(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
}

// base is the commit before, or "" with the reason why there is none.
func base() (commit, none string) {
	head, err := git("rev-parse", "HEAD")
	if err != nil {
		return "", "this is no git repository"
	}
	commit = os.Getenv(baseVariable)
	if commit == "" {
		commit, _ = git("merge-base", "HEAD", "origin/main")
	}
	if commit == "" || commit == head {
		commit = "HEAD^"
	}
	if commit, err = git("rev-parse", "--verify", "--quiet", commit+"^{commit}"); err != nil {
		return "", "git does not have the commit before, as in a shallow clone: git fetch --unshallow"
	}
	code := []string{"--", "*.go", "*.sql", "go.mod"}
	if _, err := git(append([]string{"diff", "--quiet", commit}, code...)...); err == nil { // then the one before the last that changed any
		last, err := git(append([]string{"rev-list", "-1", commit}, code...)...)
		if err == nil {
			commit, err = git("rev-parse", "--verify", "--quiet", last+"^")
		}
		if err != nil {
			return "", "no code differs from commit " + commit + ", and git does not have the one before"
		}
	}
	return commit, ""
}

// build builds the program of a tree.
func build(t *testing.T, tree, name string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", program, "./"+folder+"/program")
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the program of %s: %v\n%s", name, err, out)
	}
	return program
}

// export writes the tree of a commit into a folder. A commit from before this package gets its program.
func export(t *testing.T, commit string) string {
	t.Helper()
	tree := t.TempDir()
	archive := filepath.Join(t.TempDir(), "tree.tar")
	if _, err := git("archive", "--output", archive, commit); err != nil {
		t.Fatalf("git archive %s: %v", commit, err)
	}
	if out, err := exec.Command("tar", "-xf", archive, "-C", tree).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	for _, file := range []string{"rollback.go", "program/main.go"} {
		to := filepath.Join(tree, folder, file)
		if _, err := os.Stat(to); err == nil {
			continue
		}
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(to), 0o700)
		}
		if err == nil {
			err = os.WriteFile(to, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func TestRollback(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds two programs; not with -short")
	}
	commit, none := base()
	if none != "" {
		t.Skip("nothing to roll back to: ", none)
	}
	programs := map[string]string{
		"before": build(t, export(t, commit), "before"),
		"now":    build(t, "../..", "now"),
	}
	for _, order := range []string{"before now before", "now before now"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			databasetest.Each(t, func(t *testing.T, target string) {
				byTurns(t, programs, strings.Fields(order), target)
			})
		})
	}
}

// byTurns has one program after the other handle events on one database.
func byTurns(t *testing.T, programs map[string]string, order []string, target string) {
	engine := provision.Start(t, rollback.App().Topology, "dev", local.Options{})
	endpoint, err := engine.Engine.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	devices := []string{"hall", "attic", rollback.Broken}
	for round, name := range order {
		// run runs a command and returns what it prints.
		run := func(program, stdin string, args ...string) []byte {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), programs[program], append(args, "--endpoint", endpoint)...)
			cmd.Stdin = strings.NewReader(stdin)
			cmd.Env = append(os.Environ(), "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE="+os.DevNull)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("turn %d, the program of %s: %s: %v\n%s", round+1, program, strings.Join(args[:2], " "), err, errs.String())
			}
			return out
		}
		var lines strings.Builder
		for _, device := range devices {
			fmt.Fprintf(&lines, `{"id":"%s-%d","device_id":"%s","type":"device.power.changed.v1","time":"2026-01-31T12:00:0%dZ","data":{"on":true}}`+"\n", device, round, device, round)
		}
		run("now", lines.String(), "publish", "-")
		for _, service := range []string{"history", "state", "lights"} {
			var got struct {
				Handled      int `json:"handled"`
				DeadLettered int `json:"dead_lettered"`
			}
			out := run(name, "", "consume", service, "--database", target, "--until-idle", "200ms", "--json")
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatalf("turn %d: %s: %v", round+1, out, err)
			}
			dead := 0
			if service == "lights" { // it fails, and is parked from then on
				dead = 1
			}
			if got.Handled != len(devices)-dead || got.DeadLettered != dead {
				t.Errorf("turn %d, the program of %s, service %s: handled %d and dead-lettered %d, want %d and %d",
					round+1, name, service, got.Handled, got.DeadLettered, len(devices)-dead, dead)
			}
		}
	}
	wantRows(t, target, len(order), len(devices))
}

// wantRows looks at what the programs have left.
func wantRows(t *testing.T, target string, rounds, devices int) {
	t.Helper()
	db, err := database.Open(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	last := fmt.Sprintf("%%-%d", rounds-1)
	for _, q := range []struct {
		what, query string
		args        []any
		want        int
	}{
		{"events in the history", `SELECT count(DISTINCT event_id) FROM event_history`, nil, rounds * devices},
		{"rows in the history", `SELECT count(*) FROM event_history`, nil, rounds * devices},
		{"devices with their last state", `SELECT count(*) FROM device_state WHERE event_id LIKE $1`, []any{last}, devices},
		{"events in the inbox", `SELECT count(*) FROM inbox WHERE state = 'done'`, nil, rounds * devices},
		{"parked devices", `SELECT count(*) FROM parked_device WHERE service = 'lights' AND device_id = $1`, []any{rollback.Broken}, 1},
	} {
		var got int
		if err := db.QueryRowContext(t.Context(), q.query, q.args...).Scan(&got); err != nil || got != q.want {
			t.Errorf("%s: got %d, %v, want %d", q.what, got, err, q.want)
		}
	}
}
