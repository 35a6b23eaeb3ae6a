package spool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// wantTrouble fails the test unless Append and Check both say what is wrong.
func wantTrouble(t *testing.T, s *Spool, says string) {
	t.Helper()
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("Check: got %v, want that it says %q", err, says)
	}
	if _, err := s.Append([]Record{record("lost", 99)}); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("Append: got %v, want that it says %q", err, says)
	}
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("Check after it: got %v, want that it says %q", err, says)
	}
}

// wantAfterRestart closes the spool, and fails the test unless the next one on the folder finds this.
func wantAfterRestart(t *testing.T, s *Spool, dir string, want ...string) {
	t.Helper()
	mustClose(t, s)
	again, state := open(t, dir, Options{})
	defer mustClose(t, again)
	if got := waiting(t, again, state); !slices.Equal(got, want) || len(state.Damaged) > 0 {
		t.Errorf("after a restart: got %v and damage %v, want %v", got, state.Damaged, want)
	}
}

// TestPlace_FolderIsGone: nothing is accepted into files that have no name any more.
func TestPlace_FolderIsGone(t *testing.T) {
	t.Parallel()
	for name, every := range map[string]time.Duration{"synced": 0, "synced later": time.Hour, "never synced": -1} {
		dir := filepath.Join(t.TempDir(), "spool")
		s, _ := open(t, dir, Options{SyncEvery: every, Failed: func(error) {}})
		refs := mustAppend(t, s, record("a", 1))
		if err := errors.Join(s.Check(), os.RemoveAll(dir)); err != nil {
			t.Fatal(name, err)
		}
		wantTrouble(t, s, "is gone")
		if got, err := s.Read(refs[0]); err != nil || got.Sequence != 1 {
			t.Errorf("%s: got %v, %v, want what was accepted to go out nevertheless", name, got, err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		wantTrouble(t, s, "not the folder that was opened")
		s.Done(refs...)
		_ = s.Close() // it may not find its files
	}
}

// TestPlace_FolderIsRenamed: it goes on where it was once the folder is back.
func TestPlace_FolderIsRenamed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	s, _ := open(t, dir, Options{})
	mustAppend(t, s, record("a", 1))
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	wantTrouble(t, s, "is gone")
	if err := os.Rename(dir+".old", dir); err != nil {
		t.Fatal(err)
	}
	s.probed = time.Time{} // a second later
	if err := s.Check(); err != nil {
		t.Errorf("Check with the folder back: %v", err)
	}
	mustAppend(t, s, record("a", 2))
	if err := s.Check(); err != nil {
		t.Errorf("Check after a good write: %v", err)
	}
	wantAfterRestart(t, s, dir, "a:1", "a:2")
}

// TestPlace_FilesAreDeleted in a folder that stays: the folder is taken anew, what is written into the old file is refused once, and nobody
// else gets the folder meanwhile.
func TestPlace_FilesAreDeleted(t *testing.T) {
	t.Parallel()
	for _, checkedFirst := range []bool{false, true} {
		dir := t.TempDir()
		var trouble []string
		s, _ := open(t, dir, Options{Failed: heard(&trouble)})
		mustAppend(t, s, record("a", 1))
		files, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, f := range files {
			if err := os.RemoveAll(f); err != nil {
				t.Fatal(err)
			}
		}
		if checkedFirst { // without any event, it must become ready again by itself
			if err := s.Check(); err == nil || !strings.Contains(err.Error(), ".log is gone") {
				t.Errorf("got %v, want that the file is gone", err)
			}
		} else if _, err := s.Append([]Record{record("a", 2)}); err == nil || !strings.Contains(err.Error(), ".log is gone") {
			t.Errorf("got %v, want that the file is gone", err)
		}
		s.probed = time.Time{} // a second later
		if err := s.Check(); err != nil {
			t.Errorf("a second later: %v", err)
		}
		if _, err := s.SetAside("x", []byte("line")); err != nil {
			t.Errorf("set aside: %v", err)
		}
		if _, _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
			t.Errorf("another owner: got %v, want ErrLocked", err)
		}
		if len(trouble) == 0 || !strings.Contains(trouble[0], "were deleted") {
			t.Errorf("trouble: %q, want that files were deleted", trouble)
		}
		mustAppend(t, s, record("a", 3))
		wantAfterRestart(t, s, dir, "a:3")
	}
}

// TestPlace_FilesAreStillBeingDeleted while the folder is taken anew: it is taken once more.
func TestPlace_FilesAreStillBeingDeleted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lock := filepath.Join(dir, lockFile)
	times := 0
	s, _ := open(t, dir, Options{Failed: func(error) {
		if times++; times == 1 {
			_ = os.Remove(lock)
		}
	}})
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		mustAppend(t, s, record("a", int64(i)))
	}
	if _, _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) || times != 2 {
		t.Errorf("taken anew %d times, another owner: got %v, want twice and ErrLocked", times, err)
	}
	wantAfterRestart(t, s, dir, "a:0", "a:1", "a:2")
}

// TestPlace_AnotherHasTakenIt after its files were deleted.
func TestPlace_AnotherHasTakenIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, Options{})
	if err := os.Remove(filepath.Join(dir, lockFile)); err != nil {
		t.Fatal(err)
	}
	other, _ := open(t, dir, Options{})
	if _, err := s.Append([]Record{record("a", 1)}); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
	if err := s.Check(); !errors.Is(err, ErrLocked) {
		t.Errorf("Check: got %v, want ErrLocked", err)
	}
	_ = s.Close()
	mustAppend(t, other, record("b", 1))
	wantAfterRestart(t, other, dir, "b:1")
}

// TestPlace_TheLockWasLost, as on NFS when a host could not be reached for a while: what another one has taken takes no more events here.
func TestPlace_TheLockWasLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, Options{})
	mustAppend(t, s, record("a", 1))
	if err := s.lock.Unlock(); err != nil { // the server gives it up, and this process knows nothing of it
		t.Fatal(err)
	}
	other, state := open(t, dir, Options{})
	if len(state.Waiting) != 1 || len(state.Waiting[0].Refs) != 1 {
		t.Errorf("the other one has found %+v, want the event", state.Waiting)
	}
	if _, err := s.Append([]Record{record("a", 2)}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "lock was lost") {
		t.Errorf("Append: got %v, want that the lock was lost", err)
	}
	if err := s.Check(); !errors.Is(err, ErrLocked) {
		t.Errorf("Check: got %v, want ErrLocked", err)
	}
	mustAppend(t, other, record("b", 1))
	wantAfterRestart(t, other, dir, "a:1", "b:1")
}

// TestCheck_TriesAFailedDiskAgain: with nothing to write, only trying tells that a disk is well again; once a second.
func TestCheck_TriesAFailedDiskAgain(t *testing.T) {
	t.Parallel()
	disk := &brokenDisk{room: 1 << 20}
	s, _ := open(t, t.TempDir(), Options{open: disk.open, Failed: func(error) {}})
	mustAppend(t, s, record("a", 1))
	for name, breaks := range map[string]func(broken bool){
		"full":      func(broken bool) { disk.room = map[bool]int{true: 10, false: 1 << 20}[broken] },
		"sync":      func(broken bool) { disk.failSync = broken },
		"read-only": func(broken bool) { disk.readOnly = broken },
	} {
		breaks(true)
		_, err := s.Append([]Record{record("a", 2)})
		if check := s.Check(); err == nil || check == nil {
			t.Fatalf("%s: got %v, then %v from Check", name, err, check)
		}
		s.probed = time.Time{}
		if err := s.Check(); err == nil {
			t.Errorf("%s: said to be well while it is not", name)
		}
		breaks(false)
		s.probed = time.Now().Add(time.Hour) // just now, however slow this machine is
		if err := s.Check(); err == nil {
			t.Errorf("%s: tried again within a second", name)
		}
		s.probed = time.Time{}
		if err := s.Check(); err != nil {
			t.Errorf("%s: well again, but Check says %v", name, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "probe")); len(left) > 0 {
		t.Error("the probe is left")
	}
	mustAppend(t, s, record("a", 3))
	wantAfterRestart(t, s, s.dir, "a:1", "a:3")
	if err := s.Check(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: got %v", err)
	}
}

// TestDone_AFailedSyncIsNotBelievedTheSecondTime: the system counts pages of a failed sync as written. So a list is written anew before it is
// synced again, and until then what stands for its entries stays.
func TestDone_AFailedSyncIsNotBelievedTheSecondTime(t *testing.T) {
	t.Parallel()
	disk := &brokenDisk{room: 1 << 20, lists: true}
	var trouble []string
	dir := t.TempDir()
	s, _ := open(t, dir, Options{open: disk.open, SegmentBytes: 1, Failed: heard(&trouble)})
	refs := mustAppend(t, s, record("a", 1), record("b", 1))
	second := mustAppend(t, s, record("a", 2))
	mustAppend(t, s, record("c", 1))
	s.Done(refs[0])
	disk.failSync, disk.room = true, 1<<20
	s.Done(second...) // a:2 stands for a:1, whose list is not safe
	newer := filepath.Join(dir, "0000000002.log")
	if _, err := os.Stat(newer); err != nil || len(trouble) == 0 {
		t.Fatalf("trouble %q, and %v: want the newer segment to stay", trouble, err)
	}
	disk.failSync = false
	written := 1<<20 - disk.room
	mustAppend(t, s, record("d", 1)) // begins a new segment
	if _, err := os.Stat(newer); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the disk is well again, and the newer segment is still there: %v", err)
	}
	if more := 1<<20 - disk.room - written; more != record("d", 1).Size()+doneBytes {
		t.Errorf("%d bytes written, want the record and the list again", more)
	}
	wantAfterRestart(t, s, dir, "b:1", "c:1", "d:1")
}

func TestSettle_ReadOnlyForAWhile(t *testing.T) {
	t.Parallel()
	disk := &brokenDisk{room: 1 << 20}
	s, _ := open(t, t.TempDir(), Options{open: disk.open})
	mustAppend(t, s, record("a", 1))
	disk.readOnly = true
	for range 3 {
		if _, err := s.Append([]Record{record("a", 2)}); !errors.Is(err, syscall.EROFS) {
			t.Fatalf("got %v, want EROFS", err)
		}
	}
	disk.readOnly = false
	mustAppend(t, s, record("a", 3))
	wantAfterRestart(t, s, s.dir, "a:1", "a:3")
}

// TestPlace_AnotherSpoolStandsThere: who was moved away touches no file of the spool that stands at its path now.
func TestPlace_AnotherSpoolStandsThere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	moved, _ := open(t, dir, Options{Failed: func(error) {}})
	refs := mustAppend(t, moved, record("a", 1), record("b", 1))
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	other, _ := open(t, dir, Options{})
	mustAppend(t, other, record("c", 1), record("d", 1))
	before, _ := os.ReadDir(dir)
	moved.Done(refs[0])
	for range 2 { // the second time it would begin a new file
		if _, err := moved.Append([]Record{record("a", 2)}); err == nil {
			t.Error("an event was accepted")
		}
	}
	moved.Done(refs[1])
	_ = moved.Close() // it can't find its files
	if after, _ := os.ReadDir(dir); len(after) != len(before) {
		t.Errorf("files of the other spool: got %v, want %v", after, before)
	}
	wantAfterRestart(t, other, dir, "c:1", "d:1")
}

// TestPlace_WhatIsDoneWhileTheFolderIsAway is written down when it is back.
func TestPlace_WhatIsDoneWhileTheFolderIsAway(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "spool")
	s, _ := open(t, dir, Options{Failed: func(error) {}})
	refs := mustAppend(t, s, record("a", 1), record("b", 1))
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	_ = s.Check()
	s.Done(refs...)
	if err := os.Rename(dir+".old", dir); err != nil {
		t.Fatal(err)
	}
	wantAfterRestart(t, s, dir)
}

// TestPlace_AnotherBeganAnewInIt: the folder was emptied and belongs to another spool now, whose files have the names of those that were
// deleted.
func TestPlace_AnotherBeganAnewInIt(t *testing.T) {
	t.Parallel()
	for name, listed := range map[string]bool{"without a list": false, "with a list": true} {
		dir := t.TempDir()
		s, _ := open(t, dir, Options{Failed: func(error) {}})
		refs := mustAppend(t, s, record("a", 1), record("b", 1), record("b", 2))
		if listed {
			s.Done(refs[0])
		}
		found, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, f := range found {
			if err := os.RemoveAll(f); err != nil {
				t.Fatal(err)
			}
		}
		other, _ := open(t, dir, Options{})
		mustAppend(t, other, record("c", 1), record("d", 1), record("d", 2))
		s.Done(refs[1])
		if err := s.Check(); !errors.Is(err, ErrLocked) {
			t.Errorf("%s: got %v, want ErrLocked", name, err)
		}
		s.Done(refs...)
		_ = s.Close()
		if err := other.Check(); err != nil {
			t.Errorf("%s: the other spool: %v", name, err)
		}
		wantAfterRestart(t, other, dir, "c:1", "d:1", "d:2")
	}
}
