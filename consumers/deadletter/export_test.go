package deadletter

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/device-fanout/fanout/internal/files"
)

// FailSync makes the next sync of an archive fail. The system counts what it was for as written, so that later ones succeed.
func (a *Archive) FailSync() { a.file = &failingSync{archiveFile: a.file} }

type failingSync struct {
	archiveFile
	failed bool
}

func (f *failingSync) Sync() error {
	if f.failed {
		return f.archiveFile.Sync()
	}
	f.failed = true
	return syscall.EIO
}

// TestArchive_AFailedSyncIsNotBelievedTheSecondTime: what of the file is on disk, nobody knows any more.
func TestArchive_AFailedSyncIsNotBelievedTheSecondTime(t *testing.T) {
	t.Parallel()
	a, err := CreateArchive(filepath.Join(t.TempDir(), "archive"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.FailSync()
	for range 2 {
		m := &Message{MessageID: "m", Body: "b"}
		if err := errors.Join(a.write(m, "q"), a.verify([]*Message{m})); !errors.Is(err, syscall.EIO) {
			t.Errorf("got %v, want that the events may not be in it", err)
		}
	}
}

// TestArchive_SyncsOneAtATime: of two syncs at once only one hears that the pages of both are lost.
func TestArchive_SyncsOneAtATime(t *testing.T) {
	t.Parallel()
	a, err := CreateArchive(filepath.Join(t.TempDir(), "archive"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	disk := &countedSync{archiveFile: a.file}
	a.file = disk
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				m := &Message{MessageID: "m", Body: "b"}
				if err := errors.Join(a.write(m, "q"), a.verify([]*Message{m})); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if disk.most.Load() != 1 {
		t.Errorf("%d syncs at once, want 1", disk.most.Load())
	}
	m := &Message{MessageID: "m", Body: "b"}
	if err := a.write(m, "q"); err != nil {
		t.Fatal(err)
	}
	a.FailSync()
	if err := a.verify([]*Message{m}); !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v, want the disk's error for what no sync before was for", err)
	}
}

type countedSync struct {
	archiveFile
	now, most atomic.Int32
}

func (f *countedSync) Sync() error {
	if n := f.now.Add(1); n > f.most.Load() {
		f.most.Store(n)
	}
	runtime.Gosched()
	defer f.now.Add(-1)
	return f.archiveFile.Sync()
}

// TestArchive_ALineInPart is cut off, so that the line behind it can be read.
func TestArchive_ALineInPart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "archive")
	a, err := CreateArchive(path)
	if err != nil {
		t.Fatal(err)
	}
	disk := &shortFile{archiveFile: a.file, short: true}
	a.file = disk
	m := &Message{MessageID: "m", Body: "b"}
	if err := a.write(m, "q"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want the disk's error", err)
	}
	if text, err := os.ReadFile(path); len(text) > 0 || err != nil {
		t.Errorf("%q is left, %v", text, err)
	}
	disk.short = false
	if err := errors.Join(a.write(m, "q"), a.verify([]*Message{m}), a.Close()); err != nil {
		t.Error(err)
	}
}

type shortFile struct {
	archiveFile
	short bool
}

func (f *shortFile) WriteAt(text []byte, at int64) (int, error) {
	if !f.short {
		return f.archiveFile.WriteAt(text, at)
	}
	n, err := f.archiveFile.WriteAt(text[:len(text)/2], at)
	return n, errors.Join(err, syscall.ENOSPC)
}

// TestJournal_CannotBeCutOff: a line in part that stays would make the lines behind it unreadable.
func TestJournal_CannotBeCutOff(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j, err := OpenJournal(path, "http://x/dlq")
	if err != nil {
		t.Fatal(err)
	}
	j.file = &uncut{fullDisk{File: j.file.(*os.File)}}
	for _, id := range []string{"first", "second"} {
		if err := j.put(journalLine{Sent: id}); !errors.Is(err, syscall.ENOSPC) || j.is(journalSent, id) {
			t.Errorf("%s: got %v, want the disk's error", id, err)
		}
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if _, err := OpenJournal(path, "http://x/dlq"); err != nil {
		t.Errorf("the next run: %v", err)
	}
}

type uncut struct{ fullDisk }

func (*uncut) Truncate(int64) error { return syscall.EIO }

// TestJournal_IsTakenAway in the midst of a run: it goes no further than it can be resumed.
func TestJournal_IsTakenAway(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(path string) error{
		"deleted":  os.Remove,
		"renamed":  func(path string) error { return os.Rename(path, path+".old") },
		"replaced": func(path string) error { return files.Replace(path, []byte("{}\n"), 0o600) },
		"folder":   func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
	} {
		path := filepath.Join(t.TempDir(), "state", "journal")
		j, err := OpenJournal(path, "http://x/dlq")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(j.put(journalLine{Sent: "first"}, journalLine{Gone: "first"}), take(path)); err != nil { // nothing is open
			t.Fatal(name, err)
		}
		for _, id := range []string{"second", "third"} {
			if err := j.put(journalLine{Sent: id}); !errors.Is(err, os.ErrNotExist) || j.is(journalSent, id) {
				t.Errorf("%s: got %v, want that the journal is gone", name, err)
			}
		}
		if err := j.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
		if _, err := os.Stat(path); name == "replaced" && err != nil {
			t.Errorf("%s: the file of somebody else: %v", name, err)
		}
	}
}

// FillDisk makes the disk of a journal take only half of the next write. For those after it there is room again.
func (j *Journal) FillDisk() { j.file = &fullDisk{File: j.file.(*os.File)} }

type fullDisk struct {
	*os.File
	hasRoom bool
}

func (d *fullDisk) Write(text []byte) (int, error) {
	if d.hasRoom {
		return d.File.Write(text)
	}
	d.hasRoom = true
	n, err := d.File.Write(text[:len(text)/2])
	return n, errors.Join(err, syscall.ENOSPC)
}

func TestBackoff_DoublesUpToAWeek(t *testing.T) {
	t.Parallel()
	for redrives := range maxTimes + 1 {
		if got := backoff(maxAfter, redrives); got != maxAfter {
			t.Errorf("a week, after %d redrives: got %v", redrives, got)
		}
		if got := backoff(5*time.Hour, redrives); got < 5*time.Hour || got > maxAfter {
			t.Errorf("five hours, after %d redrives: got %v", redrives, got)
		}
	}
	if got := backoff(time.Minute, 3); got != 8*time.Minute {
		t.Errorf("a minute, after 3 redrives: got %v, want 8m", got)
	}
}

// TestJournal_ALineInPart is cut off, so that the lines behind it can be read.
func TestJournal_ALineInPart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j, err := OpenJournal(path, "http://x/dlq")
	if err != nil {
		t.Fatal(err)
	}
	j.FillDisk()
	if err := j.put(journalLine{Sent: "first"}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want the disk's error", err)
	}
	if err := errors.Join(j.put(journalLine{Sent: "second"}), j.Close()); err != nil {
		t.Error(err)
	}
	if j, err = OpenJournal(path, "http://x/dlq"); err != nil {
		t.Fatal(err)
	}
	if j.is(journalSent, "first") || !j.is(journalSent, "second") {
		t.Errorf("got %v, want the line that was written whole", j.open)
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}
