package spool

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"github.com/device-fanout/fanout/internal/files"
)

// Options of a Spool.
type Options struct {
	// SegmentBytes is the size at which a new segment begins. Zero means 16 MiB.
	SegmentBytes int64
	// SyncEvery says when what was written is forced to the disk: 0 before Append returns, otherwise so long afterwards at
	// most; negative never.
	SyncEvery time.Duration
	// Failed hears of trouble that no call could report. It must not call the Spool.
	Failed func(error)

	open func(path string, flags int) (logFile, error) // for tests; nil means a file
}

const (
	defaultSegmentBytes = 16 << 20
	lockFile            = "lock"
)

// ErrLocked comes from Open when another process, or another Spool of this one, has the folder open.
var ErrLocked = errors.New("another process has it open")

// Ref names a record: where it stands. Refs of later records are greater.
type Ref struct{ segment, offset uint32 }

// Segment is the number of the segment that the record is in. It stays on disk as a whole for as long as one of its records waits.
func (r Ref) Segment() uint32 { return r.segment }

// Damage is a piece of a segment that no record could be read from.
type Damage struct {
	File   string // the segment
	Offset int64
	Bytes  int
	Aside  string // where the bytes were copied to; File itself when they could not be, and then it stays
	Torn   bool   // it looks like the beginning of a record that a crash cut off at the end of a file
}

// Waiting are the records of one key that are not done with, in their order.
type Waiting struct {
	Key       string
	Refs      []Ref
	Sequences []int64 // of the records, in the order of Refs
	Bytes     int64
}

// State is what Open has found.
type State struct {
	Waiting      []Waiting // the key with the oldest record first
	LastSequence int64
	Damaged      []Damage // not reported by an earlier Open
}

// Spool is an open folder. Append must not be called concurrently with itself or Close; everything else may.
type Spool struct {
	dir  string
	opts Options
	lock *flock.Flock // replaced while writing is held

	bytes atomic.Int64 // of all logs

	writing sync.Mutex // held while the active segment's log is written or synced
	dirty   bool       // guarded by writing: written and not synced
	timer   *time.Timer
	broken  error    // guarded by writing: a failed write could not be undone, or the spool is closed
	doubt   *segment // guarded by writing: the segment of that write, which is cut off at its size
	buffer  []byte
	owner   string    // guarded by writing: what this process has written into the lock; empty if it could not
	place   place     // guarded by writing
	probed  time.Time // guarded by writing: when probe was last called
	last    uint32    // guarded by writing: number of the newest segment

	trouble atomic.Pointer[error] // why nothing can be appended; written while writing is held

	asideLines sync.Mutex // held while a line is set aside

	mu       sync.Mutex // guards what follows; held across short reads and writes of lists only
	segments map[uint32]*segment
	active   *segment // may be nil
}

// Open opens a folder, makes it when there is none, and reads what waits in it.
func Open(dir string, opts Options) (*Spool, State, error) {
	opts.SegmentBytes = cmp.Or(opts.SegmentBytes, defaultSegmentBytes)
	if opts.open == nil {
		opts.open = openFile
	}
	if opts.Failed == nil {
		opts.Failed = func(error) {}
	}
	if err := makeFolder(filepath.Join(dir, asideFolder)); err != nil {
		return nil, State{}, err
	}
	lock, owner, err := lockFolder(dir)
	if err != nil {
		return nil, State{}, err
	}
	s := &Spool{dir: dir, opts: opts, lock: lock, owner: owner, segments: map[uint32]*segment{}}
	if err := s.locate(); err != nil {
		return nil, State{}, errors.Join(err, s.letGo())
	}
	state, err := s.recover()
	if err != nil {
		return nil, State{}, errors.Join(err, s.letGo()) // not Close: what has not been read must not count as done with
	}
	return s, state, nil
}

// makeFolder makes a folder, and those above it, that outlive a loss of power.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeFolder(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return files.SyncFolder(filepath.Dir(dir))
}

// lockFolder takes the folder for this process, and writes into the lock who has it: for whoever comes second, and for whoever had it before and
// does not know yet that the lock was lost.
func lockFolder(dir string) (_ *flock.Flock, owner string, err error) {
	path := filepath.Join(dir, lockFile)
	lock := flock.New(path)
	ok, err := lock.TryLock()
	if err != nil {
		return nil, "", fmt.Errorf("lock %s: %w", path, err)
	}
	if !ok {
		return nil, "", lockedBy(path)
	}
	host, _ := os.Hostname() // only to be helpful
	owner = fmt.Sprintf("%d on %s, %s", os.Getpid(), cmp.Or(host, "unknown"), rand.Text())
	if err := os.WriteFile(path, []byte(owner), 0o600); err != nil { // a full disk must not keep anyone from emptying the spool
		owner = ""
	}
	return lock, owner, nil
}

// lockedBy is the error that says who has the lock at path.
func lockedBy(path string) error {
	owner, _ := os.ReadFile(path) // only to be helpful
	return fmt.Errorf("%w (process %s)", ErrLocked, cmp.Or(string(owner), "unknown"))
}

// Append writes the records in one piece and returns where they stand, once they are as safe as the sync policy makes
// them. On an error none of them is kept.
func (s *Spool) Append(records []Record) ([]Ref, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	refs, err := s.append(records)
	if err != nil {
		s.probed = time.Now()
	}
	s.note(err)
	return refs, err
}

// append is Append. The caller holds writing.
func (s *Spool) append(records []Record) ([]Ref, error) {
	if err := s.settle(); err != nil {
		return nil, err
	}
	seg, err := s.writable()
	if err != nil {
		return nil, err
	}
	start := seg.size
	refs := make([]Ref, len(records))
	s.buffer = s.buffer[:0]
	for i, r := range records {
		refs[i] = Ref{seg.number, uint32(start) + uint32(len(s.buffer))}
		s.buffer = appendRecord(s.buffer, r)
	}
	_, err = seg.log.WriteAt(s.buffer, start)
	if err == nil && s.opts.SyncEvery == 0 {
		err = seg.log.Sync()
	}
	if err == nil {
		err = s.inPlace()
	}
	if err != nil {
		s.undo(seg, start, err)
		return nil, err
	}
	if s.opts.SyncEvery > 0 && !s.dirty {
		s.dirty = true
		s.timer = time.AfterFunc(s.opts.SyncEvery, s.syncLater)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.size += int64(len(s.buffer))
	seg.waiting += len(records)
	s.bytes.Add(int64(len(s.buffer)))
	if cap(s.buffer) > maxPayload {
		s.buffer = nil
	}
	return refs, nil
}

// undo takes back a write that failed, so that nobody finds records after a restart which their writer was told are not kept. If that fails
// too, nothing is appended until settle has succeeded. The caller holds writing.
func (s *Spool) undo(seg *segment, size int64, cause error) {
	if err := seg.log.Truncate(size); err != nil {
		s.broken = fmt.Errorf("%s is in doubt since %w; taking the write back: %w", seg.path(s.dir, logSuffix), cause, err)
		s.doubt = seg
		s.mu.Lock()
		seg.doubt = true
		s.mu.Unlock()
	} else if err := seg.log.Sync(); err != nil { // a loss of power may bring it back, and cost what Append has left to be synced
		s.opts.Failed(fmt.Errorf("sync %s: %w", seg.path(s.dir, logSuffix), err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(seg)
}

// settle takes back what undo could not. The caller holds writing.
func (s *Spool) settle() error {
	seg := s.doubt
	if seg == nil {
		return s.broken
	}
	if err := errors.Join(seg.log.Truncate(seg.size), seg.log.Sync()); err != nil {
		return s.broken
	}
	s.broken, s.doubt = nil, nil
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.doubt = false
	s.removeIfDone(seg)
	return nil
}

// leave ends writing to a segment: because it is full, or because after a failed sync nobody knows what of it will ever be on disk,
// and a later sync would not tell. The caller holds writing and mu.
func (s *Spool) leave(seg *segment) {
	seg.sealed = true
	if s.active == seg {
		s.active = nil
	}
	s.removeIfDone(seg)
}

// syncLater forces to the disk what Append has left to it.
func (s *Spool) syncLater() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.syncNow()
}

// syncNow syncs the active segment if there is anything to sync. The caller holds writing.
func (s *Spool) syncNow() {
	if !s.dirty {
		return
	}
	s.dirty = false
	s.mu.Lock()
	seg := s.active
	s.mu.Unlock()
	if seg == nil {
		return
	}
	if err := seg.log.Sync(); err != nil {
		s.opts.Failed(fmt.Errorf("sync %s: %w", seg.path(s.dir, logSuffix), err))
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leave(seg)
	}
}

// writable returns the segment to append to, a new one when the last is full. The caller holds writing.
func (s *Spool) writable() (*segment, error) {
	s.mu.Lock()
	seg := s.active
	full := seg != nil && (seg.size >= s.opts.SegmentBytes || seg.waiting == 0 && seg.size >= s.opts.SegmentBytes/16)
	s.mu.Unlock()
	if seg != nil && !full {
		return seg, nil
	}
	if seg != nil {
		s.syncNow()
		s.mu.Lock()
		if s.active == seg {
			s.leave(seg)
		}
		s.mu.Unlock()
	}
	if err := s.inPlace(); err != nil { // no file of ours in a folder of somebody else
		return nil, err
	}
	s.last++ // also if it comes to nothing: what is left of this one must not be in the way of the next
	next := &segment{number: s.last, open: s.opts.open}
	log, err := s.opts.open(next.path(s.dir, logSuffix), os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	if s.opts.SyncEvery >= 0 {
		if err := files.SyncFolder(s.dir); err != nil {
			return nil, errors.Join(err, log.Close(), os.Remove(next.path(s.dir, logSuffix)))
		}
	}
	next.log = log
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, older := range s.inOrder() {
		s.removeIfDone(older)
	}
	s.segments[next.number] = next
	s.active = next
	return next, nil
}

// Read returns the record at ref. A record that does not fit its check sum is a [*DamagedError]; its bytes have been set aside.
func (s *Spool) Read(ref Ref) (Record, error) {
	s.mu.Lock()
	seg := s.segments[ref.segment]
	s.mu.Unlock()
	if seg == nil {
		return Record{}, fmt.Errorf("segment %d is not there", ref.segment)
	}
	return s.read(seg, ref.offset)
}

// Done forgets records. What cannot be written down now is written down later; until then a crash brings it back.
func (s *Spool) Done(refs ...Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range refs {
		if seg := s.segments[ref.segment]; seg != nil {
			seg.finish(ref.offset)
		}
	}
	for i, ref := range refs {
		if i > 0 && refs[i-1].segment == ref.segment {
			continue
		}
		seg := s.segments[ref.segment]
		if seg == nil {
			continue
		}
		if !s.removeIfDone(seg) {
			s.flush(seg)
		}
	}
}

// flush writes the list of a segment's done records as far as it is not written. The caller holds mu.
func (s *Spool) flush(seg *segment) {
	if err := s.list(seg); err != nil {
		s.opts.Failed(fmt.Errorf("write down what is done: %w", err))
	}
}

// list is flush with its error.
func (s *Spool) list(seg *segment) error {
	if seg.done == nil && len(seg.unlisted) > 0 { // the name may be that of another spool's list
		if err := seg.inPlace(seg.path(s.dir, logSuffix)); err != nil {
			return err
		}
	}
	return seg.flush(s.dir)
}

// removeIfDone deletes a sealed segment without waiting records. The caller holds mu.
func (s *Spool) removeIfDone(seg *segment) bool {
	if !seg.sealed || seg.kept || seg.waiting > 0 || seg.doubt {
		return false
	}
	if err := s.elsewhere(); err != nil { // its names may be those of another spool's files
		s.flush(seg)
		return false
	}
	// A done record of this segment stands for earlier ones of its key in older segments. Their own lists must be safe first; until then it
	// stays, and is looked at again when a new segment begins.
	for _, older := range s.segments {
		if older.number < seg.number && older != s.active {
			s.flush(older)
			if err := older.syncDone(); err != nil {
				s.opts.Failed(err)
				return false
			}
		}
	}
	s.bytes.Add(-seg.size)
	delete(s.segments, seg.number)
	if err := seg.remove(s.dir); err != nil {
		s.opts.Failed(err)
	}
	return true
}

// Bytes is how much the logs take on disk.
func (s *Spool) Bytes() int64 { return s.bytes.Load() }

// Close writes down what is done, removes segments that nothing waits in, and leaves the folder to others.
func (s *Spool) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.syncNow()
	_ = s.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	var faults []error
	if s.doubt != nil {
		s.doubt.doubt = false // it goes if nothing waits in it
	}
	if s.active != nil {
		s.active.sealed = true
		s.active = nil
	}
	for _, seg := range s.inOrder() {
		if s.removeIfDone(seg) {
			continue
		}
		faults = append(faults, s.list(seg), seg.syncDone(), seg.close())
	}
	s.segments = map[uint32]*segment{}
	s.broken, s.doubt = os.ErrClosed, nil
	_ = s.place.held.Close()
	return errors.Join(append(faults, s.lock.Unlock())...)
}

// letGo closes the files as they are and leaves the folder to others.
func (s *Spool) letGo() error {
	var faults []error
	for _, seg := range s.segments {
		faults = append(faults, seg.close())
	}
	_ = s.place.held.Close()
	return errors.Join(append(faults, s.lock.Unlock())...)
}

func (s *Spool) inOrder() []*segment {
	list := make([]*segment, 0, len(s.segments))
	for _, seg := range s.segments {
		list = append(list, seg)
	}
	slices.SortFunc(list, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	return list
}
