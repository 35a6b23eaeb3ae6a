package producer

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed comes for an event that was given to a closed Producer, or that Close could no longer send.
	ErrClosed = errors.New("producer: closed")

	// ErrBufferFull comes from TryEnqueue when the buffer, or the device's share of it, has no room.
	ErrBufferFull = errors.New("producer: buffer is full")

	// ErrSpoolLocked is in the chain of the SpoolError that New returns when another Producer, of this process or another, has the
	// spool open.
	ErrSpoolLocked = errors.New("the spool is in use")

	// ErrUnknownOutcome is in the chain of a PublishError when the event may or may not have reached the topic: no answer came
	// in time. Publishing it again with the same ID is safe for five minutes from its first request, and always safe for
	// consumers that know events by their identity.
	ErrUnknownOutcome = errors.New("outcome unknown")
)

// TooLargeError comes before acceptance for an event that no batch can carry.
type TooLargeError struct {
	EventID, DeviceID string
	Bytes             int // size of body and attributes in UTF-8 bytes
	MaxBytes          int // Config.MaxMessageBytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("producer: event %s of device %s has %d bytes, want at most %d: the topic takes no larger message",
		e.EventID, e.DeviceID, e.Bytes, e.MaxBytes)
}

// InvalidError comes before acceptance for an event that breaks its contract. Err is an [*events.Error] with every bad field.
type InvalidError struct {
	EventID, DeviceID string
	Err               error
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("producer: event %q of device %q: %v", e.EventID, e.DeviceID, e.Err)
}

func (e *InvalidError) Unwrap() error { return e.Err }

// PublishError reports one accepted event that was not confirmed.
type PublishError struct {
	EventID, DeviceID string
	Code              string // the service's own error code; empty when there was no answer
	Attempts          int    // requests that carried the event
	Refused           bool   // the topic refused this very event for what it is: sending it again is in vain
	Err               error  // the last cause; ErrUnknownOutcome or ErrClosed is in its chain where it applies
}

func (e *PublishError) Error() string {
	return fmt.Sprintf("producer: publish event %s of device %s (%d attempts): %v", e.EventID, e.DeviceID, e.Attempts, e.Err)
}

func (e *PublishError) Unwrap() error { return e.Err }

// BlockedError comes for an event that was not sent, because an earlier one of its device failed and must not be overtaken.
type BlockedError struct {
	EventID, DeviceID string
	BlockedBy         string // ID of the event that failed
	Err               error  // why that one failed
}

func (e *BlockedError) Error() string {
	return fmt.Sprintf("producer: event %s of device %s was not sent: event %s before it failed: %v",
		e.EventID, e.DeviceID, e.BlockedBy, e.Err)
}

func (e *BlockedError) Unwrap() error { return e.Err }

// SpoolError reports that the spool could not be opened, or that an event could not be written to it and is not accepted: the disk is
// full, for example. Then the system's error is in its chain.
type SpoolError struct {
	EventID, DeviceID string // empty when the spool could not be opened
	Dir               string
	Err               error
}

func (e *SpoolError) Error() string {
	if e.EventID == "" {
		return fmt.Sprintf("producer: open spool %s: %v", e.Dir, e.Err)
	}
	return fmt.Sprintf("producer: event %s of device %s is not accepted: write to spool %s: %v", e.EventID, e.DeviceID, e.Dir, e.Err)
}

func (e *SpoolError) Unwrap() error { return e.Err }

// CorruptRecordError reports a piece of a file of the spool that no event can be read from. Its bytes are set aside, and everything
// else in the file goes out.
type CorruptRecordError struct {
	File   string
	Offset int64
	Bytes  int
	Torn   bool // it looks like what a crash leaves of a record that was being written, and was not accepted
}

func (e *CorruptRecordError) Error() string {
	what := "damaged record"
	if e.Torn {
		what = "record half-written by a crash"
	}
	return fmt.Sprintf("producer: %s: %s at offset %d (%d bytes)", e.File, what, e.Offset, e.Bytes)
}
