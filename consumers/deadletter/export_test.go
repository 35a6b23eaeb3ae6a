package deadletter

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

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
