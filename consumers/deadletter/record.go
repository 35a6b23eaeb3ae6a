package deadletter

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/device-fanout/fanout/consumers/failure"
)

// Attribute is the name of the message attribute that carries a [Record].
const Attribute = "deadletter"

// Class says what kind of failure made an event a dead letter. See package failure.
type Class = failure.Class

// Classes of failures; see package failure.
const (
	Known       = failure.Known
	Exhausted   = failure.Exhausted
	Unknown     = failure.Unknown
	Parked      = failure.Parked
	Moved       = failure.Moved
	Undelivered = failure.Undelivered
)

// CodeReceiveCount is the code of class [Moved].
const CodeReceiveCount = "receive_count"

// Record says why an event is in a dead-letter queue. It travels with the message as a JSON object in the attribute
// [Attribute]; the message's body, group and other attributes stay as they were.
type Record struct {
	// Service is the service that could not handle the event.
	Service string `json:"service"`
	// Queue is the ARN of the queue that the event came from, to which a redrive sends it back.
	Queue string `json:"queue"`
	Class Class  `json:"class"`
	// Code is stable: it tells kinds of failure apart. It is cut at MaxCodeBytes.
	Code string `json:"code"`
	// Error is the text of the error, cut at MaxErrorBytes.
	Error string `json:"error"`
	// Fingerprint is equal for failures of one cause; see [FingerprintOf]. Records of older versions have that of service, class, code and
	// event type.
	Fingerprint string `json:"fingerprint"`
	// Attempts is how often a handler was started for this message by the consumer that gave up on it.
	Attempts int `json:"attempts"`
	// ReceiveCount is how often SQS had delivered the message.
	ReceiveCount int `json:"receive_count"`
	// MessageID is the SQS message ID that the event had in its queue.
	MessageID string    `json:"message_id"`
	SentAt    time.Time `json:"sent_at"`
	FailedAt  time.Time `json:"failed_at"`
	// Redrives is how often the event was sent back to its queue before.
	Redrives int `json:"redrives"`
	// RedrivenAt is when that was last; zero if it never was.
	RedrivenAt time.Time `json:"redriven_at,omitzero"`
	// Release is the ID of the last release of its parked device in which the event came back, if there was one.
	Release string `json:"release,omitempty"`
	// Device is the device of an event that comes back in a release: its message group tells it only if its ID is short enough.
	Device string `json:"device,omitempty"`
	// Rotation is set while the message is a copy at the end of its dead-letter queue, where a redrive has moved it to reach the
	// messages of its device behind it.
	Rotation Rotation `json:"aside,omitzero"`
}

// Rotation marks a copy at the end of a dead-letter queue. See [Redrive].
type Rotation struct {
	// Origin is the first message ID that the message had in the dead-letter queue. The deduplication ID of a redrive follows from it.
	Origin string `json:"letter"`
	// ID tells the rotations of a device apart. A run that receives the first message of its own rotation again has seen all.
	ID string `json:"lap"`
	// Try tells copy requests apart. If not all copies of a request were confirmed, none of them counts.
	Try string `json:"try,omitempty"`
}

// Bounds of the texts in a record, in UTF-8 bytes.
const (
	MaxErrorBytes = 1024
	MaxCodeBytes  = 128
)

// Encode gives the record as the attribute's text.
func (r Record) Encode() string {
	r.Error, r.Code = bounded(r.Error, MaxErrorBytes), bounded(r.Code, MaxCodeBytes)
	r.SentAt, r.FailedAt, r.RedrivenAt = encodable(r.SentAt), encodable(r.FailedAt), encodable(r.RedrivenAt)
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // such strings, numbers and times always encode
	}
	return strings.Map(legal, string(text)) // the illegal characters that JSON does not escape
}

// bounded makes a text legal and cuts it. It cuts first, since the text may be huge, and again, since legal text may be longer.
func bounded(text string, n int) string {
	return cut(strings.Map(legal, cut(text, n)), n)
}

// encodable is t, or the zero time if JSON can't represent t.
func encodable(t time.Time) time.Time {
	if _, err := t.MarshalJSON(); err != nil {
		return time.Time{}
	}
	return t
}

// ParseRecord reads the attribute's text.
func ParseRecord(text string) (Record, error) {
	var r Record
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return Record{}, fmt.Errorf("deadletter: attribute %q is no record: got %q: %w", Attribute, cut(text, 80), err)
	}
	return r, nil
}

// cut shortens text to at most n bytes without breaking a character.
func cut(text string, n int) string {
	const ellipsis = "…"
	if len(text) <= n {
		return text
	}
	n -= len(ellipsis)
	for i := n; i > n-utf8.UTFMax && i >= 0; i-- { // unless it is no UTF-8 at all
		if utf8.RuneStart(text[i]) {
			n = i
			break
		}
	}
	return text[:n] + ellipsis
}

// legal replaces the characters that SQS refuses in a message attribute.
func legal(c rune) rune {
	if c == '\t' || c == '\n' || c == '\r' || c >= 0x20 && c != 0xFFFE && c != 0xFFFF {
		return c
	}
	return '�'
}
