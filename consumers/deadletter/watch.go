package deadletter

import (
	"context"
	"slices"
	"time"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

// AtOnce is how soon after its redrive an event must fail again for the cause to count as still there.
const AtOnce = time.Minute

// Round is what one round of a watch found and did.
type Round struct {
	Summary Summary  `json:"summary"` // of the redrive, if messages were due
	Due     int      `json:"due"`     // messages that were seen and are due
	Waiting int      `json:"waiting"` // messages that will be due
	Left    int      `json:"left"`    // messages without a rule, with one that leaves them, or that name another queue
	Spent   int      `json:"spent"`   // messages that were redriven as often as their rule allows
	Stopped []string `json:"stopped"` // fingerprints whose redriven events failed again at once as often as their rule allows
}

// Watch looks at a dead-letter queue once and redrives what is due by the rules. Its only state is in the records, so it may run in a loop
// or from a timer, and in several places, though only one at a time.
//
// A message is due when the time of its rule has passed since its failure, doubled for each redrive before. Where a redriven event
// failed again within [AtOnce], the cause is still there: all messages with its fingerprint wait as long as that one, and once it has been
// redriven as often as its rule allows, all of them are left for a person.
func Watch(ctx context.Context, api interface {
	QueueAPI
	DepthAPI
}, from Source, rules []Rule, cfg Config,
) (Round, error) {
	w := &watch{from: from, rules: rules, now: time.Now(), relapses: map[string]relapse{}}
	var seen []*Message
	_, err := Look(ctx, api, from, Filter{}, func(m *Message) {
		seen = append(seen, m)
		w.note(m)
	})
	if err != nil {
		return Round{}, err
	}
	var round Round
	for _, m := range seen {
		switch w.state(m) {
		case due:
			round.Due++
		case waits:
			round.Waiting++
		case spent:
			round.Spent++
		case stopped:
			round.Spent++
			if !slices.Contains(round.Stopped, m.Record.Fingerprint) {
				round.Stopped = append(round.Stopped, m.Record.Fingerprint)
			}
		default:
			round.Left++
		}
	}
	if round.Due == 0 && !cfg.Journal.isOpen() {
		return round, nil
	}
	cfg.Filter, cfg.Select = Filter{}, func(m *Message) bool { return w.state(m) == due }
	round.Summary, err = Redrive(ctx, api, from, cfg)
	return round, err
}

type state int

// What is to be done with a message: nothing, or a redrive, now or later.
const (
	left state = iota
	due
	waits
	spent
	stopped
)

// relapse is the last failure of a fingerprint that came at once after a redrive.
type relapse struct {
	at       time.Time
	redrives int
}

type watch struct {
	from     Source
	rules    []Rule
	now      time.Time
	relapses map[string]relapse // by fingerprint; not changed after all messages were noted
}

func (w *watch) note(m *Message) {
	r := m.Record
	if r.Redrives == 0 || r.RedrivenAt.IsZero() || r.FailedAt.Sub(r.RedrivenAt) > AtOnce {
		return
	}
	if before := w.relapses[r.Fingerprint]; r.FailedAt.After(before.at) {
		w.relapses[r.Fingerprint] = relapse{r.FailedAt, r.Redrives}
	}
}

func (w *watch) state(m *Message) state {
	rule := w.rule(m)
	if rule == nil || rule.Leave || m.Record.Class == Parked || w.from.Foreign(m) != "" { // a parked device is released as a whole
		return left
	}
	last, relapsed := w.relapses[m.Record.Fingerprint]
	switch {
	case relapsed && last.redrives >= rule.Times:
		return stopped
	case m.Record.Redrives >= rule.Times:
		return spent
	case !m.counts(): // no room for a record: its redrives can't be counted
		return left
	case w.now.Before(m.Record.FailedAt.Add(backoff(rule.After, m.Record.Redrives))),
		relapsed && w.now.Before(last.at.Add(backoff(rule.After, last.redrives))):
		return waits
	}
	return due
}

func (w *watch) rule(m *Message) *Rule {
	for i := range w.rules {
		if r := &w.rules[i]; (r.Service == "" || r.Service == w.from.Service) && r.Filter.Matches(m, w.now) {
			return r
		}
	}
	return nil
}

// backoff doubles with each redrive, up to a week.
func backoff(after time.Duration, redrives int) time.Duration {
	return awsx.Backoff{First: after, Most: maxAfter}.Doubled(redrives + 1)
}
