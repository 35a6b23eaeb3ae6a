package deadletter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/time/rate"
)

// archiveVersion is the version of a line's format. A line that names none was written before there was a number, and is version 1.
const archiveVersion = 1

// archived is a letter as a line of an archive: everything that is needed to send it back.
type archived struct {
	Version         int                      `json:"version"`
	Service         string                   `json:"service"`
	Queue           string                   `json:"queue"` // name of the queue that it goes back to
	DeviceID        string                   `json:"device_id"`
	EventID         string                   `json:"event_id,omitempty"`
	Type            string                   `json:"type,omitempty"`
	Group           string                   `json:"message_group_id"`
	DeduplicationID string                   `json:"message_deduplication_id"`
	Attributes      map[string]archivedValue `json:"message_attributes"` // with the record, its redrive counted
	Record          Record                   `json:"deadletter"`
	Body            string                   `json:"body"`
}

type archivedValue struct {
	Type   string  `json:"type"`
	Text   *string `json:"text,omitempty"`
	Binary []byte  `json:"binary,omitempty"`
}

// Archive is a file of letters in NDJSON: what [Export] and [Drop] write, and [Resend] sends back.
type Archive struct {
	mu    sync.Mutex
	file  *os.File
	size  int64
	lines map[*Message]span
}

type span struct {
	at   int64
	text []byte
}

// CreateArchive creates the file. It is an error if it is there.
func CreateArchive(path string) (*Archive, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("deadletter: archive: %w", err)
	}
	return &Archive{file: f, lines: map[*Message]span{}}, nil
}

// Close closes the file.
func (a *Archive) Close() error { return a.file.Close() }

// Export writes the letters that cfg selects to an archive and leaves them where they are. It goes through the whole queue, as
// [Redrive] does, with what that means for letters behind more than ten of their device.
func Export(ctx context.Context, api QueueAPI, from Source, to *Archive, cfg Config) (Summary, error) {
	return newSweep(api, from, &archiving{from: from, archive: to}, cfg.withDefaults()).run(ctx)
}

// Drop writes the letters that cfg selects to an archive and deletes each after its line is on disk and was read back.
func Drop(ctx context.Context, api QueueAPI, from Source, to *Archive, cfg Config) (Summary, error) {
	return newSweep(api, from, &archiving{from: from, archive: to, drop: true}, cfg.withDefaults()).run(ctx)
}

// archiving is the action that writes letters to an archive.
type archiving struct {
	from    Source
	archive *Archive
	drop    bool
}

func (a *archiving) deletes() bool { return a.drop }

func (a *archiving) take(l *Message, _ time.Time) error {
	return a.archive.write(l, a.from.home(l))
}

func (a *archiving) settle(letters []*Message) error { return a.archive.verify(letters) }

func (a *Archive) write(l *Message, queue string) error {
	attributes, _ := l.with(l.redriven())
	line := archived{
		Version: archiveVersion, Service: l.Record.Service, Queue: queue, DeviceID: l.DeviceID, EventID: l.EventID, Type: l.Type, Group: l.group(),
		DeduplicationID: l.redriveID(), Attributes: map[string]archivedValue{}, Record: l.Record, Body: l.Body,
	}
	for name, v := range attributes {
		line.Attributes[name] = archivedValue{Type: *v.DataType, Text: v.StringValue, Binary: v.BinaryValue}
	}
	text, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("deadletter: archive: event %s: %w", l.name(), err)
	}
	text = append(text, '\n')
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.file.WriteAt(text, a.size); err != nil {
		return fmt.Errorf("deadletter: archive: %w", err)
	}
	a.lines[l] = span{a.size, text}
	a.size += int64(len(text))
	return nil
}

// verify makes sure that the letters' lines are on disk, by reading them back.
func (a *Archive) verify(letters []*Message) error {
	if err := a.file.Sync(); err != nil {
		return fmt.Errorf("deadletter: archive: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range letters {
		line, ok := a.lines[l]
		if !ok {
			continue // it is in the archive of a run that was killed
		}
		delete(a.lines, l)
		found := make([]byte, len(line.text))
		if _, err := a.file.ReadAt(found, line.at); err != nil {
			return fmt.Errorf("deadletter: archive: read event %s back: %w", l.name(), err)
		}
		if !bytes.Equal(found, line.text) {
			return fmt.Errorf("deadletter: archive: event %s was read back otherwise than it was written", l.name())
		}
	}
	return nil
}

// LineError is a line of an archive that could not be sent.
type LineError struct {
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap gives what was wrong with the line.
func (e *LineError) Unwrap() error { return e.Err }

// ResendConfig sets what [Resend] does. The zero value sends everything.
type ResendConfig struct {
	// Allow refuses a line by the name of its queue; nil allows all.
	Allow func(queue string) error
	// Rate is the most letters per second. Zero means no limit.
	Rate float64
	// Reject is told of each line that was not sent. Nil is told nothing.
	Reject func(*LineError)
}

// Resend sends the letters of an archive back to their queues, those of a device in the order of the file; where one can't be sent
// those behind it of its device are not. It returns how many lines were sent, and how many not. A second Resend within five minutes
// sends no second copy; a later one does, and services know the events by their IDs. A line whose version is not known ends it with an
// error, since those behind it may be of the same device.
func Resend(ctx context.Context, api QueueAPI, in io.Reader, cfg ResendConfig) (sent, failed int, err error) {
	if cfg.Reject == nil {
		cfg.Reject = func(*LineError) {}
	}
	r := &resend{queues: newDirectory(api), pace: perSecond(cfg.Rate), stuck: map[[2]string]int{}}
	defer r.queues.close()
	var lanes [DefaultLanes]chan numbered
	var wait sync.WaitGroup
	reject := func(line int, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.failed++
		cfg.Reject(&LineError{line, err})
	}
	for i := range lanes {
		lanes[i] = make(chan numbered, 1)
		wait.Go(func() {
			for l := range lanes[i] {
				if err := r.send(ctx, l); err != nil {
					reject(l.line, err)
				}
			}
		})
	}
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, 8*maxMessageBytes)
	n, version := 1, archiveVersion
	for ; ctx.Err() == nil && scan.Scan(); n++ {
		l := numbered{line: n}
		err := l.parse(scan.Bytes(), cfg.Allow)
		if version = l.Version; version != archiveVersion { // also where the rest can't be read
			break
		}
		if err != nil {
			reject(n, err)
			continue
		}
		h := fnv.New32a()
		h.Write([]byte(l.Queue + " " + l.Group))
		lanes[h.Sum32()%DefaultLanes] <- l
	}
	for i := range lanes {
		close(lanes[i])
	}
	wait.Wait()
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("deadletter: interrupted in line %d: %w", n, ctx.Err())
	case version != archiveVersion:
		err = fmt.Errorf("deadletter: archive: line %d: its format is version %d, and this program knows version %d only; "+
			"nothing from this line on was sent: send the rest with the program that wrote it, or a newer one", n, version, archiveVersion)
	case scan.Err() != nil:
		err = fmt.Errorf("deadletter: read line %d: %w", n, scan.Err())
	}
	return r.sent, r.failed, err
}

type numbered struct {
	archived
	line int
}

func (l *numbered) parse(text []byte, allow func(string) error) error {
	l.Version = archiveVersion // unless the line names another
	if err := json.Unmarshal(text, &l.archived); err != nil {
		return fmt.Errorf("got %q, want a line that dlq export or drop has written: %w", cut(string(text), 80), err)
	}
	if l.Queue == "" || l.Group == "" || l.DeduplicationID == "" || l.Body == "" {
		return errors.New("want queue, message_group_id, message_deduplication_id and body, as dlq export and drop write them")
	}
	if allow != nil {
		return allow(l.Queue)
	}
	return nil
}

type resend struct {
	queues *directory
	pace   *rate.Limiter

	mu           sync.Mutex
	stuck        map[[2]string]int // queue and group: the line that could not be sent
	sent, failed int
}

func (r *resend) send(ctx context.Context, l numbered) error {
	key := [2]string{l.Queue, l.Group}
	r.mu.Lock()
	before := r.stuck[key]
	r.mu.Unlock()
	if before > 0 {
		return fmt.Errorf("event %s of device %s waits for line %d", l.EventID, l.DeviceID, before)
	}
	err := r.pace.Wait(ctx)
	var to *sender
	if err == nil {
		to, err = r.queues.to(l.Queue)
	}
	if err == nil {
		attributes := map[string]types.MessageAttributeValue{}
		for name, v := range l.Attributes {
			attributes[name] = types.MessageAttributeValue{DataType: &v.Type, StringValue: v.Text, BinaryValue: v.Binary}
		}
		_, err = to.send(outgoing{
			group: l.Group, dedup: l.DeduplicationID, body: l.Body, attributes: attributes, deadline: time.Now().Add(time.Minute),
		})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.stuck[key] = l.line
		return fmt.Errorf("send event %s of device %s to %s: %w", l.EventID, l.DeviceID, l.Queue, err)
	}
	r.sent++
	return nil
}

// perSecond allows so many letters a second, evenly; 0 or less means no limit.
func perSecond(n float64) *rate.Limiter {
	if n <= 0 {
		return rate.NewLimiter(rate.Inf, 1)
	}
	return rate.NewLimiter(rate.Limit(n), 1)
}
