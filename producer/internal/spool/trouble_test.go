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
)

// heard keeps what a Spool could not report otherwise.
func heard(list *[]string) func(error) {
	return func(err error) { *list = append(*list, err.Error()) }
}

// damagedFolder is a folder with three records, the second of which is damaged.
func damagedFolder(t *testing.T) (dir string, refs []Ref) {
	t.Helper()
	dir = t.TempDir()
	s, _ := open(t, dir, Options{})
	refs = mustAppend(t, s, record("a", 1), record("b", 2), record("c", 3))
	mustClose(t, s)
	path := filepath.Join(dir, "0000000001.log")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[refs[1].offset+20] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, refs
}

// TestOpen_GoesOnWhenNothingCanBeSetAside: on a full disk the whole records must go out, for only that makes room. The damaged
// bytes stay where they are.
func TestOpen_GoesOnWhenNothingCanBeSetAside(t *testing.T) {
	t.Parallel()
	dir, _ := damagedFolder(t)
	aside := filepath.Join(dir, asideFolder)
	if err := os.Remove(aside); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(aside, nil, 0o600); err != nil { // nothing can be written below it
		t.Fatal(err)
	}
	var trouble []string
	s, state := open(t, dir, Options{Failed: heard(&trouble)})
	if got, want := waiting(t, s, state), []string{"a:1", "c:3"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	log := filepath.Join(dir, "0000000001.log")
	if len(state.Damaged) != 1 || state.Damaged[0].Aside != log || len(trouble) != 1 {
		t.Errorf("damage %+v and trouble %q, want one piece that stays in %s", state.Damaged, trouble, log)
	}
	for _, w := range state.Waiting {
		s.Done(w.Refs...)
	}
	mustClose(t, s)
	if _, err := os.Stat(log); err != nil {
		t.Errorf("the damaged bytes are gone: %v", err)
	}

	if err := os.Remove(aside); err != nil {
		t.Fatal(err)
	}
	s, state = open(t, dir, Options{})
	if len(state.Waiting) != 0 || len(state.Damaged) != 1 {
		t.Errorf("next time: got %+v, want nothing but the damage", state)
	}
	mustClose(t, s)
	if kept, err := os.ReadFile(state.Damaged[0].Aside); err != nil || !bytes.Contains(kept, []byte("id-2")) {
		t.Errorf("the damaged bytes are not set aside: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "0*")); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// TestDamage_IsKeptBesideThatOfAnEarlierSegment of the same number, for numbers begin anew; and beside what a crash left of a copy.
func TestDamage_IsKeptBesideThatOfAnEarlierSegment(t *testing.T) {
	t.Parallel()
	dir, refs := damagedFolder(t)
	old := filepath.Join(dir, asideFolder, fmt.Sprintf("0000000001-%d.damaged", refs[1].offset))
	if err := os.WriteFile(old, []byte("of an earlier segment"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, state := open(t, dir, Options{})
	mustClose(t, s)
	if len(state.Damaged) != 1 {
		t.Fatalf("damage %+v, want one piece", state.Damaged)
	}
	if kept, err := os.ReadFile(state.Damaged[0].Aside); err != nil || !bytes.Contains(kept, []byte("id-2")) {
		t.Errorf("%s has %q, %v, want the damaged record", state.Damaged[0].Aside, kept, err)
	}
	if kept, err := os.ReadFile(old); err != nil || string(kept) != "of an earlier segment" {
		t.Errorf("%s has %q, %v", old, kept, err)
	}
	s, state = open(t, dir, Options{})
	mustClose(t, s)
	if len(state.Damaged) != 0 {
		t.Errorf("reported again: %+v", state.Damaged)
	}
}

// TestOpen_ReadsAroundWhatTheDiskCannotRead, and leaves the file there.
func TestOpen_ReadsAroundWhatTheDiskCannotRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, Options{})
	var records []Record
	for i := range 400 {
		records = append(records, record(fmt.Sprintf("k%d", i), int64(i)))
	}
	refs := mustAppend(t, s, records...)
	mustClose(t, s)
	disk := &brokenDisk{unreadable: 8192}
	var want []string
	for i, ref := range refs {
		end := int(ref.offset) + records[i].Size()
		if end <= disk.unreadable || int(ref.offset) >= disk.unreadable+4096 {
			want = append(want, fmt.Sprintf("k%d:%d", i, i))
		}
	}
	var trouble []string
	s, state := open(t, dir, Options{open: disk.open, Failed: heard(&trouble)})
	if got := waiting(t, s, state); !slices.Equal(got, want) {
		t.Errorf("found %d records, want the %d around the bad page", len(got), len(want))
	}
	if len(state.Damaged) != 1 || state.Damaged[0].Torn || len(trouble) != 1 || !strings.Contains(trouble[0], "input/output") {
		t.Errorf("damage %+v and trouble %q, want one piece", state.Damaged, trouble)
	}
	for _, w := range state.Waiting {
		s.Done(w.Refs...)
	}
	mustClose(t, s)
	s, state = open(t, dir, Options{}) // the page was not lost after all
	defer mustClose(t, s)
	if got := waiting(t, s, state); len(got) != len(records)-len(want) {
		t.Errorf("once the disk reads it again there are %d records, want the other %d", len(got), len(records)-len(want))
	}
}

// TestSync_ThatFailsLaterBeginsANewFile: the system counts pages of a failed sync as written, so that a later one would report
// success for what is not there.
func TestSync_ThatFailsLaterBeginsANewFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	disk := &brokenDisk{room: 1 << 20}
	var trouble []string
	s, _ := open(t, dir, Options{SyncEvery: time.Hour, open: disk.open, Failed: heard(&trouble)})
	first := mustAppend(t, s, record("a", 1))
	disk.failSync = true
	s.syncLater()
	disk.failSync = false
	second := mustAppend(t, s, record("a", 2))
	if len(trouble) != 1 || first[0].segment == second[0].segment {
		t.Errorf("trouble %q, records at %v and %v, want the failed sync reported and another file", trouble, first, second)
	}
	mustClose(t, s)
	s, state := open(t, dir, Options{})
	defer mustClose(t, s)
	if got, want := waiting(t, s, state), []string{"a:1", "a:2"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestAppend_BeginsANewFileAfterAFailedSync, also where the write was taken back: a later sync of the old one may tell nothing of its pages.
func TestAppend_BeginsANewFileAfterAFailedSync(t *testing.T) {
	t.Parallel()
	disk := &brokenDisk{room: 1 << 20}
	s, _ := open(t, t.TempDir(), Options{open: disk.open, Failed: func(error) {}})
	first := mustAppend(t, s, record("a", 1))
	disk.failSync = true
	if _, err := s.Append([]Record{record("a", 2)}); !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v, want the disk's error", err)
	}
	disk.failSync = false
	if third := mustAppend(t, s, record("a", 3)); third[0].segment == first[0].segment {
		t.Errorf("records at %v and %v, want another file", first, third)
	}
	wantAfterRestart(t, s, s.dir, "a:1", "a:3")
}

// TestAppend_TakesAFailedWriteBackForGood: cutting the file off is itself only safe once it is on disk.
func TestAppend_TakesAFailedWriteBackForGood(t *testing.T) {
	t.Parallel()
	disk := &brokenDisk{room: record("a", 1).Size() + 20}
	s, _ := open(t, t.TempDir(), Options{open: disk.open})
	mustAppend(t, s, record("a", 1))
	if _, err := s.Append([]Record{record("a", 2)}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v, want the disk's error", err)
	}
	if disk.cuts != 1 || disk.syncs != 2 {
		t.Errorf("%d cuts and %d syncs, want a sync of the cut", disk.cuts, disk.syncs)
	}
	mustClose(t, s)
}

func TestAppend_GoesOnBesideWhatAFailedFileLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, Options{})
	if err := os.WriteFile(filepath.Join(dir, "0000000001.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append([]Record{record("a", 1)}); !errors.Is(err, os.ErrExist) {
		t.Errorf("got %v, want the file's error", err)
	}
	mustAppend(t, s, record("a", 2))
	mustClose(t, s)
}

// TestSegment_KeepsItsListAsLongAsItsLog: without the list all that is done with would come back.
func TestSegment_KeepsItsListAsLongAsItsLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var trouble []string
	s, _ := open(t, dir, Options{Failed: heard(&trouble)})
	refs := mustAppend(t, s, record("a", 1), record("a", 2))
	s.Done(refs[0])
	log := filepath.Join(dir, "0000000001.log")
	if err := errors.Join(os.Remove(log), os.MkdirAll(filepath.Join(log, "full"), 0o700)); err != nil { // it cannot be removed
		t.Fatal(err)
	}
	s.Done(refs[1])
	mustClose(t, s)
	if _, err := os.Stat(filepath.Join(dir, "0000000001.done")); err != nil || len(trouble) != 1 {
		t.Errorf("the list: %v; trouble %q, want the list to stay and the log's error", err, trouble)
	}
}

func TestSetAside_BeginsANewLineBehindATornOne(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), Options{})
	defer mustClose(t, s)
	path, err := s.SetAside("lines", []byte("one"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 2); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"two", "three"} {
		if _, err := s.SetAside("lines", []byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "on\ntwo\nthree\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestOpen_NeedsNoRoom: on a full disk not even the number of the process can be written.
func TestOpen_NeedsNoRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const full = 1<<8 | 7 // the device that /dev/full is
	if err := syscall.Mknod(filepath.Join(dir, "lock"), syscall.S_IFCHR|0o600, full); err != nil {
		t.Skipf("needs the right to make a device that is always full: %v", err)
	}
	s, _, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
}

// TestOpen_ThatFailsDeletesNothing, whatever it was that could not be opened: a list of done records here, for want of file
// descriptors, say.
func TestOpen_ThatFailsDeletesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _ := open(t, dir, Options{SegmentBytes: 1})
	want := []string{"a:1", "b:2", "c:3"}
	for i, key := range []string{"a", "b", "c"} {
		mustAppend(t, s, record(key, int64(i+1)))
	}
	mustClose(t, s)
	list := filepath.Join(dir, "0000000002.done")
	if err := os.Mkdir(list, 0o700); err != nil { // cannot be read
		t.Fatal(err)
	}
	if _, _, err := Open(dir, Options{}); err == nil {
		t.Fatal("opened without one of the lists")
	}
	if err := os.Remove(list); err != nil {
		t.Fatal(err)
	}
	s, state := open(t, dir, Options{})
	if got := waiting(t, s, state); !slices.Equal(got, want) {
		t.Errorf("after an Open that failed: got %v, want %v", got, want)
	}
	mustClose(t, s)
}

// TestOpen_WhatWasUnreadableIsNotTakenForDone when the disk can read it again: it comes in its turn, or is set aside where later
// ones of its key are done with.
func TestOpen_WhatWasUnreadableIsNotTakenForDone(t *testing.T) {
	t.Parallel()
	for _, overtaken := range []bool{false, true} {
		t.Run(fmt.Sprint("overtaken ", overtaken), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s, _ := open(t, dir, Options{})
			var records []Record
			var want []string
			for i := range 400 {
				records = append(records, record("a", int64(i)))
				want = append(want, fmt.Sprint("a:", i))
			}
			mustAppend(t, s, records...)
			mustClose(t, s)
			disk := &brokenDisk{unreadable: 8192}
			var trouble []string
			s, state := open(t, dir, Options{open: disk.open, Failed: heard(&trouble)})
			found := waiting(t, s, state)
			lost := len(want) - len(found)
			if lost == 0 || len(trouble) == 0 {
				t.Fatalf("found %d of %d records with trouble %q, want some that cannot be read", len(found), len(want), trouble)
			}
			if refs := state.Waiting[0].Refs; overtaken {
				s.Done(refs[len(refs)-1]) // it stands for the others, but not for those in the page
			} else {
				s.Done(refs[:10]...) // they stand before the page
			}
			mustClose(t, s)

			s, state = open(t, dir, Options{})
			got := waiting(t, s, state)
			if !overtaken && !slices.Equal(got, want[10:]) {
				t.Errorf("got %d records, want the %d that are left, in order", len(got), len(want)-10)
			}
			if overtaken && (len(got) > 0 || len(state.Damaged) != lost) {
				t.Errorf("got %d records and %d pieces set aside, want the %d records of the page set aside", len(got), len(state.Damaged), lost)
			}
			for _, d := range state.Damaged {
				if kept, err := os.ReadFile(d.Aside); err != nil || !bytes.Contains(kept, []byte("id-")) {
					t.Errorf("%s has no record: %v", d.Aside, err)
				}
			}
			for _, w := range state.Waiting {
				s.Done(w.Refs...)
			}
			mustClose(t, s)
			if left, _ := filepath.Glob(filepath.Join(dir, "0*")); len(left) > 0 {
				t.Errorf("%v are left", left)
			}
		})
	}
}

// TestSpool_ASegmentThatCannotBeDeletedIsDone all the same.
func TestSpool_ASegmentThatCannotBeDeletedIsDone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var trouble []string
	s, _ := open(t, dir, Options{SegmentBytes: 1, Failed: heard(&trouble)})
	refs := mustAppend(t, s, record("a", 1))
	mustAppend(t, s, record("a", 2)) // ends the first segment
	log, moved := filepath.Join(dir, "0000000001.log"), filepath.Join(t.TempDir(), "log")
	if err := os.Rename(log, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(log, "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.Done(refs...)
	if len(trouble) != 1 {
		t.Errorf("trouble: got %q, want the log that cannot be deleted", trouble)
	}
	mustClose(t, s)
	if err := errors.Join(os.RemoveAll(log), os.Rename(moved, log)); err != nil {
		t.Fatal(err)
	}
	s, state := open(t, dir, Options{})
	if got, want := waiting(t, s, state), []string{"a:2"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	mustClose(t, s)
}

// TestUndo_TellsOfAFailedSync of records that were accepted before, to be synced later.
func TestUndo_TellsOfAFailedSync(t *testing.T) {
	t.Parallel()
	disk := &brokenDisk{room: record("a", 1).Size() + 20}
	var trouble []string
	s, _ := open(t, t.TempDir(), Options{SyncEvery: time.Hour, open: disk.open, Failed: heard(&trouble)})
	mustAppend(t, s, record("a", 1))
	disk.failSync = true
	if _, err := s.Append([]Record{record("a", 2)}); err == nil {
		t.Fatal("no error")
	}
	disk.failSync = false
	if len(trouble) != 1 {
		t.Errorf("trouble: got %q, want the sync that failed", trouble)
	}
	mustClose(t, s)
}
