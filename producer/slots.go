package producer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// slotPatience is how long EmptySlots stays with one slot, so that a device in trouble there does not keep it from the others.
const slotPatience = time.Minute

// NewInSlot is [New] for one of several processes that keep their spools in one folder, as tasks do that share a file system: cfg.Spool is that
// folder, and the Producer's own spool the first of its subfolders 0 to slots-1, the slots, that no other has open; one that holds events comes
// before an empty one. With all of them taken the error is [ErrSpoolLocked]. Give twice as many slots as there may be processes at once,
// during a deploy too, and call [Producer.EmptySlots] now and then, which holds a second one for up to a minute.
//
// On a network file system a lock holds as long as the server hears of its host. When it was lost and another process has taken the slot, events
// are refused here: Stats.SpoolErr says so.
func NewInSlot(api TopicAPI, topicARN string, cfg Config, slots int) (*Producer, error) {
	if cfg.Spool == "" || slots < 1 {
		return nil, fmt.Errorf("producer: slots: got %d of the folder %q, want at least 1, and a folder", slots, cfg.Spool)
	}
	var full, empty []string
	for i := range slots {
		if dir := filepath.Join(cfg.Spool, strconv.Itoa(i)); holdsEvents(dir) {
			full = append(full, dir)
		} else {
			empty = append(empty, dir)
		}
	}
	for _, dir := range slices.Concat(full, empty) {
		own := cfg
		own.Spool = dir
		p, err := New(api, topicARN, own)
		if errors.Is(err, ErrSpoolLocked) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p.slots = cfg.Spool
		return p, nil
	}
	return nil, &SpoolError{Dir: cfg.Spool, Err: fmt.Errorf("%w: each of its %d slots", ErrSpoolLocked, slots)}
}

// EmptySlots publishes what processes that are gone have left in the slots beside that of p, which [NewInSlot] has made: of each slot that holds
// events and that nobody has open, and of what the folder itself holds since it was one spool. It stays with each for a minute at most, and returns
// when it has seen all, or ctx ends: what is left then stays for the next call. Callers take turns.
//
// An event goes out at least once, with its old ID and sequence. p knows nothing of it: a later event of the same device, through p or another
// process, may overtake it, which its time and sequence show.
func (p *Producer) EmptySlots(ctx context.Context) error {
	folder := p.slots
	if folder == "" {
		return nil
	}
	found, err := os.ReadDir(folder)
	if err != nil {
		return &SpoolError{Dir: folder, Err: err}
	}
	left := []string{folder}
	for _, f := range found {
		if _, err := strconv.Atoi(f.Name()); err == nil && f.IsDir() {
			left = append(left, filepath.Join(folder, f.Name()))
		}
	}
	var faults []error
	for _, dir := range left {
		if dir == p.cfg.Spool || ctx.Err() != nil || !holdsEvents(dir) {
			continue
		}
		faults = append(faults, p.emptySlot(ctx, dir))
	}
	return errors.Join(faults...)
}

func (p *Producer) emptySlot(ctx context.Context, dir string) error {
	cfg := p.cfg
	cfg.Spool = dir
	gone, err := New(p.api, p.topic, cfg)
	if errors.Is(err, ErrSpoolLocked) { // it is somebody's
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, slotPatience)
	defer cancel()
	return gone.Close(ctx)
}

// holdsEvents tells whether there are events in the spool at dir, or may be.
func holdsEvents(dir string) bool {
	entries, _ := os.ReadDir(dir)
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return filepath.Ext(e.Name()) == ".log" })
}
