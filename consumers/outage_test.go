package consumers_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/infra/topology"
)

// outagesEnv is set to "all" to play all outages, which takes minutes. Otherwise it is a part.
const outagesEnv = "FANOUT_TEST_OUTAGES"

func allOutages() bool { return os.Getenv(outagesEnv) == "all" }

// fewOutages tells whether a few have to do.
func fewOutages() bool { return testing.Short() || underRace }

const (
	outageWarmUp  = time.Minute      // everything works so long before the outage
	outageSequel  = time.Minute      // events come so long after it
	outageWithin  = 2 * time.Minute  // all is settled so long after it
	outageRestart = 75 * time.Second // how often a process is replaced whose container check fails
	outageWork    = 20 * time.Millisecond
)

var (
	errRefused  = errors.New("connect to the database: connection refused")
	errReadOnly = errors.New("cannot execute INSERT in a read-only transaction")
	errLocked   = errors.New("database is locked")
	errPoison   = errors.New("value out of range")
)

// outageCase is one row of the table: what goes wrong, for how long and to whom.
type outageCase struct {
	lasts   time.Duration
	devices int
	restart bool   // the process is replaced every outageRestart
	fault   string // how the database fails
	check   bool   // there is a Config.Check
	poison  bool   // one in twenty events can never be handled
}

func (c outageCase) String() string {
	return fmt.Sprintf("%v/%d devices/%s/%s/%s/%s", c.lasts, c.devices, c.fault,
		either(c.restart, "restarts", "one process"), either(c.check, "check", "no check"), either(c.poison, "poison", "clean"))
}

func either(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

// mayDie is how many events of one device that are no poison may be dead-lettered.
func (c outageCase) mayDie() int {
	if c.check || c.lasts <= consumers.DefaultMaxHold {
		return 0
	}
	return int((c.lasts + consumers.DefaultMaxHold - 1) / consumers.DefaultMaxHold)
}

// outageCases are all cases, or the part of them in which every value of one column meets every value of each other, or a few.
func outageCases(all, few bool) (list []outageCase) {
	faults := []string{"refused", "read-only", "locked", "slow"}
	for o, lasts := range []time.Duration{time.Minute, 10 * time.Minute, time.Hour, 4 * time.Hour} {
		for d, devices := range []int{1, 3, 50, 500} {
			for n := range 4 * 2 * 2 * 2 {
				f, r, c, p := n%4, n/4%2, n/8%2, n/16
				first := f == o^d && r == (o+d/2)%2 && c == (o/2+d)%2 && p == (o+d)%2
				second := f == 3-o^d && r == (o+d/2+1)%2 && c == (o/2+d+1)%2 && p == (o+d)%2
				if all || first && (!few || (o+d)%3 == 0 && lasts <= time.Hour) || second && !few {
					list = append(list, outageCase{lasts: lasts, devices: devices, fault: faults[f], restart: r == 1, check: c == 1, poison: p == 1})
				}
			}
		}
	}
	return list
}

// TestOutage is what an outage of the database costs: how long it lasts, how many devices there are, whether the process is replaced all
// the while, how the database fails. Events come before it, during it and after it. With a Check no event is dead-lettered for it; without
// one at most one for each device and MaxHold. Nothing is lost, each device's events are handled in order, and two minutes after the end
// all are. Events that can never be handled, and only those, are dead letters in the end. The table is in the log.
func TestOutage(t *testing.T) {
	t.Parallel()
	all := allOutages()
	var mu sync.Mutex
	var rows []outageRow
	t.Cleanup(func() {
		slices.SortFunc(rows, func(a, b outageRow) int {
			return cmp.Or(cmp.Compare(a.lasts, b.lasts), cmp.Compare(a.devices, b.devices), strings.Compare(a.fault, b.fault), strings.Compare(a.String(), b.String()))
		})
		var out strings.Builder
		out.WriteString("\n" + outageHead)
		for _, r := range rows {
			out.WriteString(r.line())
		}
		t.Log(out.String())
	})
	for _, c := range outageCases(all, fewOutages()) {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				row := playOutage(t, c)
				mu.Lock()
				defer mu.Unlock()
				rows = append(rows, row)
			})
		})
	}
}

// outageRow is what came of a case.
type outageRow struct {
	outageCase
	sent, poisoned     int
	dead, deadPoison   int // dead letters
	untried, lost      int
	processes, retries int
	settled            time.Duration // how long after the outage the last event that was sent before its end was handled
	faults             int
}

const outageHead = "| outage | devices | database | process | check | events | poison | dead letters, poison | others | untried | lost | attempts that failed | settled after | |\n" +
	"|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n"

func (r outageRow) line() string {
	return fmt.Sprintf("| %v | %d | %s | %s | %s | %d | %d | %d | %d | %d | %d | %d | %v | %s |\n", r.lasts, r.devices, r.fault,
		either(r.restart, strconv.Itoa(r.processes)+" in turn", "one"), either(r.check, "yes", "no"), r.sent, r.poisoned, r.deadPoison, r.dead-r.deadPoison,
		r.untried, r.lost, r.retries, r.settled.Round(100*time.Millisecond), either(r.faults == 0, "ok", "**failed**"))
}

// outage is a database that goes away once, the events of the time, and what their handlers saw.
type outage struct {
	outageCase
	began, over chan struct{} // closed when the outage begins and ends

	mu      sync.Mutex // guards what follows
	sent    map[string][]string
	poison  map[string]bool
	first   map[string][]string  // by device: events in the order in which they were first handled
	handled map[string]time.Time // when they first were
	active  map[string]bool      // devices whose handlers run
	before  map[string]bool      // events that were sent before the outage ended
	failed  int
	faults  []string
}

// access is one access to the database. One that waits goes through when the outage ends.
func (o *outage) access(ctx context.Context) error {
	select {
	case <-o.began:
	default:
		return nil
	}
	select {
	case <-o.over:
		return nil
	default:
	}
	var after <-chan time.Time
	switch o.fault {
	case "refused":
		return errRefused
	case "read-only":
		return errReadOnly
	case "locked":
		after = time.After(5 * time.Second)
	}
	select {
	case <-after:
		return errLocked
	case <-o.over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o *outage) handle(ctx context.Context, e events.Event) (err error) {
	o.mu.Lock()
	if o.active[e.DeviceID] {
		o.faults = append(o.faults, fmt.Sprintf("device %s has two handlers at once", e.DeviceID))
	}
	o.active[e.DeviceID] = true
	poison := o.poison[e.ID]
	o.mu.Unlock()
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.active[e.DeviceID] = false
		switch _, again := o.handled[e.ID]; {
		case err != nil:
			o.failed++
		case !again:
			o.handled[e.ID] = time.Now()
			o.first[e.DeviceID] = append(o.first[e.DeviceID], e.ID)
		}
	}()
	if err := o.access(ctx); err != nil {
		return err
	}
	if poison {
		return errPoison
	}
	time.Sleep(outageWork)
	return o.access(ctx) // the commit
}

// send sends events from before the outage until after it, a few for each device and minute; fewer when it takes long.
func (o *outage) send(b *bench) {
	random := rand.New(rand.NewPCG(1, 2))
	whole := outageWarmUp + o.lasts + outageSequel
	gap := max(10*time.Second/time.Duration(o.devices), whole/1000) // so that the backlog of one device can be handled in time
	needsPoison := o.poison != nil
	for i := range int(whole / gap) {
		e := motion(fmt.Sprintf("d%03d", i%o.devices), fmt.Sprintf("e%05d", i))
		at := time.Duration(i) * gap
		o.mu.Lock()
		o.sent[e.DeviceID] = append(o.sent[e.DeviceID], e.ID)
		o.before[e.ID] = at < outageWarmUp+o.lasts
		// The first event of the outage that may be poison is, so that there is one in every case.
		if o.poison != nil && (random.IntN(20) == 0 || needsPoison && at > outageWarmUp+o.lasts/4) {
			o.poison[e.ID] = true
			needsPoison = needsPoison && at <= outageWarmUp
		}
		o.mu.Unlock()
		b.send(e)
		time.Sleep(gap)
	}
}

func playOutage(t *testing.T, c outageCase) outageRow {
	o := &outage{
		outageCase: c, began: make(chan struct{}), over: make(chan struct{}), sent: map[string][]string{}, first: map[string][]string{},
		handled: map[string]time.Time{}, active: map[string]bool{}, before: map[string]bool{},
	}
	if c.poison {
		o.poison = map[string]bool{}
	}
	b := newBench(t)
	b.noCheck = true
	declared := topology.Service{HandlerTimeout: consumers.DefaultHandlerTimeout}
	b.set("VisibilityTimeout", strconv.Itoa(int(declared.VisibilityTimeout()/time.Second)))
	b.maxReceives(topology.DefaultMaxReceiveCount)
	cfg := consumers.Config{}
	if c.check {
		cfg.Check = o.access
	}
	row := outageRow{outageCase: c, processes: 1}
	start := time.Now()
	_, stop := b.start(b.api, o.handle, cfg)
	var sending sync.WaitGroup
	sending.Go(func() { o.send(b) })
	time.Sleep(outageWarmUp)
	close(o.began)
	end := time.Now().Add(c.lasts)
	for next := start.Add(outageRestart); c.restart && next.Before(end); next = next.Add(outageRestart) {
		time.Sleep(time.Until(next))
		stop()
		_, stop = b.start(b.api, o.handle, cfg)
		row.processes++
	}
	time.Sleep(time.Until(end))
	end = time.Now() // the drain of the last restart may have taken longer
	close(o.over)
	sending.Wait()
	time.Sleep(time.Until(end.Add(outageWithin + o.poisonHolds())))
	if n := b.depth("test.fifo"); n > 0 {
		o.faults = append(o.faults, fmt.Sprintf("%d events are left %v after the outage", n, time.Since(end)))
		for range 60 {
			if b.depth("test.fifo") > 0 {
				time.Sleep(time.Minute)
			}
		}
	}
	stop()
	o.judge(b, &row, end)
	for i, f := range o.faults {
		if i < 10 {
			t.Error(f)
		}
	}
	row.faults = len(o.faults)
	return row
}

// poisonHolds is for how long poison may hold a device up after the outage: without a Check, MaxHold each when no other event is handled.
func (o *outage) poisonHolds() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	most := 0
	for _, list := range o.sent {
		n := 0
		for _, id := range list {
			if o.poison[id] {
				n++
			}
		}
		most = max(most, n)
	}
	if o.check {
		return 0
	}
	return time.Duration(most) * (consumers.DefaultMaxHold + time.Minute)
}

// judge compares what is left with what was to be.
func (o *outage) judge(b *bench, row *outageRow, end time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fault := func(format string, args ...any) { o.faults = append(o.faults, fmt.Sprintf(format, args...)) }
	dead := map[string]bool{}
	for _, m := range b.takeAll(b.queue.DLQURL) {
		e, err := events.Decode([]byte(aws.ToString(m.Body)))
		if err != nil {
			fault("a dead letter: %v", err)
			continue
		}
		dead[e.ID] = true
		record, err := deadletter.ParseRecord(aws.ToString(m.MessageAttributes[deadletter.Attribute].StringValue))
		if err != nil || record.Attempts == 0 {
			row.untried++
		}
	}
	if row.untried > 0 {
		fault("%d dead letters were never tried, or moved by SQS", row.untried)
	}
	row.poisoned, row.dead, row.retries = len(o.poison), len(dead), o.failed
	for id := range o.poison {
		if dead[id] {
			row.deadPoison++
		} else {
			fault("%s is poison and no dead letter", id)
		}
	}
	for device, sent := range o.sent {
		row.sent += len(sent)
		var want []string
		others := 0
		for _, id := range sent {
			if dead[id] && !o.poison[id] {
				others++
			}
			at, handled := o.handled[id]
			switch {
			case handled && o.before[id]:
				row.settled = max(row.settled, at.Sub(end))
			case !handled && !dead[id]:
				row.lost++
			}
			if !dead[id] {
				want = append(want, id)
			}
		}
		if others > o.mayDie() {
			fault("device %s: %d dead letters that are no poison, want at most %d", device, others, o.mayDie())
		}
		got := slices.DeleteFunc(slices.Clone(o.first[device]), func(id string) bool { return dead[id] })
		if !slices.Equal(got, want) {
			fault("device %s: handled %s", device, differs(got, want))
		}
	}
	if row.lost > 0 {
		fault("%d events are lost", row.lost)
	}
	if row.settled > outageWithin && (o.check || o.poison == nil) {
		fault("the last event from before the end was handled %v after it, want %v", row.settled, outageWithin)
	}
}

// TestOutage_DevicesThatFailStopNoOthers: for ten minutes 35 of 60 devices fail, each in its way or all in the same one, which is more than
// there are slots. They begin to one after the other, or all at once with many events of theirs waiting and few of the others coming. 99 of
// 100 events of the others start within two seconds, those before them aside, and all of them are handled in order. What a Check says
// changes nothing about that.
func TestOutage_DevicesThatFailStopNoOthers(t *testing.T) {
	t.Parallel()
	all := allOutages()
	for _, way := range []string{"each", "each, with a backlog", "timeout", "error", "error, with a backlog", "panic", "later"} {
		if !all && !strings.HasPrefix(way, "each") && way != "timeout" {
			continue
		}
		for name, check := range map[string]func(context.Context) error{
			"no check": nil, "check passes": func(context.Context) error { return nil }, "check fails": func(context.Context) error { return errRefused },
		} {
			if !all && fewOutages() && (way == "each" || (name == "check fails") != (way == "timeout")) {
				continue
			}
			t.Run(way+"/"+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { playFailingDevices(t, way, check) })
			})
		}
	}
}

// differs tells in a few words how two lists of events do.
func differs(got, want []string) string {
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	some := func(list []string) []string { return list[min(at, len(list)):min(at+5, len(list))] }
	return fmt.Sprintf("%d events, want %d; from the %dth on %v, want %v", len(got), len(want), at+1, some(got), some(want))
}

func playFailingDevices(t *testing.T, way string, check func(context.Context) error) {
	const (
		devices, failing = 60, 35
		every            = 5 * time.Second // a device's events
		apart            = 2 * time.Second // devices begin to fail
	)
	lasts := 10 * time.Minute
	if fewOutages() {
		lasts = 3 * time.Minute
	}
	way, backlog := strings.CutSuffix(way, ", with a backlog")
	b := newBench(t)
	b.noCheck = true
	b.maxReceives(topology.DefaultMaxReceiveCount)
	var mu sync.Mutex
	var start time.Time
	mended := false
	sent := map[string]time.Time{}
	order := map[string][]string{} // by device
	tried := map[string]bool{}
	handled := map[string][]string{} // by device, without repeats
	done := map[string]bool{}
	free := map[string]time.Time{} // by device: when the handler before ended
	var waits []time.Duration
	handle := func(ctx context.Context, e events.Event) error {
		n, err := strconv.Atoi(e.DeviceID[1:])
		if err != nil {
			return err
		}
		mu.Lock()
		fails := n < failing && !mended && (backlog || time.Since(start) > time.Duration(n)*apart)
		if n >= failing && !tried[e.ID] {
			since := sent[e.ID]
			if free[e.DeviceID].After(since) {
				since = free[e.DeviceID]
			}
			waits = append(waits, time.Since(since))
		}
		tried[e.ID] = true
		mu.Unlock()
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			free[e.DeviceID] = time.Now()
		}()
		how := way
		if way == "each" {
			how = []string{"error", "panic", "timeout", "later"}[n%4]
		}
		if fails {
			switch how {
			case "error":
				return fmt.Errorf("device %d: %w", n, errRefused)
			case "panic":
				panic("nil map")
			case "timeout":
				<-ctx.Done()
				return ctx.Err()
			case "later":
				return consumers.RetryAfter(time.Duration(1+n)*time.Second, errRefused)
			}
		}
		time.Sleep(outageWork)
		mu.Lock()
		defer mu.Unlock()
		if !done[e.ID] {
			done[e.ID] = true
			handled[e.DeviceID] = append(handled[e.DeviceID], e.ID)
		}
		return nil
	}
	count := 0
	send := func(device int) {
		e := motion(fmt.Sprintf("d%02d", device), fmt.Sprintf("e%05d", count))
		count++
		mu.Lock()
		sent[e.ID] = time.Now()
		order[e.DeviceID] = append(order[e.DeviceID], e.ID)
		mu.Unlock()
		b.send(e)
	}
	if backlog {
		for i := range failing * 40 {
			send(i % failing)
		}
	}
	start = time.Now()
	if fails := check; fails != nil { // it passes when the process starts
		check = func(ctx context.Context) error {
			if time.Since(start) < time.Second {
				return nil
			}
			return fails(ctx)
		}
	}
	_, stop := b.start(b.api, handle, consumers.Config{Check: check})
	for i := range int(lasts/every) * devices {
		// With a backlog the others have an event in twenty seconds.
		if device := i * 7 % devices; !backlog || device < failing || i/devices%4 == 0 {
			send(device)
		}
		time.Sleep(every / devices)
	}
	time.Sleep(2 * time.Second)
	mu.Lock()
	for n := failing; n < devices; n++ {
		d := fmt.Sprintf("d%02d", n)
		if !slices.Equal(handled[d], order[d]) {
			t.Errorf("device %s: handled %s", d, differs(handled[d], order[d]))
		}
	}
	if slices.Sort(waits); len(waits) == 0 {
		waits = []time.Duration{lasts}
	}
	if p99 := waits[len(waits)*99/100]; p99 > 2*time.Second {
		t.Errorf("99 of 100 events of the other devices waited up to %v (at most %v), want 2s", p99, waits[len(waits)-1])
	}
	t.Logf("%d events of the other devices waited p50 %v, p99 %v, at most %v", len(waits), waits[len(waits)/2], waits[len(waits)*99/100], waits[len(waits)-1])
	mended = true
	mu.Unlock()
	for range 60 {
		if b.depth("test.fifo") > 0 {
			time.Sleep(time.Minute)
		}
	}
	stop()
	dead := map[string]bool{}
	for _, m := range b.takeAll(b.queue.DLQURL) {
		e, err := events.Decode([]byte(aws.ToString(m.Body)))
		if err != nil {
			t.Error(err)
		}
		dead[e.ID] = true
	}
	mu.Lock()
	defer mu.Unlock()
	for d, want := range order {
		alive := func(list []string) []string {
			return slices.DeleteFunc(slices.Clone(list), func(id string) bool { return dead[id] })
		}
		if got, want := alive(handled[d]), alive(want); !slices.Equal(got, want) {
			t.Errorf("device %s: handled %s", d, differs(got, want))
		}
	}
	for id := range dead {
		if !tried[id] {
			t.Errorf("%s was dead-lettered untried", id)
		}
	}
}
