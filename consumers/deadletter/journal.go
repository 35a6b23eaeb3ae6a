package deadletter

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"

	"github.com/device-fanout/fanout/internal/files"
	"github.com/device-fanout/fanout/internal/opened"
)

// ErrBusy says that another process has the journal open, and so works on the same dead-letter queue.
var ErrBusy = errors.New("deadletter: another redrive of this queue is under way on this machine")

// Journal is a file that makes a redrive resumable: it says which messages were sent or copied but not yet deleted, and the messages of
// which devices are being rotated. A redrive that was killed is run again with the same journal, also after the five minutes for which
// SQS would recognize a second copy.
//
// A killed process has written all lines up to that moment. [Journal.Close] removes the file when nothing in it is open.
type Journal struct {
	path string
	lock *flock.Flock

	mu   sync.Mutex
	file interface { // an *os.File; nil if the journal is in memory only
		io.WriteCloser
		Truncate(size int64) error
		Stat() (os.FileInfo, error)
	}
	broken    error             // why nothing more can be recorded
	size      int64             // of the complete lines
	open      map[string]string // by message ID in the dead-letter queue: journalSent or journalCopied
	try       map[string]bool   // copy requests of which not all copies are confirmed
	rotations map[string]string // by device: the ID of its open rotation
}

// journalVersion is the version of the file's format. The first line names it; one that does not was written before there was a number,
// and is version 1.
const journalVersion = 1

// Why a message is to be deleted.
const (
	journalSent   = "sent"   // it was sent, and the queue has confirmed it
	journalCopied = "copied" // its copy is at the end of the dead-letter queue
)

// journalLine is one line of the file; exactly one of the fields is set, besides Version, which goes with Queue, and Lap, which goes with
// Device.
type journalLine struct {
	Version int    `json:"version,omitempty"` // first line
	Sent    string `json:"sent,omitempty"`    // a message ID
	Copied  string `json:"copied,omitempty"`  // a message ID
	Gone    string `json:"gone,omitempty"`    // the message was deleted
	Try     string `json:"try,omitempty"`     // a request is about to copy messages
	Kept    string `json:"kept,omitempty"`    // all copies of that request are confirmed
	Device  string `json:"device,omitempty"`
	Lap     string `json:"lap,omitempty"`   // ID of the device's rotation; empty when it is complete
	Queue   string `json:"queue,omitempty"` // first line: the dead-letter queue
}

// OpenJournal opens the journal of a dead-letter queue, or creates it and its folder. The error wraps [ErrBusy] while another process has
// it open.
func OpenJournal(path, queueURL string) (*Journal, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("deadletter: journal: %w", err)
	}
	lock := flock.New(path + ".lock")
	switch free, err := lock.TryLock(); {
	case err != nil:
		return nil, fmt.Errorf("deadletter: journal: lock %s: %w", lock.Path(), err)
	case !free:
		return nil, fmt.Errorf("%w (journal %s)", ErrBusy, path)
	}
	j := memoryJournal()
	j.path, j.lock = path, lock
	if err := j.begin(queueURL); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return j, nil
}

func (j *Journal) begin(queueURL string) error {
	text, err := os.ReadFile(j.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("deadletter: journal: %w", err)
	}
	if err := j.read(text, queueURL); err != nil {
		return err
	}
	// The new file has only what is open. It replaces the old one in one step.
	lines := []journalLine{{Version: journalVersion, Queue: queueURL}}
	for id, what := range j.open {
		if what == journalSent {
			lines = append(lines, journalLine{Sent: id})
		} else {
			lines = append(lines, journalLine{Copied: id})
		}
	}
	for id := range j.try {
		lines = append(lines, journalLine{Try: id})
	}
	for device, rotation := range j.rotations {
		lines = append(lines, journalLine{Device: device, Lap: rotation})
	}
	fresh := encodeLines(lines)
	if err := files.Replace(j.path, fresh, 0o600); err != nil {
		return fmt.Errorf("deadletter: journal: %w", err)
	}
	if j.file, err = os.OpenFile(j.path, os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return fmt.Errorf("deadletter: journal: %w", err)
	}
	j.size = int64(len(fresh))
	return nil
}

func (j *Journal) read(text []byte, queueURL string) error {
	in := bufio.NewReader(bytes.NewReader(text))
	for n := 1; ; n++ {
		line, end := in.ReadBytes('\n')
		if errors.Is(end, io.EOF) && (n > 1 || len(line) == 0) {
			return nil // an incomplete line was being written when the process died
		}
		l := journalLine{Version: journalVersion}
		err := json.Unmarshal(line, &l)
		if l.Version != journalVersion { // also where the rest can't be read
			return fmt.Errorf("deadletter: journal %s: line %d: its format is version %d, and this program knows version %d only; "+
				"end the redrive with the program that began it, or a newer one", j.path, n, l.Version, journalVersion)
		}
		if err != nil {
			return fmt.Errorf("deadletter: journal %s: line %d: got %q, want a line that a redrive has written; without the journal a redrive may send "+
				"events again that were sent before, so restore the file, or remove it if that is acceptable: %w", j.path, n, cut(string(line), 80), err)
		}
		if n == 1 && l.Queue != queueURL {
			return fmt.Errorf("deadletter: journal %s is of queue %s, want one of %s", j.path, l.Queue, queueURL)
		}
		j.apply(l)
	}
}

func (j *Journal) apply(l journalLine) {
	switch {
	case l.Sent != "":
		j.open[l.Sent] = journalSent
	case l.Copied != "":
		j.open[l.Copied] = journalCopied
	case l.Gone != "":
		delete(j.open, l.Gone)
	case l.Try != "":
		j.try[l.Try] = true
	case l.Kept != "":
		delete(j.try, l.Kept)
	case l.Device != "" && l.Lap != "":
		j.rotations[l.Device] = l.Lap
	case l.Device != "":
		delete(j.rotations, l.Device)
	}
}

func encodeLines(lines []journalLine) (text []byte) {
	for _, l := range lines {
		line, err := json.Marshal(l)
		if err != nil {
			panic(err) // strings and numbers always encode
		}
		text = append(append(text, line...), '\n')
	}
	return text
}

// memoryJournal makes a journal that is lost when the process ends.
func memoryJournal() *Journal {
	return &Journal{open: map[string]string{}, try: map[string]bool{}, rotations: map[string]string{}}
}

// put writes lines, and applies them only then. If the disk takes only a part of them, that part is cut off again; if it can't be, or if the
// file is not there any more for another run to find, nothing more is recorded.
func (j *Journal) put(lines ...journalLine) error {
	if len(lines) == 0 {
		return nil
	}
	text := encodeLines(lines)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return j.broken
	}
	if j.file != nil {
		if _, err := j.file.Write(text); err != nil {
			cut := j.file.Truncate(j.size)
			err = fmt.Errorf("deadletter: journal: a step of the run can't be recorded; make room on the disk and run the same command again: %w",
				errors.Join(err, cut))
			if cut != nil {
				j.broken = err
			}
			return err
		}
		if err := opened.SameFile(j.path, j.file); err != nil {
			j.broken = fmt.Errorf("deadletter: journal: its file was deleted, renamed or replaced while the run went on; put it back and run the same "+
				"command again: without it events may be sent twice: %w", err)
			return j.broken
		}
		j.size += int64(len(text))
	}
	for _, l := range lines {
		j.apply(l)
	}
	return nil
}

// is tells whether a message is still to be deleted, and for that reason.
func (j *Journal) is(what, id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.open[id] == what
}

// tried tells whether copies of a request were not confirmed.
func (j *Journal) tried(id string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.try[id]
}

// openRotations are the IDs of the rotations that another run began and did not complete, by device.
func (j *Journal) openRotations() map[string]string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.rotations)
}

// Open returns how many messages were sent or copied and not yet deleted, and how many devices have messages that are out of order.
func (j *Journal) Open() (messages, devices int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.open), len(j.rotations)
}

// isOpen tells whether an earlier run has left something open. A nil Journal has nothing open.
func (j *Journal) isOpen() bool {
	if j == nil {
		return false
	}
	messages, devices := j.Open()
	return messages+devices > 0
}

// Close closes the file, and removes it when nothing is open.
func (j *Journal) Close() error {
	messages, devices := j.Open()
	err := j.file.Close()
	if err == nil && j.broken == nil && messages+devices+len(j.try) == 0 {
		err = os.Remove(j.path)
	}
	return errors.Join(err, j.lock.Close())
}
