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
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/time/rate"

	"github.com/device-fanout/fanout/internal/files"
	"github.com/device-fanout/fanout/internal/opened"
)

// archiveVersion is the version of a line's format. A line that names none was written before there was a number, and is version 1.
const archiveVersion = 1

// archived is a line of an archive: a dead letter with everything that is needed to send it back.
type archived struct {
	Version         int                      `json:"version"`
	Service         string                   `json:"service"`
	Queue           string                   `json:"queue"` // name of the queue that it goes back to: the one whose dead-letter queue it was in
	DeviceID        string                   `json:"device_id"`
	EventID         string                   `json:"event_id,omitempty"`
	Type            string                   `json:"type,omitempty"`
	Group           string                   `json:"message_group_id"`
	DeduplicationID string                   `json:"message_deduplication_id"`
	Attributes      map[string]archivedValue `json:"message_attributes"` // with the record, in which this redrive counts
	Record          Record                   `json:"deadletter"`
	Body            string                   `json:"body"`
}

type archivedValue struct {
	Type   string  `json:"type"`
	Text   *string `json:"text,omitempty"`
	Binary []byte  `json:"binary,omitempty"`
}

// Archive is a file of dead letters in NDJSON, which [Export] and [Drop] write and [Resend] sends back.
type Archive struct {
	mu     sync.Mutex
	file   archiveFile
	size   int64
	lines  map[*Message]span
	broken error // why nothing in it counts as being on disk any more

	syncing sync.Mutex // of several that sync at once the system may tell only one what has failed
	safe    int64      // guarded by syncing: of size, on disk
}

// archiveFile is what an Archive needs of its file.
type archiveFile interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Name() string
	Stat() (os.FileInfo, error)
	Sync() error
	Truncate(size int64) error
}

type span struct {
	at   int64
	text []byte
}

// CreateArchive creates the file. The error wraps [os.ErrExist] if there is one already.
func CreateArchive(path string) (*Archive, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("deadletter: archive: %w", err)
	}
	_ = files.SyncFolder(filepath.Dir(path)) // the file's name too is to outlive a loss of power, where the system can do that
	return &Archive{file: f, lines: map[*Message]span{}}, nil
}

// Close closes the file.
func (a *Archive) Close() error { return a.file.Close() }

// Export writes the messages that cfg selects to an archive and leaves them in the queue. To reach all of them it moves messages of a device
// to the end of the queue, as [Redrive] does.
func Export(ctx context.Context, api QueueAPI, from Source, to *Archive, cfg Config) (Summary, error) {
	return archiveAll(ctx, api, &archiving{from: from, archive: to}, cfg)
}

// Drop writes the messages that cfg selects to an archive and deletes each after its line is on disk and was read back.
func Drop(ctx context.Context, api QueueAPI, from Source, to *Archive, cfg Config) (Summary, error) {
	return archiveAll(ctx, api, &archiving{from: from, archive: to, drop: true}, cfg)
}

func archiveAll(ctx context.Context, api QueueAPI, act *archiving, cfg Config) (Summary, error) {
	if err := act.from.check(); err != nil {
		return Summary{}, err
	}
	return newSweep(api, act.from, act, cfg.withDefaults()).run(ctx)
}

// archiving is the action that writes messages to an archive.
type archiving struct {
	from    Source
	archive *Archive
	drop    bool
}

func (a *archiving) refuse(*Message) error { return nil }

func (a *archiving) deletes() bool { return a.drop }

func (a *archiving) take(m *Message, _ time.Time) error {
	return a.archive.write(m, a.from.Queue)
}

func (a *archiving) settle(messages []*Message) error { return a.archive.verify(messages) }

func (a *Archive) write(m *Message, queue string) error {
	attributes, _ := m.with(m.redriven())
	line := archived{
		Version: archiveVersion, Service: m.Record.Service, Queue: queue, DeviceID: m.DeviceID, EventID: m.EventID, Type: m.Type, Group: m.group(),
		DeduplicationID: m.redriveID(), Attributes: map[string]archivedValue{}, Record: m.Record, Body: m.Body,
	}
	for name, v := range attributes {
		line.Attributes[name] = archivedValue{Type: *v.DataType, Text: v.StringValue, Binary: v.BinaryValue}
	}
	text, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("deadletter: archive: event %s: %w", m.name(), err)
	}
	text = append(text, '\n')
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.file.WriteAt(text, a.size); err != nil {
		return fmt.Errorf("deadletter: archive: %w", errors.Join(err, a.file.Truncate(a.size)))
	}
	a.lines[m] = span{a.size, text}
	a.size += int64(len(text))
	return nil
}

// sync makes sure that all lines are on disk, in a file that can be found. After it has failed once it fails always: the system counts the pages
// of a failed sync as written.
func (a *Archive) sync() error {
	wanted := a.written()
	a.syncing.Lock()
	defer a.syncing.Unlock()
	var err error
	if a.safe < wanted { // else another one's sync has done it
		size := a.written()
		if err = a.file.Sync(); err == nil {
			a.safe = size
		}
	}
	err = errors.Join(err, opened.SameFile(a.file.Name(), a.file))
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil && a.broken == nil {
		a.broken = fmt.Errorf("deadletter: archive: events may not be in %s, and stay in their queue; see to the disk, and write to another file: %w",
			a.file.Name(), err)
	}
	return a.broken
}

func (a *Archive) written() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.size
}

// verify makes sure that the lines of these messages are on disk, and reads them back.
func (a *Archive) verify(messages []*Message) error {
	if err := a.sync(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range messages {
		line, ok := a.lines[m]
		if !ok {
			continue // a killed run has written it to its own archive
		}
		delete(a.lines, m)
		found := make([]byte, len(line.text))
		if _, err := a.file.ReadAt(found, line.at); err != nil {
			return fmt.Errorf("deadletter: archive: read event %s back: %w", m.name(), err)
		}
		if !bytes.Equal(found, line.text) {
			return fmt.Errorf("deadletter: archive: event %s of device %s was read back from %s otherwise than it was written, and stays in its queue; "+
				"check the disk, and write to another file", m.name(), m.DeviceID, a.file.Name())
		}
	}
	return nil
}

// LineError says why a line of an archive was not sent.
type LineError struct {
	Line int
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns Err.
func (e *LineError) Unwrap() error { return e.Err }

// ResendConfig sets what [Resend] does. The zero value sends everything.
type ResendConfig struct {
	// Allow returns an error for a queue, by its name, to which nothing may be sent. Nil allows all.
	Allow func(queue string) error
	// Rate is the most messages per second. Zero means no limit.
	Rate float64
	// Reject is called for each line that was not sent, one call at a time. Nil means no reports.
	Reject func(*LineError)
}

// Resend sends the dead letters of an archive back to their queues, those of a device in the order of the file. If one can't be sent, the
// later ones of its device are not sent either. It returns how many lines were sent, and how many were not. A second Resend within five
// minutes sends no second copies; a later one does, and services recognize the events by their identity. A line of an unknown version ends it
// with an error, since later lines may be of the same device.
func Resend(ctx context.Context, api QueueAPI, in io.Reader, cfg ResendConfig) (sent, failed int, err error) {
	if cfg.Reject == nil {
		cfg.Reject = func(*LineError) {}
	}
	r := &resend{queues: newDirectory(api), pace: perSecond(cfg.Rate), stuck: map[[2]string]int{}}
	defer r.queues.close()
	var lanes [DefaultLanes]chan numbered
	var wait sync.WaitGroup
	reject := func(l numbered, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if key := l.key(); key[0] != "" && key[1] != "" && (r.stuck[key] == 0 || l.line < r.stuck[key]) {
			r.stuck[key] = l.line
		}
		r.failed++
		cfg.Reject(&LineError{l.line, err})
	}
	for i := range lanes {
		lanes[i] = make(chan numbered, 1)
		wait.Go(func() {
			for l := range lanes[i] {
				if err := r.send(ctx, l); err != nil {
					reject(l, err)
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
			reject(l, err)
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

// key is the queue and the group, in which nothing may overtake.
func (l *numbered) key() [2]string { return [2]string{l.Queue, l.Group} }

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
	stuck        map[[2]string]int // by queue and group: the first line that could not be sent
	sent, failed int
}

func (r *resend) send(ctx context.Context, l numbered) error {
	r.mu.Lock()
	before := r.stuck[l.key()]
	r.mu.Unlock()
	if before > 0 && before < l.line {
		return fmt.Errorf("event %s of device %s waits for line %d, which could not be sent", l.EventID, l.DeviceID, before)
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
		return fmt.Errorf("send event %s of device %s to %s: %w", l.EventID, l.DeviceID, l.Queue, err)
	}
	r.sent++
	return nil
}

// perSecond limits messages to n a second, evenly; 0 or less means no limit.
func perSecond(n float64) *rate.Limiter {
	if n <= 0 {
		return rate.NewLimiter(rate.Inf, 1)
	}
	return rate.NewLimiter(rate.Limit(n), 1)
}
