package cli

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// badLines are input lines that are no events, with a part of the reason to be given for each.
var badLines = []struct{ line, reason string }{
	{`{"device_id":"a","type":"device.tea.brewed.v1","time":"2026-01-31T12:00:00Z","data":{}}`, `unknown type`},
	{`{"type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`, `device_id: missing`},
	{`{"device_id":"","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`, `device_id`},
	{`{"device_id":"living room","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`, `device_id: got "living room"`},
	{`{"device_id":7,"type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true}}`, `device_id`},
	{`{"device_id":"a","type":"device.power.changed.v1","data":{"on":true}}`, `time: missing`},
	{`{"device_id":"a","type":"device.power.changed.v1","time":"yesterday","data":{"on":true}}`, `time: got "yesterday"`},
	{`{"device_id":"a","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z"}`, `data: missing`},
	{`{"device_id":"a","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":"yes"}}`, `data.on: got "yes"`},
	{`{"device_id":"a","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{}}`, `data.on: missing`},
	{`{"device_id":"a","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true,"level_percent":101}}`, `data.level_percent: got 101`},
	{`{"device_id":"a","type":"device.humidity.measured.v1","time":"2026-01-31T12:00:00Z","data":{"percent":140}}`, `data.percent: got 140`},
	{`{"device_id":"a","type":"device.illuminance.measured.v1","time":"2026-01-31T12:00:00Z","data":{"lux":-1}}`, `data.lux: got -1`},
	{`{"device_id":"a","type":"device.temperature.measured.v1","time":"2026-01-31T12:00:00Z","data":{"celsius":1e999}}`, `data.celsius`},
	{`{"device_id":"a","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"onn":true}}`, `data.onn`},
	{`{"device_id":"a","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true},"where":"hall"}`, `where`},
	{"{\"device_id\":\"a\xff\",\"type\":\"device.power.changed.v1\",\"time\":\"2026-01-31T12:00:00Z\",\"data\":{\"on\":true}}", `UTF-8`},
	{`{"device_id":"a","type":"device.reading.measured.v1","time":"2026-01-31T12:00:00Z","data":{"quantity":"` + strings.Repeat("x", 300<<10) + `","value":1}}`, `data.quantity`},
	{`{"device_id":"a","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true},"source":"` + strings.Repeat("x", 300<<10) + `"}`, `want`},
	{strings.Repeat("x", 2<<20), `longer than 1048576 bytes`},
	{``, `empty line`},
	{"\t ", `empty line`},
	{`[]`, `malformed JSON`},
	{`not JSON`, `malformed JSON`},
	{`{"device_id":"a"} {"device_id":"a"}`, `malformed JSON`},
}

// spoil puts a bad line after every second line of a good input, and ends it in mid-line.
func spoil(good string) (input string, badAt []int, reasons []string) {
	var b strings.Builder
	lines := 0
	for i, line := range slices.Collect(strings.Lines(good)) {
		b.WriteString(line)
		lines++
		if bad := i / 2; i%2 == 1 && bad < len(badLines) {
			b.WriteString(badLines[bad].line + "\n")
			lines++
			badAt, reasons = append(badAt, lines), append(reasons, badLines[bad].reason)
		}
	}
	b.WriteString(`{"device_id":"a","type":"device.power.cha`)
	return b.String(), append(badAt, lines+1), append(reasons, "ends in mid-line")
}

func TestUp_RejectsBadLinesAndHandlesTheRest(t *testing.T) {
	t.Parallel()
	good := generate(200)
	input, badAt, reasons := spoil(good)
	folder := t.TempDir()
	done := invoke(t, input, upArgs(folder, "--input", "-", "--until-idle", "100ms")...).want(t, exitRejected)
	var got upSummary
	done.decode(t, &got)
	want := expect(good) // the bad lines leave no trace in the databases
	want.lines += len(badAt)
	want.bad = badAt
	want.checkSummary(t, got)
	want.checkHistory(t, folder)
	want.checkState(t, folder)
	for i, r := range got.Rejections {
		if i < len(reasons) && !strings.Contains(r.Reason, reasons[i]) {
			t.Errorf("line %d: got reason %.200q, want it to contain %q", r.Line, r.Reason, reasons[i])
		}
		if len(r.Reason) > 2000 {
			t.Errorf("line %d: got a reason of %d bytes, want one to read", r.Line, len(r.Reason))
		}
	}
	for i, line := range badAt {
		if i < maxWarned {
			contains(t, "standard error", done.stderr, fmt.Sprintf("rejected line %d: ", line))
		}
	}
	contains(t, "standard error", done.stderr, "rejected more lines; the summary counts them")
}

func TestUp_AllLinesBad(t *testing.T) {
	t.Parallel()
	var got upSummary
	invoke(t, strings.Repeat("rubbish\n", maxReported+50), upArgs(t.TempDir(), "--input", "-", "--until-idle", "50ms")...).want(t, exitRejected).decode(t, &got)
	if got.In != maxReported+50 || got.Rejected != got.In || len(got.Rejections) != maxReported || got.Published != 0 {
		t.Errorf("summary: got %d in, %d rejected, %d listed, %d published", got.In, got.Rejected, len(got.Rejections), got.Published)
	}
}

func TestPublish_RejectsBadLinesAndPublishesTheRest(t *testing.T) {
	t.Parallel()
	engine, endpoint := localEngine(t)
	input, badAt, reasons := spoil(generate(60))
	done := invoke(t, input, "publish", "-", "--endpoint", endpoint, "--json").want(t, exitRejected)
	var got publishSummary
	done.decode(t, &got)
	if got.In != int64(60+len(badAt)) || got.Published != 60 || got.Rejected != int64(len(badAt)) || len(got.Rejections) != len(badAt) {
		t.Errorf("summary: got %s, want 60 published and %d rejected", done.stdout, len(badAt))
	}
	for i, r := range got.Rejections {
		if r.Line != badAt[i] || !strings.Contains(r.Reason, reasons[i]) {
			t.Errorf("rejection: got line %d, %.200q, want line %d, %q", r.Line, r.Reason, badAt[i], reasons[i])
		}
	}
	for _, q := range engine.Queues() {
		if q.Name == "dev-history.fifo" && q.Visible != 60 {
			t.Errorf("dev-history.fifo: got %d messages, want 60", q.Visible)
		}
	}
	contains(t, "standard output", invoke(t, generate(7), "publish", "-", "--endpoint", endpoint).want(t, exitOK).stdout,
		"in 7, rejected 0, published 7, failed 0, in ")
}

func TestServices_WhoseDatabaseCannotBeOpened(t *testing.T) {
	t.Parallel()
	_, endpoint := localEngine(t)
	file := writeFile(t, "file", "")
	holding := func(content func(path string) error) string {
		folder := t.TempDir()
		if err := content(filepath.Join(folder, "history.db")); err != nil {
			t.Fatal(err)
		}
		return folder
	}
	const hint = "hint: --data names"
	tests := map[string]struct {
		data string
		want []string
	}{
		"the data folder is a file":      {file, []string{"data folder: mkdir " + file, hint}},
		"the data folder is in a file":   {filepath.Join(file, "data"), []string{"data folder: mkdir " + file, hint}},
		"the database is something else": {holding(func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("text ", 1000)), 0o600) }), []string{"history: database: open ", "history.db", "not a database", hint}},
		"the database is a folder":       {holding(func(path string) error { return os.Mkdir(path, 0o700) }), []string{"history: database: open ", "history.db", "is a directory", hint}},
	}
	if os.Getuid() != 0 { // root may write everywhere
		tests["the data folder is read-only"] = struct {
			data string
			want []string
		}{holding(func(path string) error { return os.Chmod(filepath.Dir(path), 0o500) }), []string{"history: database: open ", "permission denied", hint}}
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			up := invoke(t, generate(1), upArgs(test.data, "--input", "-", "--until-idle", "50ms")...).want(t, exitFailed)
			contains(t, "up", up.stderr, test.want...)
			consume := invoke(t, "", "consume", "history", "--data", test.data, "--endpoint", endpoint, "--until-idle", "50ms").want(t, exitFailed)
			contains(t, "consume", consume.stderr, test.want...)
			if up.stdout != "" || consume.stdout != "" {
				t.Errorf("standard output: got %q and %q, want nothing", up.stdout, consume.stdout)
			}
		})
	}
}

// A service starts while its database is down, and says what it waits for.
func TestConsume_StartsWhileTheDatabaseIsDown(t *testing.T) {
	t.Parallel()
	_, endpoint := localEngine(t)
	nobody := unusedAddress(t)
	done := invoke(t, "", "consume", "history", "--database", "postgres://user:secret@"+nobody+"/x", "--endpoint", endpoint, "--until-idle", "50ms").want(t, exitOK)
	contains(t, "consume", done.stderr, "what the service depends on can't be used yet", "service=history", "database: open postgres://user:", nobody, "connection refused")
	if strings.Contains(done.stderr, "secret") {
		t.Errorf("standard error: got the password in\n%s", done.stderr)
	}
}

func TestPorts_ThatAreTaken(t *testing.T) {
	t.Parallel()
	_, endpoint := localEngine(t)
	taken := strings.TrimPrefix(endpoint, "http://")
	for _, test := range []struct {
		flag string
		args []string
	}{
		{"--addr", []string{"up", "--addr", taken, "--push-addr", "127.0.0.1:0"}},
		{"--push-addr", []string{"up", "--addr", "127.0.0.1:0", "--push-addr", taken}},
		{"--addr", []string{"local", "--addr", taken}},
		{"--push-addr", []string{"consume", "push", "--push-addr", taken, "--endpoint", endpoint}},
	} {
		done := invoke(t, "", test.args...).want(t, exitFailed)
		contains(t, strings.Join(test.args, " "), done.stderr, taken+": bind: address already in use",
			"hint: something else may use the port; choose another with "+test.flag)
	}
	for _, flag := range []string{"--addr", "--push-addr"} {
		done := invoke(t, "", "up", "--addr", "127.0.0.1:0", "--push-addr", "127.0.0.1:0", flag, "nonsense").want(t, exitFailed)
		contains(t, flag, done.stderr, flag, "nonsense", "hint: "+flag+" wants HOST:PORT")
	}
}

// unusedAddress is one on which nobody listens.
func unusedAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// A database that is none is refused before anything is received, wherever it is named, and whatever was in it stays untold.
func TestDatabase_OfNoKindIsRefusedAndNotTold(t *testing.T) {
	_, endpoint := localEngine(t)
	t.Chdir(t.TempDir())
	for name, target := range map[string]string{
		"user and password": `{"username":"a","password":"SECRET"}`, "other settings": "Server=db;Password=SECRET", "half a URL": "a:SECRET@db/x",
		"a password": "SECRET", "broken URL": "postgres://a:SECRET%zz@db/x", "broken settings": "host=db password='SECRET",
	} {
		t.Setenv("FANOUT_DATABASE", target)
		commands := [][]string{
			{"consume", "history", "--endpoint", endpoint, "--until-idle", "10ms"},
			{"consume", "history", "--endpoint", endpoint, "--until-idle", "10ms", "--database", target},
			{"consume", "push", "--endpoint", endpoint, "--until-idle", "10ms", "--push-addr", "127.0.0.1:0", "--database", target},
		}
		for _, args := range commands {
			got := invoke(t, "", args...).want(t, exitFailed)
			contains(t, name+": "+args[1], got.stderr, "fanout: history: database: open ", "want sqlite:PATH")
			if strings.Contains(got.stdout+got.stderr, "SECRET") {
				t.Errorf("%s: %q: got\n%s\nwant it without the password", name, args, got.stderr)
			}
		}
	}
	if files, err := os.ReadDir("."); err != nil || len(files) > 0 {
		t.Errorf("files: got %v, %v, want none", files, err)
	}
}
