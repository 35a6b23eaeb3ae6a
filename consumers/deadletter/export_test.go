package deadletter

import (
	"os"
	"testing"
	"time"
)

// SetFile lets a test give the journal another disk.
func (j *Journal) SetFile(f *os.File) (before *os.File) {
	before, j.file = j.file, f
	return before
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
