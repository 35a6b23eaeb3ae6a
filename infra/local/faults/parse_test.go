package faults_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/device-fanout/fanout/infra/local/faults"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const text = `[
  {"kind": "fail_entry", "action": "PublishBatch", "resource": "t.fifo", "group": "lamp-1", "entry": 2, "entry_id": "x",
   "code": "Throttled", "sender_fault": true, "count": 3, "probability": 0.5, "seed": 18446744073709551615},
  {"kind": "delay", "delay": "20ms", "delay_p99": "1.5s"},
  {"kind": "redeliver"},
  {"kind": "throttle", "rate": 2.5, "after": "1m", "for": "10s"}
]
`
	want := []faults.Rule{
		{
			Kind: faults.FailEntry, Action: "PublishBatch", Resource: "t.fifo", Group: "lamp-1", Entry: 2, EntryID: "x",
			Code: "Throttled", SenderFault: true, Count: 3, Probability: 0.5, Seed: 1<<64 - 1,
		},
		{Kind: faults.Delay, Delay: 20 * time.Millisecond, DelayP99: 1500 * time.Millisecond},
		{Kind: faults.Redeliver},
		{Kind: faults.Throttle, Rate: 2.5, After: time.Minute, For: 10 * time.Second},
	}
	got, err := faults.Parse(strings.NewReader(text))
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	if got, err := faults.Parse(strings.NewReader(" [ ] ")); err != nil || len(got) != 0 {
		t.Errorf("an empty list: got %v, %v", got, err)
	}
}

func TestParse_Errors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{``, `line 1: the file breaks off`},
		{`{}`, `line 1: got {, want a list of rules`},
		{"[\n{\"kind\":\"throttle\"},\n{\"kind\":\"delay\",\n\"delay\":\"soon\"}]", `line 4: rule 2: field "delay": got "soon", want a duration such as "20ms"`},
		{"[\n{\"kind\":\"x\"}]", `line 2: rule 1: field "kind": got "x", want one of close_connection, delay, drop_reply, error_500, expire_visibility, fail_entry, redeliver, throttle`},
		{"[\n\n{}]", `line 3: rule 1: field "kind": missing, want one of`},
		{"[{\"kind\":\"throttle\",\n\"colour\":1}]", `line 2: rule 1: field "colour": unknown, want one of action, after, code,`},
		{"[{\"kind\":\"throttle\",\n\"kind\":\"delay\"}]", `line 2: rule 1: field "kind": given twice`},
		{`[{"kind":"throttle","count":-1}]`, `field "count": got -1, want 0 or more`},
		{`[{"kind":"throttle","count":1.5}]`, `field "count": got 1.5, want an integer`},
		{`[{"kind":"throttle","count":null}]`, `field "count": got null, want an integer`},
		{`[{"kind":"throttle","group":7}]`, `field "group": got 7, want a string`},
		{`[{"kind":"throttle","seed":-1}]`, `field "seed": got -1, want an integer from 0`},
		{`[{"kind":"throttle","probability":1.1}]`, `field "probability": got 1.1, want 0 to 1`},
		{`[{"kind":"throttle","delay":"1s"}]`, `field "delay": has no effect on the kind throttle`},
		{`[{"kind":"delay","code":"x","delay":"1s"}]`, `field "code": has no effect on the kind delay`},
		{`[{"kind":"throttle","rate":-1}]`, `field "rate": got -1, want 0 or more`},
		{`[{"kind":"error_500","rate":1}]`, `field "rate": has no effect on the kind error_500`},
		{`[{"kind":"throttle","after":"-1s"}]`, `field "after": got -1s, want 0 or more`},
		{`[{"kind":"throttle","for":"-1s"}]`, `field "for": got -1s, want more than 0`},
		{`[{"kind":"delay"}]`, `field "delay": got 0s, want more than 0`},
		{`[{"kind":"delay","delay":"2s","delay_p99":"1s"}]`, `field "delay_p99": got 1s, want at least the delay, 2s`},
		{`[{"kind":"fail_entry","entry":-1}]`, `field "entry": got -1, want 1 or more`},
		{`[1]`, `line 1: rule 1: got 1, want a rule, which is an object`},
		{"[{\"kind\":\"throttle\"}\n", `line 2: the file breaks off`},
		{"[{\"kind\":\n\"throttle\",}]", `line 2: rule 1: `},
		{`[] []`, `line 1: there is something behind the list of rules`},
		{strings.Repeat(" ", 1<<20) + "[]", "the file is longer than 1048576 bytes"},
	} {
		_, err := faults.Parse(strings.NewReader(c.text))
		var wrong *faults.ParseError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q:\ngot  %v\nwant %s", c.text, err, c.want)
		}
	}
	if _, err := faults.Parse(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want the error of the reader", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[]")
	f.Add(`[{"kind":"fail_entry","group":"g","entry":1,"count":2},{"kind":"delay","delay":"1s","delay_p99":"2s"}]`)
	f.Add("[{\"kind\":\n\"throttle\",}]")
	f.Add(`[{"kind":"throttle","seed":1e3}]`)
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := faults.Parse(strings.NewReader(text))
		if err != nil {
			wrong, ok := errors.AsType[*faults.ParseError](err)
			if !ok || wrong.Line < 1 || wrong.Line > 1+strings.Count(text, "\n") {
				t.Fatalf("got %v, want a line of the text", err)
			}
			return
		}
		var set faults.Set
		for _, r := range rules {
			if r.Kind.String() == "unknown" {
				t.Fatalf("rule %+v has no kind", r)
			}
			set.Add(r)
		}
		for range 3 {
			set.Judge(faults.Request{Service: "sns", Action: "PublishBatch", Entries: []faults.Entry{{ID: "a", Group: "g"}}, Batch: true})
		}
	})
}

func TestDelay_FollowsItsProfile(t *testing.T) {
	t.Parallel()
	var set faults.Set
	const p50, p99 = 20 * time.Millisecond, 400 * time.Millisecond
	set.Add(faults.Rule{Kind: faults.Delay, Delay: p50, DelayP99: p99, Seed: 1})
	const n = 10_000
	below50, below99 := 0, 0
	for range n {
		d := set.Judge(faults.Request{}).Delay
		if d <= 0 {
			t.Fatalf("delay of %v", d)
		}
		if d <= p50 {
			below50++
		}
		if d <= p99 {
			below99++
		}
	}
	if below50 < n*48/100 || below50 > n*52/100 || below99 < n*985/1000 || below99 > n*995/1000 {
		t.Errorf("of %d delays %d are up to p50 and %d up to p99", n, below50, below99)
	}
}
