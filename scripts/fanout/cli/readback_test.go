package cli

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // reads the services' databases from outside
)

// entry is an input line or a database row. Lines are read here by encoding/json alone, and databases by database/sql alone, so
// that the code under test has no say in what is right.
type entry struct {
	ID       string          `json:"id"`
	Source   string          `json:"source"`
	DeviceID string          `json:"device_id"`
	Type     string          `json:"type"`
	Time     time.Time       `json:"time"`
	Data     json.RawMessage `json:"data"`
	line     int
}

func (e entry) String() string {
	return fmt.Sprintf("%s of %s at %s: %s", e.Type, e.DeviceID, e.Time.Format(time.RFC3339Nano), e.Data)
}

// same tells whether two entries are the same event, but for an ID that the input did not give.
func (e entry) same(other entry) bool {
	return e.DeviceID == other.DeviceID && e.Type == other.Type && e.Time.Equal(other.Time) && sameJSON(e.Data, other.Data) &&
		(e.ID == "" || other.ID == "" || e.ID == other.ID)
}

func sameJSON(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// expectation is what must come of an input.
type expectation struct {
	lines    int
	bad      []int // numbers of the lines that are no JSON
	good     int
	events   []entry // one for each identity, the first line that has it
	byType   map[string]int
	byDevice map[string][]entry
}

// pushed is how many events are for push.
func (x expectation) pushed() int {
	n := 0
	for eventType, count := range x.byType {
		if forPush(eventType) {
			n += count
		}
	}
	return n
}

// forPush says in words of its own what push hears.
func forPush(eventType string) bool {
	switch eventType {
	case "device.power.changed.v1", "device.motion.changed.v1", "device.contact.changed.v1", "device.connectivity.changed.v1":
		return true
	}
	return false
}

func expect(input string) expectation {
	x := expectation{byType: map[string]int{}, byDevice: map[string][]entry{}}
	seen := map[[3]string]bool{}
	for line := range strings.Lines(input) {
		x.lines++
		e := entry{line: x.lines}
		if json.Unmarshal([]byte(line), &e) != nil {
			x.bad = append(x.bad, x.lines)
			continue
		}
		x.good++
		id := [3]string{e.Source, e.DeviceID, e.ID}
		if e.ID != "" && seen[id] {
			continue
		}
		seen[id] = true
		x.events = append(x.events, e)
		x.byType[e.Type]++
		x.byDevice[e.DeviceID] = append(x.byDevice[e.DeviceID], e)
	}
	return x
}

func openDatabase(t *testing.T, folder, service string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(folder, service+".db"))+"?_pragma=busy_timeout(10000)&_pragma=query_only(1)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// rows reads a table into entries.
func rows(t *testing.T, db *sql.DB, query string) []entry {
	t.Helper()
	found, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	var all []entry
	for found.Next() {
		var e entry
		var at string
		if err := found.Scan(&e.ID, &e.DeviceID, &e.Type, &at, (*[]byte)(&e.Data)); err != nil {
			t.Fatal(err)
		}
		if e.Time, err = time.Parse(time.RFC3339Nano, at); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

const historyQuery = `SELECT event_id, device_id, type, time, data FROM event_history ORDER BY position`

// checkHistory reads history.db back: every event of the input has one row, and those of a device stand in the input's order.
func (x expectation) checkHistory(t *testing.T, folder string) {
	t.Helper()
	for _, fault := range x.historyFaults(rows(t, openDatabase(t, folder, "history"), historyQuery)) {
		t.Error(fault)
	}
}

func (x expectation) historyFaults(got []entry) (faults []string) {
	fault := func(format string, args ...any) {
		if len(faults) < 10 {
			faults = append(faults, "event_history: "+fmt.Sprintf(format, args...))
		}
	}
	if len(got) != len(x.events) {
		fault("got %d rows, want %d", len(got), len(x.events))
	}
	ids := map[string]bool{}
	next := map[string]int{}
	for i, row := range got {
		if ids[row.ID] {
			fault("row %d: event %s stands there twice", i+1, row.ID)
		}
		ids[row.ID] = true
		device := x.byDevice[row.DeviceID]
		n := next[row.DeviceID]
		next[row.DeviceID]++
		switch {
		case n >= len(device):
			fault("row %d: got %v, want no more of %s than its %d events", i+1, row, row.DeviceID, len(device))
		case !device[n].same(row):
			fault("row %d: got %v, want line %d, %v", i+1, row, device[n].line, device[n])
		}
	}
	for device, events := range x.byDevice {
		if next[device] < len(events) {
			fault("device %s: got %d rows, want %d", device, next[device], len(events))
		}
	}
	return faults
}

// checkState reads state.db back: for each device and type the event with the latest time, of those the last line.
func (x expectation) checkState(t *testing.T, folder string) {
	t.Helper()
	type key struct{ device, eventType string }
	want := map[key]entry{}
	for _, e := range x.events {
		k := key{e.DeviceID, e.Type}
		if last, ok := want[k]; !ok || !e.Time.Before(last.Time) {
			want[k] = e
		}
	}
	got := rows(t, openDatabase(t, folder, "state"), `SELECT event_id, device_id, type, time, data FROM device_state`)
	if len(got) != len(want) {
		t.Errorf("device_state: got %d rows, want %d", len(got), len(want))
	}
	for _, row := range got {
		if w := want[key{row.DeviceID, row.Type}]; !w.same(row) {
			t.Errorf("device_state: got %v, want line %d, %v", row, w.line, w)
		}
	}
}

// checkSummary compares what up says of itself with the input.
func (x expectation) checkSummary(t *testing.T, s upSummary) {
	t.Helper()
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"in", s.In, x.lines},
		{"rejected", s.Rejected, len(x.bad)},
		{"published", s.Published, x.good},
		{"handled", s.Handled, map[string]int{"history": len(x.events), "state": len(x.events), "push": x.pushed()}},
		{"dead_lettered", s.DeadLettered, map[string]int{"history": 0, "state": 0, "push": 0}},
		{"order_violations", s.OrderViolations, 0},
		{"lost", s.Lost, 0},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("summary: %s: got %v, want %v", c.name, c.got, c.want)
		}
	}
	var lines []int
	for _, r := range s.Rejections {
		lines = append(lines, r.Line)
		if r.Reason == "" {
			t.Errorf("summary: line %d is rejected without a reason", r.Line)
		}
	}
	if !slices.Equal(lines, x.bad) {
		t.Errorf("summary: rejected lines: got %v, want %v", lines, x.bad)
	}
	if s.Seconds <= 0 || s.EventsPerSecond <= 0 || s.LatencyMS.P50 <= 0 || s.LatencyMS.P99 < s.LatencyMS.P50 {
		t.Errorf("summary: got %v s, %v events/s, latency %+v, want positive figures", s.Seconds, s.EventsPerSecond, s.LatencyMS)
	}
	for _, action := range []string{"sns.PublishBatch", "sqs.ReceiveMessage", "sqs.DeleteMessageBatch"} {
		if s.Requests[action] == 0 {
			t.Errorf("summary: requests: got no %s in %v", action, s.Requests)
		}
	}
}

// upSummary is the summary as another program would read it.
type upSummary struct {
	In         int `json:"in"`
	Rejected   int `json:"rejected"`
	Rejections []struct {
		Line   int    `json:"line"`
		Reason string `json:"reason"`
	} `json:"rejections"`
	Published       int            `json:"published"`
	Handled         map[string]int `json:"handled"`
	Reused          int            `json:"reused"`
	DeadLettered    map[string]int `json:"dead_lettered"`
	Redelivered     int            `json:"redelivered"`
	OrderViolations int            `json:"order_violations"`
	Lost            int            `json:"lost"`
	Seconds         float64        `json:"seconds"`
	EventsPerSecond float64        `json:"events_per_second"`
	BatchFill       float64        `json:"batch_fill"`
	Requests        map[string]int `json:"requests"`
	LatencyMS       struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	} `json:"latency_ms"`
	MemoryBytes int64 `json:"memory_bytes"`
}

// generate makes n input lines that are hard to keep in order: a few devices have most of them, thousands share a second, and
// doors and lamps toggle within it. Every seventh line names an ID, and every tenth a source.
func generate(n int) string {
	random := rand.New(rand.NewPCG(7, 11))
	start := time.Date(2026, 3, 29, 0, 59, 58, 0, time.UTC)
	var b strings.Builder
	states := map[string]bool{}
	for i := range n {
		device := fmt.Sprintf("device-%02d", int(40*random.Float64()*random.Float64()*random.Float64()))
		kind, data := "", ""
		switch pick := random.IntN(10); {
		case pick < 7:
			kind = []string{"motion.changed", "contact.changed", "power.changed"}[int(device[len(device)-1])%3]
			states[device] = !states[device]
			field := map[string]string{"motion.changed": "detected", "contact.changed": "open", "power.changed": "on"}[kind]
			data = fmt.Sprintf(`{"%s":%t}`, field, states[device])
		case pick < 9:
			kind, data = "temperature.measured", fmt.Sprintf(`{"celsius":%.2f}`, 15+10*random.Float64())
		default:
			kind, data = "reading.measured", fmt.Sprintf(`{"quantity":"raw","value":%d}`, random.IntN(256))
		}
		extra := ""
		if i%7 == 0 {
			extra += fmt.Sprintf(`"id":"frame-%d",`, i)
		}
		if i%10 == 0 {
			extra += `"source":"gateway/hall",`
		}
		at := start.Add(time.Duration(i*4/n) * time.Second).Format(time.RFC3339)
		fmt.Fprintf(&b, `{%s"device_id":"%s","type":"device.%s.v1","time":"%s","data":%s}`+"\n", extra, device, kind, at, data)
	}
	return b.String()
}
