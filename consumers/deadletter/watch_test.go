package deadletter_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/device-fanout/fanout/consumers/deadletter"
)

func rules(t *testing.T, text string) []deadletter.Rule {
	t.Helper()
	list, err := deadletter.ParseRules(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestParseRules(t *testing.T) {
	t.Parallel()
	got := rules(t, "# all\n\n redrive code=timeout after=1m times=5 # soon\r\nleave service=history class=known text=\"no \\\"room\\\" # 7\"\nredrive\n")
	want := []deadletter.Rule{
		{Filter: deadletter.Filter{Code: "timeout"}, After: time.Minute, Times: 5},
		{Leave: true, Service: "history", Filter: deadletter.Filter{Class: deadletter.Known, Text: `no "room" # 7`}},
		{After: 10 * time.Minute, Times: 3},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for text, want := range map[string]string{
		"":                              "line 1, column 1: there is no rule",
		"\n redirve code=x":             `line 2, column 2: got "redirve", want redrive or leave`,
		"redrive code":                  `line 1, column 9: got "code", want a condition`,
		"redrive code= x":               "line 1, column 14: code has no value",
		"redrive cod=x":                 `line 1, column 9: no such condition: "cod"; there are service`,
		"redrive code=ä code=b":         "line 1, column 16: code is given twice",
		"redrive after=soon":            `line 1, column 15: after: got "soon", want a duration`,
		"redrive after=1ms":             `line 1, column 15: after: got "1ms"`,
		"redrive times=0":               `line 1, column 15: times: got "0", want a number from 1 to 20`,
		"leave times=3":                 "line 1, column 7: no such condition for leave: times",
		"redrive class=bad":             `line 1, column 15: class: got "bad", want known, exhausted`,
		"redrive fingerprint=xyz":       `line 1, column 21: fingerprint: got "xyz"`,
		`redrive text="no end`:          "line 1, column 14: the quote does not end",
		"redrive x=1\nleave\nredrive y": "line 3, column 9",
	} {
		_, err := deadletter.ParseRules(strings.NewReader(text))
		var fault *deadletter.RuleError
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

// TestWatch_AConsumersClockIsAhead: its dead letters are redriven in the time that the rule says.
func TestWatch_AConsumersClockIsAhead(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{-time.Hour, 0, time.Second, time.Hour, 100 * 365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			r := record("timeout")
			r.FailedAt = r.FailedAt.Add(ahead)
			b.bury("d1", "e1", r)
			time.Sleep(10*time.Minute + 2*time.Second)
			sum, err := deadletter.Watch(t.Context(), b.api, b.from, rules(t, "redrive code=timeout after=10m"), deadletter.Config{})
			if err != nil || sum.Summary.Moved != 1 {
				t.Errorf("%v ahead: got %+v, %v, want it redriven", ahead, sum, err)
			}
		})
	}
}

func TestWatch_LeavesWhatNamesAnotherQueue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		r := record("timeout")
		r.Queue = "arn:aws:sqs:eu-central-1:000000000000:victim.fifo"
		b.bury("d1", "e1", r)
		time.Sleep(time.Hour)
		round, err := deadletter.Watch(t.Context(), b.api, b.from, rules(t, "redrive code=timeout after=10m"), deadletter.Config{})
		if err != nil || round.Left != 1 || round.Due != 0 || round.Summary.Failed != 0 {
			t.Errorf("got %+v, %v, want it left, round after round, and no failure", round, err)
		}
	})
}

func FuzzParseRules(f *testing.F) {
	f.Add("redrive code=timeout after=10m times=3\nleave text=\"a b\" # c\n")
	f.Add("redrive text=\"\\xff\"")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := deadletter.ParseRules(strings.NewReader(text))
		if err == nil && len(rules) == 0 {
			t.Error("got neither rules nor an error")
		}
		for _, r := range rules {
			if !r.Leave && (r.After <= 0 || r.Times <= 0) {
				t.Errorf("got %+v", r)
			}
		}
	})
}

// watched is a queue whose consumer fails at once as long as broken is true.
func (b *bench) watched(broken *bool) *meddler {
	api := &meddler{QueueAPI: b.api}
	api.afterSend = func(in *sqs.SendMessageInput) error {
		if !*broken || aws.ToString(in.QueueUrl) != b.queue {
			return nil
		}
		for _, m := range b.takeAll(b.queue) {
			r, err := deadletter.ParseRecord(aws.ToString(m.MessageAttributes[deadletter.Attribute].StringValue))
			if err != nil {
				return err
			}
			r.FailedAt = time.Now().UTC()
			m.MessageAttributes[deadletter.Attribute] = text(r.Encode())
			b.send(b.dlq, m.Attributes["MessageGroupId"], aws.ToString(m.MessageId), aws.ToString(m.Body), m.MessageAttributes)
		}
		return nil
	}
	return api
}

// TestWatch_RedrivesByRules after their time, as often as they say, and leaves the rest.
func TestWatch_RedrivesByRules(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		for i := range 30 {
			b.bury(fmt.Sprintf("d%d", i%3), fmt.Sprintf("e%02d", i), record([]string{"timeout", "invalid", "other"}[i/3%3]))
		}
		list := rules(t, "redrive code=timeout after=10m times=3\nleave code=invalid\nredrive service=push code=other\n")
		broken := true
		api := b.watched(&broken)
		round := func() deadletter.Round {
			t.Helper()
			j, err := deadletter.OpenJournal(path, b.dlq)
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			got, err := deadletter.Watch(t.Context(), struct {
				deadletter.QueueAPI
				deadletter.DepthAPI
			}{api, b.api}, b.from, list, deadletter.Config{Journal: j})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		if got := round(); got.Due != 0 || got.Waiting != 12 || got.Left != 18 {
			t.Errorf("before the time: got %+v", got)
		}
		// Each relapse doubles the wait: 10, 20, 40 minutes. The third redrive is the last.
		start := time.Now()
		var at []time.Duration
		for range 200 {
			time.Sleep(time.Minute)
			if got := round(); got.Summary.Moved > 0 {
				if got.Summary.Moved != 12 {
					t.Errorf("got %+v, want all 12 moved", got)
				}
				at = append(at, time.Since(start).Truncate(10*time.Minute))
			}
		}
		if want := []time.Duration{10 * time.Minute, 30 * time.Minute, 70 * time.Minute}; !slices.Equal(at, want) {
			t.Errorf("redriven after %v, want after %v", at, want)
		}
		got := round()
		if got.Due != 0 || got.Spent != 12 || len(got.Stopped) != 1 {
			t.Errorf("at last: got %+v, want them left for a person", got)
		}
		// New ones of the same fingerprint are not tried either: the cause is not fixed.
		b.bury("d9", "new", record("timeout"))
		time.Sleep(time.Hour)
		if got := round(); got.Due != 0 || got.Spent != 13 {
			t.Errorf("a new one: got %+v, want it left for a person too", got)
		}
		broken = false
		sum, _ := b.redrive(b.api, deadletter.Filter{Code: "timeout"}) // the person
		if sum.Moved != 13 {
			t.Errorf("got %+v", sum)
		}
		b.bury("d9", "newer", record("timeout"))
		time.Sleep(11 * time.Minute)
		if got := round(); got.Due != 1 || got.Summary.Moved != 1 {
			t.Errorf("once mended: got %+v, want it redriven", got)
		}
		b.nothingHidden(18)
	})
}
