//go:build linux

package cli

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/device-fanout/fanout/infra/local"
	"github.com/device-fanout/fanout/internal/secrettest"
)

// container runs the image's program as a task or a function does: in a mount namespace of its own, with nothing but what the image holds, its
// root read-only, as its user, and with the environment that it is given and no more. The network is that of the test.
type container struct {
	image image
	root  string
}

// namespace runs a command, $2 and what follows, in the root $1. $VOLUMES are the folders that get a volume, each with the owner and mode of its folder.
const namespace = `set -e
mount --bind "$1" "$1"
for volume in $VOLUMES; do
	owner=$(stat -c uid=%u,gid=%g,mode=%a "$1$volume")
	[ -z "$OWNER" ] || owner=$OWNER
	mount -t tmpfs -o "$owner,size=64m" tmpfs "$1$volume"
done
mount -o remount,bind,ro "$1"
root=$1
shift
chroot=$(command -v chroot)
exec env -i $KEPT "$chroot" --userspec="$USER_ID" --groups= "$root" "$@"`

// newContainer assembles the image, or skips the test in words.
func newContainer(t *testing.T, im image) container {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the program; run without -short")
	}
	if os.Getuid() != 0 {
		t.Skip("only root may make a mount namespace and change its root; run as root, as in a container")
	}
	for _, tool := range []string{"unshare", "mount", "chroot", "stat", "chmod", "env"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s: it makes the container", tool)
		}
	}
	c := container{im, t.TempDir()}
	if out, err := exec.Command("unshare", "--mount", "--propagation", "private", "mount", "--bind", c.root, c.root).CombinedOutput(); err != nil {
		t.Skipf("this root may not mount, as in a container without the right to: %v: %s", err, out)
	}
	for above := filepath.Dir(c.root); above != os.TempDir() && above != "/"; above = filepath.Dir(above) { // the test's own folders
		if err := os.Chmod(above, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	im.assemble(t, c.root)
	return c
}

// command is the image's entrypoint with a command, as user, with an environment; a volume has the owner of its folder unless owner names another.
func (c container) command(user, owner string, environment []string, command ...string) *exec.Cmd {
	args := slices.Concat([]string{"--mount", "--propagation", "private", "sh", "-c", namespace, "container", c.root}, c.image.entrypoint, command)
	cmd := exec.Command("unshare", args...)
	for _, variable := range environment {
		if strings.ContainsAny(variable, " \t\n*?[") {
			panic("the script takes words only: " + variable)
		}
	}
	cmd.Env = []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "VOLUMES=" + strings.Join(c.image.volumes, " "), "KEPT=" + strings.Join(environment, " "),
		"USER_ID=" + user, "OWNER=" + owner,
	}
	return cmd
}

// task starts the program as a Fargate task does.
func (c container) task(t *testing.T, endpoint string, environment []string, command ...string) *program {
	t.Helper()
	return startCommand(t, c.command(c.image.user, "", append(taskEnvironment(endpoint), environment...), command...), nil, nil)
}

// taskEnvironment is what every task has. The endpoint and its made-up account stand for AWS.
func taskEnvironment(endpoint string) []string {
	return []string{"AWS_REGION=eu-central-1", "AWS_ENDPOINT_URL=" + endpoint, "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local"}
}

// wantConfined fails the test unless a running program is the image's user and group, and no other, and has this environment and no more.
func wantConfined(t *testing.T, p *program, user string, environment []string) {
	t.Helper()
	process := fmt.Sprintf("/proc/%d/", p.Process.Pid) // each step to the program has taken the place of the one before
	status, err := os.ReadFile(process + "status")
	if err != nil {
		t.Fatal(err)
	}
	uid, gid, _ := strings.Cut(user, ":")
	for _, want := range []string{"Uid:" + strings.Repeat("\t"+uid, 4), "Gid:" + strings.Repeat("\t"+gid, 4), "Groups:\t \n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("got %s\nwant %q", status, want)
		}
	}
	text, err := os.ReadFile(process + "environ")
	if got := strings.Split(strings.Trim(string(text), "\x00"), "\x00"); err != nil || !slices.Equal(got, environment) {
		t.Errorf("environment: got %q, %v, want %q", got, err, environment)
	}
}

const lampEvent = `{"device_id":"lamp-7","id":"e1","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`

// TestContainer_EveryCommandWorks in the image's file system, with its root read-only and no other environment than a task's: an event comes in
// by HTTP with a key out of a secret, and goes to history, push and the console; a container's health check sees it; and a function answers.
func TestContainer_EveryCommandWorks(t *testing.T) {
	t.Parallel()
	c := newContainer(t, ourImage(t))
	engine, endpoint := localEngine(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	once := func(environment []string, command ...string) finished {
		t.Helper()
		return c.task(t, endpoint, environment, command...).end(t)
	}

	t.Run("file system", func(t *testing.T) {
		for _, path := range []string{"etc/ssl/certs/ca-certificates.crt", "licences", "fanout"} {
			if _, err := os.Stat(filepath.Join(c.root, path)); err != nil {
				t.Errorf("the image has no /%s: %v", path, err)
			}
		}
		if got := once(nil, "version").want(t, exitOK).stdout; !strings.Contains(got, builtVersion) {
			t.Errorf("version: got %q, want %s", got, builtVersion)
		}
		if got := once(nil, "migrate", "history", "--data", "/tmp/tables").want(t, exitOK).stdout; !strings.Contains(got, "migrated") { // the task before a roll-out
			t.Errorf("migrate: got %q, want the tables of history migrated", got)
		}
		once(nil, "gateway", "key", "hall", "--file", "/keys.json").want(t, exitFailed) // the root is read-only
		if _, err := os.Stat(filepath.Join(c.root, "keys.json.lock")); err == nil {
			t.Error("the root is not read-only")
		}
	})

	secrets := &secrettest.Store{}
	secrets.Put("keys", `{"keys":[]}`)
	server := httptest.NewServer(secrets)
	defer server.Close()
	environment := []string{"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + server.URL}
	key := strings.TrimSpace(once(environment, "gateway", "key", "hall", "--secret", "keys").want(t, exitOK).stdout)

	gw := c.task(t, endpoint, environment, "gateway", "--addr", "127.0.0.1:0", "--keys-secret", "keys", "--shutdown-delay", "1ms", "--spool", "/tmp/spool", "--spool-slots", "2", "--topic-arn", topicOfDev)
	gatewayAt := gw.stderr.find(t, `gateway on (\S+)`)
	wantConfined(t, gw, c.image.user, append(taskEnvironment(endpoint), environment...))
	history := c.task(t, endpoint, nil, "consume", "history", "--health-addr", "127.0.0.1:0")
	healthAt := history.stderr.find(t, `health and metrics on http://([^/]+)/`)
	push := c.task(t, endpoint, nil, "consume", "push", "--push-addr", "127.0.0.1:0")
	pushAt := push.stderr.find(t, `http://(\S+)\n`)
	console := c.task(t, endpoint, nil, "console", "--addr", "127.0.0.1:0")
	consoleAt := console.stderr.find(t, `at (http://\S+)`)

	phone, _, err := websocket.Dial(t.Context(), "ws://"+pushAt+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer phone.CloseNow()
	if !postOne(client, gatewayAt, key, lampEvent) {
		t.Errorf("the gateway did not accept an event; log:\n%s", gw.stderr)
	}
	if postOne(client, gatewayAt, "hall.guessed", lampEvent) {
		t.Error("the gateway let in another key")
	}
	if _, body, err := phone.Read(t.Context()); err != nil || !strings.Contains(string(body), "lamp-7") {
		t.Errorf("push: got %s, %v, want the event", body, err)
	}
	eventually(t, "history's handling", func() bool {
		return slices.ContainsFunc(engine.Queues(), func(q local.QueueStatus) bool {
			return q.Name == "dev-history.fifo" && q.Visible+q.InFlight == 0
		})
	})
	eventually(t, "readiness", func() bool { status, _ := fetch(client, "http://"+healthAt+"/readyz"); return status == http.StatusOK })
	for what, url := range map[string]string{"history": "http://" + healthAt + "/livez", "gateway": "http://" + gatewayAt + "/readyz", "push": "http://" + pushAt + "/healthz"} {
		if done := once(nil, "ready", url); done.code != exitOK {
			t.Errorf("ready, of %s: got %d, %s", what, done.code, done.stderr)
		}
	}
	if status, text := fetch(client, "http://"+pushAt+"/"); status != http.StatusOK || !strings.Contains(text, "<html") {
		t.Errorf("push's page: got %d %.100s", status, text)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, text := fetch(&http.Client{Transport: client.Transport, Jar: jar}, consoleAt); status != http.StatusOK || !strings.Contains(text, "<html") {
		t.Errorf("console: got %d %.100s", status, text)
	}
	for _, p := range []*program{gw, history, push, console} {
		terminate(t, p)
		done := p.end(t).want(t, exitOK)
		if p == history && !strings.Contains(done.stdout, "handled 1") {
			t.Errorf("history: got %q, want one event handled", done.stdout)
		}
	}

	t.Run("lambda", func(t *testing.T) {
		batch, _ := lambdaBatch(t)
		functions := newLambdaRuntime(t, batch)
		// Lambda has a user of its own, and a /tmp of its own.
		cmd := c.command("993:990", "uid=993,gid=990,mode=700", lambdaEnvironment(t, engine, endpoint, functions.address, "/tmp/history.db"), "lambda", "history")
		p := startCommand(t, cmd, nil, nil)
		wantLambdaAnswer(t, p, functions, engine)
		wantJSONLog(t, p.stderr.String(), "")
	})
}

// TestContainer_WithoutItsVolumeNoServiceStarts: the test of the image sees it.
func TestContainer_WithoutItsVolumeNoServiceStarts(t *testing.T) {
	t.Parallel()
	im := ourImage(t)
	im.volumes = nil
	c := newContainer(t, im)
	_, endpoint := localEngine(t)
	done := c.task(t, endpoint, nil, "consume", "history").end(t).want(t, exitFailed)
	contains(t, "stderr", done.stderr, "read-only file system")
	delete(im.folders, "/image/tmp") // as it was: scratch has none
	done = newContainer(t, im).task(t, endpoint, nil, "consume", "history").end(t).want(t, exitFailed)
	contains(t, "stderr", done.stderr, "data folder", "no such file")
}
