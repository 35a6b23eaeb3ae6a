package scaffold

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a run leaves, with secrets or somebody's data in it, gets into no repository and no image.
func TestIgnore_KeepsSecretsOut(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	secret := []string{
		"keys.json", "keys.json.lock", ".keys.json.1234", "keys-prod.json", "deploy/keys.json", "tls.pem", "certs/server.key", "server.crt", "broker.p12",
		".env", ".env.prod", "spool/lock", "spool-2/1.log", "data/history.db", "history.db", "a/state.db-wal", "a/state.db-shm", "x.sqlite3", "x.sqlite-wal",
		"dev-history-dlq.fifo-20260131T120000Z.ndjson", "prod-state-delivery-dlq-20260131T120000Z.ndjson", "state/dlq/dev-history-dlq.fifo-1.journal",
	}
	open := []string{"README.md", "internal/spool/spool.go", "services/data/data.go", "schemas/device.key.v1.json", "infra/declaration/environments.json", "package-lock.json", "events.ndjson"}
	for _, repository := range []string{root, filepath.Join(root, "examples", "acme")} {
		git, err := os.ReadFile(filepath.Join(repository, ".gitignore"))
		if err != nil {
			t.Fatal(err)
		}
		docker, err := os.ReadFile(filepath.Join(repository, ".dockerignore"))
		if err != nil {
			t.Fatal(err)
		}
		folder := t.TempDir()
		if out, err := exec.Command("git", "init", "-q", folder).CombinedOutput(); err != nil {
			t.Fatalf("git init: %v\n%s", err, out)
		}
		if err := os.WriteFile(filepath.Join(folder, ".gitignore"), git, 0o600); err != nil {
			t.Fatal(err)
		}
		check := exec.Command("git", "-C", folder, "check-ignore", "--stdin")
		check.Stdin = strings.NewReader(strings.Join(append(append([]string{}, secret...), open...), "\n"))
		out, err := check.Output()
		if err != nil {
			t.Fatalf("git check-ignore: %v", err)
		}
		if got, want := strings.Fields(string(out)), secret; strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: git ignores\n%v\nwant\n%v", repository, got, want)
		}
		_, ours, found := bytes.Cut(git, []byte("# Secrets"))
		if !found {
			t.Fatalf("%s: .gitignore says nothing of secrets", repository)
		}
		for line := range strings.Lines(string(ours)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "# Tests") {
				break
			}
			if strings.HasPrefix(line, "/") {
				line = strings.Trim(line, "/") // in .dockerignore every pattern is from the root
			} else if !strings.Contains(line, " ") {
				line = "**/" + line
			} else {
				continue
			}
			if !bytes.Contains(docker, []byte("\n"+line+"\n")) {
				t.Errorf("%s: .dockerignore lacks %s, which .gitignore has", repository, line)
			}
		}
	}
}
