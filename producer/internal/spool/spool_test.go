package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func record(key string, sequence int64) Record {
	return Record{
		Sequence: sequence, Key: key, Fields: [Fields]string{fmt.Sprintf("id-%d", sequence), "device.motion.changed.v1", "gateway", "", ""},
		Body: fmt.Appendf(nil, `{"n":%d,"pad":%q}`, sequence, strings.Repeat("x", int(sequence%50))),
	}
}

func open(t testing.TB, dir string, opts Options) (*Spool, State) {
	t.Helper()
	if opts.Failed == nil {
		opts.Failed = func(err error) { t.Errorf("trouble: %v", err) }
	}
	s, state, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s, state
}

func mustAppend(t testing.TB, s *Spool, records ...Record) []Ref {
	t.Helper()
	refs, err := s.Append(records)
	if err != nil {
		t.Fatal(err)
	}
	return refs
}

func mustClose(t testing.TB, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// waiting reads what waits, as key:sequence in the order of each key.
func waiting(t testing.TB, s *Spool, state State) []string {
	t.Helper()
	var list []string
	for _, w := range state.Waiting {
		for i, ref := range w.Refs {
			r, err := s.Read(ref)
			if err != nil {
				t.Fatalf("read %v: %v", ref, err)
			}
			if r.Key != w.Key || r.Sequence != w.Sequences[i] {
				t.Errorf("at %v stands %s:%d, want %s:%d", ref, r.Key, r.Sequence, w.Key, w.Sequences[i])
			}
			list = append(list, fmt.Sprintf("%s:%d", r.Key, r.Sequence))
		}
	}
	return list
}

// crashed is a folder as a process that was killed now would leave it.
func crashed(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestSpool_KeepsWhatIsNotDone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, Options{})
	want := record("a", 2)
	want.Fields[3] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	refs := mustAppend(t, s, record("a", 1), want, record("b", 3))
	got, err := s.Read(refs[1])
	if err != nil || got.Key != want.Key || got.Sequence != want.Sequence || got.Fields != want.Fields || !bytes.Equal(got.Body, want.Body) {
		t.Errorf("got %+v, %v, want what was written", got, err)
	}
	s.Done(refs[0])

	again, state := open(t, crashed(t, dir), Options{})
	if got, want := waiting(t, again, state), []string{"a:2", "b:3"}; !slices.Equal(got, want) {
		t.Errorf("after a crash: got %v, want %v", got, want)
	}
	if state.LastSequence != 3 || len(state.Damaged) != 0 {
		t.Errorf("got %+v, want the last sequence 3 and no damage", state)
	}
	mustClose(t, again)

	s.Done(refs[1:]...)
	mustClose(t, s)
	if left, _ := filepath.Glob(filepath.Join(dir, "0*")); len(left) != 0 {
		t.Errorf("when all is done, %v are left", left)
	}
}

// TestDone_StandsForWhatIsBeforeOfItsKey: the list of an old segment can lose its end in a crash, while that of a newer one is safe.
func TestDone_StandsForWhatIsBeforeOfItsKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, Options{SegmentBytes: 1})
	first := mustAppend(t, s, record("a", 1), record("b", 2))
	second := mustAppend(t, s, record("a", 3), record("b", 4))
	s.Done(first[0])
	s.Done(second[0])
	lost := crashed(t, dir)
	if err := os.Remove(filepath.Join(lost, "0000000001.done")); err != nil {
		t.Fatal(err)
	}
	again, state := open(t, lost, Options{})
	if got, want := waiting(t, again, state), []string{"b:2", "b:4"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	again.Done(first[1], second[1])
	mustClose(t, again)
	if left, _ := filepath.Glob(filepath.Join(lost, "0*")); len(left) != 0 {
		t.Errorf("when all is done, %v are left", left)
	}
	mustClose(t, s)
}

// TestDone_GoesOnBehindATornList: half an entry at the end of a list does not put those behind it out of step.
func TestDone_GoesOnBehindATornList(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, Options{})
	refs := mustAppend(t, s, record("a", 1), record("b", 2), record("c", 3))
	s.Done(refs[0])
	torn := crashed(t, dir)
	list, err := os.OpenFile(filepath.Join(torn, "0000000001.done"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := list.WriteString("abc"); err != nil {
		t.Fatal(err)
	}
	if err := list.Close(); err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, torn, Options{})
	again.Done(refs[1])
	mustClose(t, again)
	again, state := open(t, torn, Options{})
	defer mustClose(t, again)
	if got, want := waiting(t, again, state), []string{"c:3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	mustClose(t, s)
}

func TestSegments_GoWhenAllIsDone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, Options{SegmentBytes: 2000})
	var refs []Ref
	for i := range 200 {
		refs = append(refs, mustAppend(t, s, record(fmt.Sprintf("k%d", i%3), int64(i)))...)
	}
	full := s.Bytes()
	count := func() int {
		logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
		return len(logs)
	}
	if count() < 5 {
		t.Fatalf("%d segments, want several", count())
	}
	s.Done(refs[1:]...) // the first record pins its segment, and no other
	if got := count(); got != 2 {
		t.Errorf("%d segments are left, want that of the first record and the newest", got)
	}
	if s.Bytes() >= full/2 {
		t.Errorf("%d of %d bytes are still counted", s.Bytes(), full)
	}
	s.Done(refs[0])
	mustAppend(t, s, record("k0", 999))
	mustClose(t, s)
	again, state := open(t, dir, Options{})
	defer mustClose(t, again)
	if got, want := waiting(t, again, state), []string{"k0:999"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOpen_RefusesASecondOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, Options{})
	if _, _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("got %v, want ErrLocked with the owner's process", err)
	}
	mustClose(t, s)
	again, _ := open(t, dir, Options{})
	mustClose(t, again)
}

// TestDamage_CostsOneRecord: whatever byte of whatever record is wrong, all others are read, and the damage is named.
func TestDamage_CostsOneRecord(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, Options{})
	refs := mustAppend(t, s, record("a", 1), record("b", 2), record("c", 3))
	path := filepath.Join(dir, "0000000001.log")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := t.TempDir()
	for at := refs[1].offset; at < refs[2].offset; at++ {
		bad := slices.Clone(whole)
		bad[at] ^= 0x40
		sub := filepath.Join(damaged, fmt.Sprint(at))
		if err := os.MkdirAll(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, "0000000001.log"), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		again, state := open(t, sub, Options{})
		if got, want := waiting(t, again, state), []string{"a:1", "c:3"}; !slices.Equal(got, want) {
			t.Errorf("byte %d: got %v, want %v", at, got, want)
		}
		if len(state.Damaged) != 1 {
			t.Fatalf("byte %d: damage %+v, want one", at, state.Damaged)
		}
		d := state.Damaged[0]
		if d.Offset != int64(refs[1].offset) || d.Bytes != int(refs[2].offset-refs[1].offset) || d.Torn || filepath.Base(d.File) != "0000000001.log" {
			t.Errorf("byte %d: got %+v, want the second record", at, d)
		}
		if kept, err := os.ReadFile(d.Aside); err != nil || !bytes.Equal(kept, bad[refs[1].offset:refs[2].offset]) {
			t.Errorf("byte %d: the bytes are not kept: %v", at, err)
		}
		mustClose(t, again)
		again, state = open(t, sub, Options{})
		if len(state.Damaged) != 0 {
			t.Errorf("byte %d: reported again: %+v", at, state.Damaged)
		}
		mustClose(t, again)
	}
	mustClose(t, s)
}

// TestCrash_AtEveryByte: of a write that was cut off, the whole records are there and the half one is not.
func TestCrash_AtEveryByte(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, Options{})
	refs := mustAppend(t, s, record("a", 1), record("a", 2), record("a", 3))
	whole, err := os.ReadFile(filepath.Join(dir, "0000000001.log"))
	if err != nil {
		t.Fatal(err)
	}
	ends := []int{int(refs[1].offset), int(refs[2].offset), len(whole)}
	cut := t.TempDir()
	for length := range whole {
		for _, zeros := range []int{0, 100} { // a file system may have made the file longer already
			sub := filepath.Join(cut, fmt.Sprint(length, "+", zeros))
			if err := os.MkdirAll(sub, 0o700); err != nil {
				t.Fatal(err)
			}
			data := append(slices.Clone(whole[:length]), make([]byte, zeros)...)
			if err := os.WriteFile(filepath.Join(sub, "0000000001.log"), data, 0o600); err != nil {
				t.Fatal(err)
			}
			again, state := open(t, sub, Options{})
			want := 0
			for _, end := range ends {
				if length >= end {
					want++
				}
			}
			if got := waiting(t, again, state); len(got) != want {
				t.Errorf("cut at %d with %d zeros: got %v, want the first %d", length, zeros, got, want)
			}
			for _, d := range state.Damaged {
				if !d.Torn && zeros == 0 {
					t.Errorf("cut at %d: got %+v, want it to count as half-written", length, d)
				}
			}
			// What is written now is found next time, also behind a torn end.
			mustAppend(t, again, record("b", 9))
			mustClose(t, again)
			again, state = open(t, sub, Options{})
			if got := waiting(t, again, state); !slices.Contains(got, "b:9") || len(got) != want+1 {
				t.Errorf("cut at %d with %d zeros: after another write got %v", length, zeros, got)
			}
			mustClose(t, again)
		}
	}
	mustClose(t, s)
}

// brokenDisk is a disk on which things fail.
type brokenDisk struct {
	room        int // bytes that can still be written
	failSync    bool
	failCut     bool
	readOnly    bool
	lists       bool // the lists of done records are on it, too
	unreadable  int  // offset of a page that cannot be read; 0 for none
	syncs, cuts int
}

type brokenFile struct {
	*os.File
	disk *brokenDisk
}

func (d *brokenDisk) open(path string, flags int) (logFile, error) {
	if d.readOnly && flags&os.O_CREATE != 0 {
		return nil, syscall.EROFS
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if strings.HasSuffix(path, doneSuffix) && !d.lists {
		return f, err
	}
	return &brokenFile{f, d}, err
}

func (f *brokenFile) WriteAt(data []byte, at int64) (int, error) {
	if f.disk.readOnly {
		return 0, syscall.EROFS
	}
	n := min(len(data), f.disk.room)
	f.disk.room -= n
	if _, err := f.File.WriteAt(data[:n], at); err != nil {
		return 0, err
	}
	if n < len(data) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (f *brokenFile) ReadAt(data []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(data, at)
	if page := int64(f.disk.unreadable); page > 0 && at < page+4096 && at+int64(n) > page {
		return int(max(0, page-at)), syscall.EIO
	}
	return n, err
}

func (f *brokenFile) Sync() error {
	f.disk.syncs++
	if f.disk.failSync {
		return syscall.EIO
	}
	return f.File.Sync()
}

func (f *brokenFile) Truncate(size int64) error {
	f.disk.cuts++
	if f.disk.readOnly {
		return syscall.EROFS
	}
	if f.disk.failCut {
		return syscall.EIO
	}
	return f.File.Truncate(size)
}

func TestAppend_OnAFullDiskKeepsNothingAndGoesOnLater(t *testing.T) {
	t.Parallel()
	for name, disk := range map[string]*brokenDisk{
		"full":        {room: record("a", 1).Size() + record("a", 2).Size() + record("a", 3).Size() + 20},
		"failed sync": {room: 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var trouble []string
			s, _ := open(t, dir, Options{open: disk.open, Failed: heard(&trouble)})
			mustAppend(t, s, record("a", 1))
			disk.failSync = name == "failed sync"
			_, err := s.Append([]Record{record("a", 2), record("a", 3), record("a", 4)})
			if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EIO) {
				t.Fatalf("got %v, want the disk's error", err)
			}
			again, state := open(t, crashed(t, dir), Options{})
			if got, want := waiting(t, again, state), []string{"a:1"}; !slices.Equal(got, want) || len(state.Damaged) != 0 {
				t.Errorf("after the failed write a restart finds %v and damage %v, want only what was accepted", got, state.Damaged)
			}
			mustClose(t, again)
			if (len(trouble) > 0) != disk.failSync {
				t.Errorf("trouble: got %q, want that the write which was taken back may come back, where no sync succeeds", trouble)
			}
			disk.room, disk.failSync = 1<<20, false
			mustAppend(t, s, record("a", 5))
			mustClose(t, s)
			again, state = open(t, dir, Options{})
			defer mustClose(t, again)
			if got, want := waiting(t, again, state), []string{"a:1", "a:5"}; !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestAppend_RefusesAllWhenAWriteCannotBeTakenBack(t *testing.T) {
	t.Parallel()
	disk := &brokenDisk{room: 1 << 20, failSync: true, failCut: true}
	var trouble []string
	s, _ := open(t, t.TempDir(), Options{open: disk.open, Failed: heard(&trouble)})
	if _, err := s.Append([]Record{record("a", 1)}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v, want the disk's error", err)
	}
	disk.failSync = false
	if _, err := s.Append([]Record{record("a", 2)}); !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "in doubt") {
		t.Errorf("got %v, want a refusal: a restart could find what the first write left", err)
	}
	s.probed = time.Time{} // a second later
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "in doubt") {
		t.Errorf("Check: got %v, want the same", err)
	}
	disk.failCut, disk.syncs = false, 0 // now it can
	mustAppend(t, s, record("a", 3))
	if disk.syncs != 2 {
		t.Errorf("%d syncs, want one of what was taken back and one of the record", disk.syncs)
	}
	mustClose(t, s)
	s, state := open(t, s.dir, Options{})
	if got, want := waiting(t, s, state), []string{"a:3"}; !slices.Equal(got, want) {
		t.Errorf("after a restart: got %v, want %v", got, want)
	}
	mustClose(t, s)
}

func TestSync_FollowsThePolicy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		every time.Duration
		want  int
	}{{0, 3}, {time.Hour, 1}, {-1, 0}} {
		disk := &brokenDisk{room: 1 << 20}
		s, _ := open(t, t.TempDir(), Options{SyncEvery: c.every, open: disk.open})
		for i := range 3 {
			mustAppend(t, s, record("a", int64(i)))
		}
		mustClose(t, s)
		if disk.syncs != c.want {
			t.Errorf("sync every %v: %d syncs for three writes and Close, want %d", c.every, disk.syncs, c.want)
		}
	}
}

// TestSpool_AgainstAModel: appends, done records, crashes and restarts at random; what waits is always what the model says, or, for a list
// that lost its end, a little more of the same keys.
func TestSpool_AgainstAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "spool")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		opts := Options{SegmentBytes: int64(rapid.IntRange(1, 3000).Draw(rt, "segment")), SyncEvery: -1}
		s, _ := open(t, dir, opts)
		type held struct {
			ref      Ref
			sequence int64
		}
		model := map[string][]held{}
		sequence := int64(0)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			default:
				var batch []Record
				for range rapid.IntRange(1, 5).Draw(rt, "batch") {
					sequence++
					batch = append(batch, record(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "key"), sequence))
				}
				for i, ref := range mustAppend(t, s, batch...) {
					model[batch[i].Key] = append(model[batch[i].Key], held{ref, batch[i].Sequence})
				}
			case 5, 6, 7, 8:
				key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "done")
				if len(model[key]) > 0 {
					s.Done(model[key][0].ref)
					model[key] = model[key][1:]
				}
			case 9:
				mustClose(t, s)
				var state State
				s, state = open(t, dir, opts)
				if len(state.Damaged) > 0 {
					rt.Fatalf("damage: %+v", state.Damaged)
				}
				found := map[string][]held{}
				for _, w := range state.Waiting {
					for i := range w.Refs {
						found[w.Key] = append(found[w.Key], held{w.Refs[i], w.Sequences[i]})
					}
				}
				for key := range model {
					if !slices.Equal(found[key], model[key]) {
						rt.Fatalf("key %s: found %v, want %v", key, found[key], model[key])
					}
				}
			}
		}
		mustClose(t, s)
	})
}

// FuzzOpen: whatever stands in the files, Open does not fail on it, finds what is whole, and what it hands out can be read.
func FuzzOpen(f *testing.F) {
	good := appendRecord(appendRecord(nil, record("a", 1)), record("b", 2))
	f.Add(good, []byte{})
	f.Add(good[:len(good)-3], []byte("12345678"))
	f.Add(append(make([]byte, 50), good...), []byte{0})
	f.Add([]byte(mark+mark+"\x00\x00\x00\x08"), []byte{})
	f.Fuzz(func(t *testing.T, log, done []byte) {
		dir := t.TempDir()
		for name, data := range map[string][]byte{"0000000007.log": log, "0000000007.done": done} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, state := open(t, dir, Options{})
		waiting(t, s, state)
		refs := mustAppend(t, s, record("z", 1))
		if _, err := s.Read(refs[0]); err != nil {
			t.Error(err)
		}
		mustClose(t, s)
	})
}
