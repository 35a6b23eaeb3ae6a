package deadletter

import (
	"context"
	"slices"
	"time"

	awsx "github.com/device-fanout/fanout/internal/aws"
)

// AtOnce is how soon after its redrive an event must fail again for its failure to count as not mended.
const AtOnce = time.Minute

// Round is what one round of a watch did with a dead-letter queue.
type Round struct {
	Summary Summary  `json:"summary"` // of the redrive, if anything was due
	Due     int      `json:"due"`     // of the letters that could be seen
	Waiting int      `json:"waiting"` // they will be due
	Left    int      `json:"left"`    // no rule is for them, or one that leaves them
	Spent   int      `json:"spent"`   // they were redriven as often as their rule allows
	Stopped []string `json:"stopped"` // fingerprints whose redriven events failed again at once as often as their rule allows
}

// Watch looks at a dead-letter queue once and redrives what is due by the rules. It keeps no state but what stands in the records,
// so it may run in a process that goes on, or now and then from a timer, in one place or several after one another.
//
// A letter is due when the time of its rule has passed since its failure, doubled for each redrive before. Where a redriven event
// failed again within [AtOnce], the cause is not mended: all letters with its fingerprint wait as long as that one, and once it has
// been redriven as often as its rule allows, they are all left for a person.
func Watch(ctx context.Context, api interface {
	QueueAPI
	DepthAPI
}, from Source, rules []Rule, cfg Config,
) (Round, error) {
	w := &watch{from: from, rules: rules, now: time.Now(), relapses: map[string]relapse{}}
	var seen []*Message
	_, err := Look(ctx, api, from, Filter{}, func(l *Message) {
		seen = append(seen, l)
		w.note(l)
	})
	if err != nil {
		return Round{}, err
	}
	var round Round
	for _, l := range seen {
		switch w.decide(l) {
		case due:
			round.Due++
		case waits:
			round.Waiting++
		case spent:
			round.Spent++
		case stopped:
			round.Spent++
			if !slices.Contains(round.Stopped, l.Record.Fingerprint) {
				round.Stopped = append(round.Stopped, l.Record.Fingerprint)
			}
		default:
			round.Left++
		}
	}
	if round.Due == 0 && !cfg.Journal.isOpen() {
		return round, nil
	}
	cfg.Filter, cfg.Select = Filter{}, func(l *Message) bool { return w.decide(l) == due }
	round.Summary, err = Redrive(ctx, api, from, cfg)
	return round, err
}

type decision int

const (
	left decision = iota
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
	relapses map[string]relapse // by fingerprint; read only once all letters were noted
}

func (w *watch) note(l *Message) {
	r := l.Record
	if r.Redrives == 0 || r.RedrivenAt.IsZero() || r.FailedAt.Sub(r.RedrivenAt) > AtOnce {
		return
	}
	if before := w.relapses[r.Fingerprint]; r.FailedAt.After(before.at) {
		w.relapses[r.Fingerprint] = relapse{r.FailedAt, r.Redrives}
	}
}

func (w *watch) decide(l *Message) decision {
	rule := w.rule(l)
	if rule == nil || rule.Leave || l.Record.Class == Parked { // a parked device is released as a whole
		return left
	}
	last, relapsed := w.relapses[l.Record.Fingerprint]
	switch {
	case relapsed && last.redrives >= rule.Times:
		return stopped
	case l.Record.Redrives >= rule.Times:
		return spent
	case !l.counts(): // nobody could tell how often it was redriven
		return left
	case w.now.Before(l.Record.FailedAt.Add(backoff(rule.After, l.Record.Redrives))),
		relapsed && w.now.Before(last.at.Add(backoff(rule.After, last.redrives))):
		return waits
	}
	return due
}

func (w *watch) rule(l *Message) *Rule {
	for i := range w.rules {
		if r := &w.rules[i]; (r.Service == "" || r.Service == w.from.Service) && r.Filter.Matches(l, w.now) {
			return r
		}
	}
	return nil
}

// backoff doubles with each redrive, up to a week.
func backoff(after time.Duration, redrives int) time.Duration {
	return awsx.Backoff{First: after, Most: maxAfter}.Doubled(redrives + 1)
}
