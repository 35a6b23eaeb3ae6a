package deadletter

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	// DefaultLanes is how many devices a sweep works on at once.
	DefaultLanes = 16
	// moveTimeout is the longest that sending and deleting one letter may take.
	moveTimeout = 2*requestTimeout + 5*time.Second
	// crowd is how many letters that stay, of the ten of a device that SQS shows at once, are worth being set aside. Fewer are
	// given back, and come again with those behind them.
	crowd = batchSize / 2
)

// action is what a sweep does to the letters that it selects.
type action interface {
	// take does it to one letter, so that the letter can be deleted once settle has returned. After deadline others may have it.
	take(l *Letter, deadline time.Time) error
	// settle makes sure of what take did for these letters.
	settle(letters []*Letter) error
	// deletes tells whether a letter is deleted afterwards.
	deletes() bool
}

// sweep goes through a whole dead-letter queue, whatever stands in front of what.
//
// SQS shows no more than the first ten letters of a device, and nothing behind a letter that is in flight. So what stays of a
// device's letters is set aside as often as needed: copied to the end of the queue, and deleted after that was confirmed. The
// copies keep their order, and once the first of them is at the head again all of the device's letters have passed: that is a lap.
// A lap that was begun is ended, also when the sweep is interrupted; one that a killed sweep left behind is ended by the next
// sweep with the same journal, before anything else happens to that device.
//
// While a lane works on the first letters of a device SQS gives nobody another of it. So no two lanes have the same device.
type sweep struct {
	*reader
	cfg     Config
	act     action
	aside   *sender // back to the end of the dead-letter queue
	pace    *pace
	start   time.Time
	reports chan struct{} // capacity 1: one report at a time

	mu       sync.Mutex // of reader guards what is held; this one what follows
	news     *sync.Cond // of mu: one more lane is to receive, or all are to look whether to go on
	devices  map[string]*device
	known    map[copyKey]bool          // letters that were counted
	settled  map[copyKey]string        // letters that are held, or gone to where they should: their message ID
	sent     map[[sha256.Size]byte]int // what was sent, by identity: the count of redrives that it carries
	undead   []*Letter                 // sent, and could not be deleted
	taken    int                       // letters acted upon, for the limit
	laps     int                       // devices in the middle of a lap
	polling  int                       // lanes that receive
	busy     int                       // lanes between a receive that gave something and the end of its handling
	activity int                       // grows whenever something may have become visible
	done     bool                      // the queue gives no more
	fatal    error
	sum      Summary
}

// device is what a sweep knows of one device. Only the lane that has its first letters touches it.
type device struct {
	stuck     bool   // one of its letters could not be taken: those behind stay
	lap       string // name of the lap under way
	restoring bool   // the lap is another sweep's: until it is complete nothing is taken
	whole     bool   // the lap is complete: what comes now was seen, or is new
	broken    bool   // a letter could not be set aside: the lap waits for the next sweep
	// bare are the message IDs of this lap's copies that had no room for a record to say so.
	bare []string
}

func newSweep(api QueueAPI, from Source, act action, cfg Config) *sweep {
	s := &sweep{
		reader: newReader(api, from), cfg: cfg, act: act, aside: newSender(api, from.URL), pace: newPace(cfg.Rate), start: time.Now(),
		reports: make(chan struct{}, 1), devices: map[string]*device{}, known: map[copyKey]bool{}, settled: map[copyKey]string{},
		sent: map[[sha256.Size]byte]int{},
	}
	s.news = sync.NewCond(&s.mu)
	for id, lap := range cfg.Journal.openLaps() {
		s.devices[id] = &device{lap: lap, restoring: true}
		s.laps++
	}
	return s
}

// run sweeps until the queue gives no more, the limit is reached or ctx ends.
func (s *sweep) run(ctx context.Context) (Summary, error) {
	stop := s.heartbeat(ctx)
	var lanes sync.WaitGroup
	for range max(1, s.cfg.Lanes) {
		lanes.Go(func() { s.lane(ctx) })
	}
	lanes.Wait()
	s.aside.close()
	stop()
	s.lastDeletes(ctx)
	err := errors.Join(s.fatal, s.releaseHeld(ctx))
	if ctx.Err() != nil && !s.done {
		err = errors.Join(fmt.Errorf("deadletter: reading %s was interrupted: %w", s.from.URL, ctx.Err()), err)
	}
	return s.sum, err
}

// lane receives and handles until there is no more to do.
func (s *sweep) lane(ctx context.Context) {
	defer s.news.Broadcast()
	for {
		before, more := s.more(ctx)
		if !more {
			return
		}
		letters, err := s.receive(ctx)
		s.received(letters)
		if err != nil {
			s.fail(err)
			return
		}
		if len(letters) == 0 {
			s.exhausted(before)
			continue
		}
		s.handle(ctx, letters)
		if s.holding() >= maxHeld {
			s.fail(fmt.Errorf("deadletter: %s: %d letters are held, and SQS lets hardly more be in flight; select so that fewer stay", s.from.URL, maxHeld))
		}
	}
}

// more tells whether to go on receiving, and how much has happened so far.
func (s *sweep) more(ctx context.Context) (activity int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	more = !s.done && s.fatal == nil && (!s.stoppingLocked(ctx) || s.laps > 0)
	if more {
		s.polling++
	}
	return s.activity, more
}

// received notes the end of a receive. One that gave something calls another lane to receive in its place.
func (s *sweep) received(letters []*Letter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polling--
	if len(letters) > 0 {
		s.news.Signal()
	}
}

// exhausted decides after an empty receive whether the queue gives no more: nobody handles anything, and nothing has become visible
// since before the receive. Otherwise, while another lane receives, it waits until that has news: if every lane began an empty receive
// whenever its last had ended, the last to end would begin long after the queue was exhausted.
func (s *sweep) exhausted(before int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.busy == 0 && s.activity == before:
		s.done = true
	case s.polling > 0 && !s.done:
		s.news.Wait()
	}
}

func (s *sweep) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fatal == nil {
		s.fatal = err
	}
}

// stopping tells whether nothing more is taken.
func (s *sweep) stopping(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stoppingLocked(ctx)
}

func (s *sweep) stoppingLocked(ctx context.Context) bool {
	return ctx.Err() != nil || s.fatal != nil || s.cfg.Filter.Limit > 0 && s.taken >= s.cfg.Filter.Limit
}

// handle deals with one received batch, each device by itself.
func (s *sweep) handle(ctx context.Context, letters []*Letter) {
	s.mu.Lock()
	s.busy++
	s.mu.Unlock()
	var order []string
	hands := map[string][]*Letter{}
	for _, l := range letters {
		if held := s.heldFor(l); held != nil {
			continue // its heartbeat failed; it is held anew
		}
		if hands[l.group()] == nil {
			order = append(order, l.group())
		}
		hands[l.group()] = append(hands[l.group()], l)
	}
	var wait sync.WaitGroup
	for i, id := range order {
		// A full batch may have been cut off in the midst of its last device.
		more := len(letters) == batchSize && i == len(order)-1 && hands[id][0].groupID != ""
		wait.Go(func() { s.hand(ctx, s.device(id), hands[id], more) })
	}
	wait.Wait()
	s.mu.Lock()
	s.busy--
	s.activity++
	s.done = false // for a lane that came back empty while this batch was on its way
	s.mu.Unlock()
}

func (s *sweep) device(id string) *device {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.devices[id]
	if d == nil {
		d = &device{}
		s.devices[id] = d
	}
	return d
}

// judgement is what becomes of a letter.
type judgement int

const (
	stays   judgement = iota
	goes              // it is taken
	went              // it was taken by a sweep that was killed: it is only to be deleted
	surplus           // it is there twice: it is deleted and does not count
)

// hand deals with the first letters of one device, in order. more says that there may be others behind them.
func (s *sweep) hand(ctx context.Context, d *device, letters []*Letter, more bool) {
	var taken, extra, stay []*Letter
	for i, l := range letters {
		if d.lap != "" && !d.broken && !s.void(l) && (l.Record.Aside.Lap == d.lap || slices.Contains(d.bare, l.MessageID)) {
			s.setAside(ctx, d, nil, stay)
			more = more || len(stay) > 0 // they stand behind this hand now
			if stay = nil; !d.broken {
				s.endLap(d, l.group())
			}
		}
		verdict := stays
		err := s.keep(ctx, letters, l)
		if err == nil {
			verdict = s.judge(ctx, d, l)
		}
		if err == nil && verdict == goes {
			if err = s.waitTurn(ctx, letters, l); err == nil {
				err = s.take(l)
			}
			if errors.Is(err, errNoTime) {
				s.count(func(*Summary) { s.taken-- })
			}
		}
		switch {
		case errors.Is(err, errNoTime): // others can have it in a moment; it and those behind it come again
			s.settle(ctx, taken)
			_ = s.release(ctx, append(stay, letters[i:]...))
			return
		case err != nil:
			d.stuck = true
			s.count(func(sum *Summary) { sum.Failed++ })
			s.report(Outcome{Letter: l, Err: err})
			stay = append(stay, l)
		case verdict == surplus:
			extra = append(extra, l)
		case verdict == stays:
			stay = append(stay, l)
		default:
			taken = append(taken, l)
			if !s.act.deletes() {
				stay = append(stay, l)
			}
		}
	}
	s.discard(ctx, extra)
	crowded := more && len(stay) >= crowd && !s.stopping(ctx)
	if len(stay) > 0 && !d.whole && !d.broken && (d.lap != "" || crowded && s.beginLap(d, stay[0].group())) {
		s.setAside(ctx, d, taken, stay)
		return
	}
	s.settle(ctx, taken)
	switch {
	case len(stay) == 0:
	case d.whole || d.broken || crowded:
		s.stay(stay)
	case more && !s.stopping(ctx):
		_ = s.release(ctx, stay) // they come again, with those behind them
	default:
		s.stay(stay)
	}
}

// keep makes sure that there is time to deal with one letter of a hand. If need be it hides the whole hand for longer: those that
// were taken are still to be deleted.
func (s *sweep) keep(ctx context.Context, hand []*Letter, l *Letter) error {
	if time.Until(l.hiddenUntil) >= moveTimeout+beat/2 {
		return nil
	}
	if time.Now().Before(l.hiddenUntil) {
		_, _ = s.change(context.WithoutCancel(ctx), hand, visibility)
	}
	if time.Until(l.hiddenUntil) < moveTimeout {
		return errNoTime
	}
	return nil
}

// judge decides on one letter. It counts each once, however often it comes.
func (s *sweep) judge(ctx context.Context, d *device, l *Letter) judgement {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := l.copyKey()
	switch id, ok := s.settled[key]; {
	case s.cfg.Journal.is(journalSent, l.MessageID):
		return went
	case s.void(l), s.cfg.Journal.is(journalCopied, l.MessageID), ok && id != l.MessageID:
		// Of two copies of a letter, which a killed sweep can leave behind, the other stands further back, is held, or has gone to
		// where it should.
		return surplus
	}
	first := !s.known[key]
	s.known[key] = true
	n := func(count *int) {
		if first {
			*count++
		}
	}
	n(&s.sum.Seen)
	switch {
	case d.whole && !first, !s.cfg.Filter.Matches(l, s.start), s.cfg.Select != nil && !s.cfg.Select(l):
		return stays
	case s.cameBack(l):
		// Without this, a redrive beside a consumer that still fails would go round in circles.
		n(&s.sum.Returned)
		return stays
	case d.restoring || d.broken || s.stoppingLocked(ctx):
		delete(s.known, key) // it counts when it is decided on
		if first {
			s.sum.Seen--
		}
		return stays
	case d.stuck:
		n(&s.sum.Matched)
		n(&s.sum.Held)
		return stays
	case !s.act.deletes() && !first:
		return stays
	}
	n(&s.sum.Matched)
	s.taken++
	return goes
}

// cameBack tells whether this sweep has sent the letter itself. Its count of redrives tells it from another letter of the same
// device with the same body.
func (s *sweep) cameBack(l *Letter) bool {
	redrives, ok := s.sent[l.identity()]
	return ok && l.Record.Redrives >= redrives
}

// identity is equal for copies of one event in one group.
func (l *Letter) identity() [sha256.Size]byte {
	return sha256.Sum256([]byte(l.DeviceID + "\x00" + l.Body))
}

// waitTurn waits until the rate allows one more letter, and keeps the letters hidden meanwhile.
func (s *sweep) waitTurn(ctx context.Context, hand []*Letter, l *Letter) error {
	for turn := s.pace.turn(); time.Now().Before(turn) && ctx.Err() == nil; {
		select {
		case <-time.After(min(time.Until(turn), beat/2)):
		case <-ctx.Done():
		}
		if err := s.keep(ctx, hand, l); err != nil {
			return err
		}
	}
	return nil
}

// void tells whether a letter is the copy of a request that does not count: the letter that it is a copy of is there.
func (s *sweep) void(l *Letter) bool {
	return l.Record.Aside.Try != "" && s.cfg.Journal.tried(l.Record.Aside.Try)
}

// copyKey is equal for the copies of one letter, and not for letters that only have the same record.
type copyKey struct {
	origin   string
	identity [sha256.Size]byte
}

func (l *Letter) copyKey() copyKey { return copyKey{l.origin(), l.identity()} }

// take does what is to be done to one letter.
func (s *sweep) take(l *Letter) error {
	if err := s.act.take(l, l.hiddenUntil); err != nil {
		return err
	}
	if s.act.deletes() {
		s.mu.Lock()
		s.sent[l.identity()] = l.Record.Redrives + 1
		s.mu.Unlock()
	}
	return nil
}

// settle makes sure of the letters that were taken, and deletes them.
func (s *sweep) settle(ctx context.Context, taken []*Letter) {
	due := s.sure(taken)
	left, _ := s.remove(ctx, due)
	s.deleted(due, left)
}

// sure makes sure of the letters that were taken, and gives those that are to be deleted now.
func (s *sweep) sure(taken []*Letter) (due []*Letter) {
	if len(taken) == 0 {
		return nil
	}
	if err := s.act.settle(taken); err != nil {
		for _, l := range taken {
			s.count(func(sum *Summary) { sum.Failed++ })
			s.report(Outcome{Letter: l, Err: err})
		}
		s.hold(taken...)
		s.fail(err)
		return nil
	}
	if !s.act.deletes() {
		s.moved(taken, nil)
		return nil
	}
	return taken
}

// deleted notes the letters that are done with, and keeps those that are left for another try.
func (s *sweep) deleted(due, left []*Letter) {
	s.moved(due, left)
	if len(left) > 0 {
		s.mu.Lock()
		s.undead = append(s.undead, left...)
		s.mu.Unlock()
		s.hold(left...)
	}
}

// moved notes the letters that are done with, all but those that are left.
func (s *sweep) moved(letters, left []*Letter) {
	s.gone(letters, left)
	for _, l := range letters {
		if slices.Contains(left, l) {
			continue
		}
		s.mu.Lock()
		if s.act.deletes() {
			s.settled[l.copyKey()] = l.MessageID
		}
		s.sum.Moved++
		s.mu.Unlock()
		s.report(Outcome{Letter: l})
	}
}

// discard deletes letters that are there twice. One that is left hides those behind it.
func (s *sweep) discard(ctx context.Context, extra []*Letter) {
	left, cause := s.remove(ctx, extra)
	s.gone(extra, left)
	for _, l := range left {
		s.count(func(sum *Summary) { sum.Failed++ })
		s.report(Outcome{Letter: l, Err: fmt.Errorf("deadletter: a second copy of event %s of device %s, which a killed run had left, was not deleted "+
			"from %s, so what is behind it was not seen; run it again: %w", l.name(), l.DeviceID, s.from.Name(), cause)})
	}
	s.hold(left...)
}

// lastDeletes tries once more what could not be deleted.
func (s *sweep) lastDeletes(ctx context.Context) {
	if len(s.undead) == 0 {
		return
	}
	// What came again and could be deleted then is done with.
	s.undead = slices.DeleteFunc(s.undead, func(l *Letter) bool { return s.settled[l.copyKey()] == l.MessageID })
	left, cause := s.remove(ctx, s.undead)
	for _, l := range left {
		s.sum.Failed++
		s.report(Outcome{Letter: l, Err: fmt.Errorf("deadletter: event %s of device %s has gone to where it should, but was not deleted from %s; "+
			"run it again within five minutes, or with the same journal: %w", l.name(), l.DeviceID, s.from.Name(), cause)})
	}
	s.moved(s.undead, left)
}

// stay holds letters that are left where they are.
func (s *sweep) stay(letters []*Letter) {
	s.mu.Lock()
	for _, l := range letters {
		s.settled[l.copyKey()] = l.MessageID
	}
	s.mu.Unlock()
	for _, l := range letters {
		l.Body, l.attributes = "", nil // the queue has them
	}
	s.hold(letters...)
}

// beginLap notes that the device's letters will be set aside.
func (s *sweep) beginLap(d *device, id string) bool {
	lap := uuid.NewString()
	if err := s.cfg.Journal.put(journalLine{Device: id, Lap: lap}); err != nil {
		s.fail(err)
		return false
	}
	d.lap = lap
	s.mu.Lock()
	s.laps++
	s.mu.Unlock()
	return true
}

// endLap notes that all of the device's letters have passed. After another sweep's lap its own work begins.
func (s *sweep) endLap(d *device, id string) {
	d.whole, d.restoring, d.lap, d.bare = !d.restoring, false, "", nil
	if err := s.cfg.Journal.put(journalLine{Device: id}); err != nil {
		s.fail(err)
	}
	s.mu.Lock()
	s.laps--
	s.mu.Unlock()
}

// setAside copies letters to the end of the queue, in order, and deletes them, in one request with those that were taken from between
// them. What can't be copied stays, and what is behind it too.
func (s *sweep) setAside(ctx context.Context, d *device, taken, letters []*Letter) {
	due := s.sure(taken)
	n, err := s.copyToEnd(ctx, d, due, letters)
	if err != nil {
		s.breakLap(d, letters[n], err)
		s.stay(letters[n:])
	}
	both, cause := s.remove(ctx, slices.Concat(due, letters[:n]))
	var undead, left []*Letter
	for _, l := range both {
		if slices.Contains(due, l) {
			undead = append(undead, l)
		} else {
			left = append(left, l)
		}
	}
	s.deleted(due, undead)
	s.gone(letters[:n], left)
	if len(left) > 0 { // they are there twice; while they are held nobody sees their copies
		s.breakLap(d, left[0], cause)
		s.hold(left...)
	}
}

// gone notes in the journal that the letters were deleted, all but those that are left.
func (s *sweep) gone(letters, left []*Letter) {
	var lines []journalLine
	for _, l := range letters {
		if !slices.Contains(left, l) {
			lines = append(lines, journalLine{Gone: l.MessageID})
		}
	}
	if err := s.cfg.Journal.put(lines...); err != nil {
		s.fail(err)
	}
}

// copyToEnd copies letters of one device to the end of the queue and returns how many, from the first on, stand there in order.
//
// One request carries up to ten, each of which may fail by itself, and the answer may be lost. So the copies of a request count only
// once the journal says that all of them were confirmed. Until then the letters stay, and all are copied again by the next request;
// the copies of the first are deleted when they come. The letters that are due for deletion are kept hidden meanwhile.
func (s *sweep) copyToEnd(ctx context.Context, d *device, due, letters []*Letter) (copied int, err error) {
	hand := slices.Concat(due, letters)
	for try := 1; copied < len(letters); {
		if err := s.keep(ctx, hand, letters[copied]); err != nil {
			return copied, err
		}
		id := uuid.NewString()
		batch := asideBatch(letters[copied:], d.lap, id)
		if len(batch) == 0 {
			if err := s.copyBare(d, letters[copied]); err != nil {
				return copied, err
			}
			copied++
			continue
		}
		if err := s.cfg.Journal.put(journalLine{Try: id}); err != nil {
			return copied, err
		}
		if err := s.aside.sendAtOnce(batch); err != nil {
			if try++; try > tries {
				return copied, err
			}
			time.Sleep(100 * time.Millisecond << try)
			continue
		}
		lines := []journalLine{{Kept: id}}
		for _, l := range letters[copied : copied+len(batch)] {
			lines = append(lines, journalLine{Copied: l.MessageID})
		}
		if err := s.cfg.Journal.put(lines...); err != nil {
			return copied, err
		}
		copied, try = copied+len(batch), 1
	}
	return copied, nil
}

// asideBatch is the copies of as many letters as fit into one request, from the first on, up to one that has no room for a record.
func asideBatch(letters []*Letter, lap, try string) []outgoing {
	var batch []outgoing
	bytes := 0
	for _, l := range letters {
		attributes, marked := l.with(l.lapped(Aside{Letter: l.origin(), Lap: lap, Try: try}))
		if bytes += messageBytes(l.Body, attributes); !marked || len(batch) > 0 && bytes > maxMessageBytes {
			break
		}
		batch = append(batch, outgoing{group: l.group(), dedup: "aside-" + l.MessageID + "-" + try, body: l.Body, attributes: attributes})
	}
	return batch
}

// copyBare copies a letter that has no room for a record.
func (s *sweep) copyBare(d *device, l *Letter) error {
	id, err := s.aside.send(outgoing{
		group: l.group(), dedup: "aside-" + l.MessageID, body: l.Body, attributes: l.attributes, deadline: l.hiddenUntil,
	})
	if err != nil {
		return err
	}
	d.bare = append(d.bare, id)
	return s.cfg.Journal.put(journalLine{Copied: l.MessageID})
}

// breakLap gives the device up for this sweep.
func (s *sweep) breakLap(d *device, l *Letter, err error) {
	s.mu.Lock()
	if !d.broken {
		d.broken = true
		s.laps--
		s.sum.Broken++
	}
	s.mu.Unlock()
	s.report(Outcome{Letter: l, Err: fmt.Errorf("deadletter: letters of device %s could not be set aside to reach those behind them; "+
		"run it again with the same journal to put them in order: %w", l.DeviceID, err)})
}

func (s *sweep) count(change func(*Summary)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.sum)
}

func (s *sweep) report(o Outcome) {
	if s.cfg.Report == nil {
		return
	}
	s.reports <- struct{}{}
	s.cfg.Report(o)
	<-s.reports
}
