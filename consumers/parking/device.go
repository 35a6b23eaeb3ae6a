package parking

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/device-fanout/fanout/events"
)

// Device is one parked device of one service.
type Device struct {
	Service string `json:"service"`
	ID      string `json:"device_id"`
	State   State  `json:"state"`
	// Since is when the device was parked.
	Since time.Time `json:"since"`
	// Cause is the failure for which it was parked.
	Cause Cause `json:"cause"`
	// Last is the message ID, in the service's queue, of the device's last message that went to the dead-letter queue. It is empty until
	// the first one is confirmed.
	Last string `json:"last,omitempty"`
	// Followers is how many events went to the dead-letter queue behind the one that failed.
	Followers int `json:"followers"`
	// Release is the ID of the release under way. Until is the message ID of the last dead letter that it must send back, and empty once
	// that was sent: Last when the release began, or that of a message which was on its way then. FailedAgain tells that one of the
	// released events has failed.
	Release     string `json:"release,omitempty"`
	Until       string `json:"until,omitempty"`
	FailedAgain bool   `json:"failed_again,omitempty"`

	// Version changes with every change. It is zero for what is not recorded.
	Version int64 `json:"-"`
}

// Cause is why a device was parked.
type Cause struct {
	MessageID string `json:"message_id"` // in the service's queue
	EventID   string `json:"event_id,omitempty"`
	EventType string `json:"event_type,omitempty"`
	Class     string `json:"class"` // as in the dead-letter record
	Code      string `json:"code"`
	Error     string `json:"error"`
	Attempts  int    `json:"attempts"`
}

// State is what happens to a device's events.
type State string

// States of a device that is recorded.
const (
	Parked    State = "parked"    // its events follow to the dead-letter queue
	Releasing State = "releasing" // its dead letters come back; live events are held until these were handled
)

// Store is where parked devices are recorded. [Memory] is one, package parkingdb has another. Its methods must be safe for concurrent use.
type Store interface {
	// Find returns those of the devices that are recorded for service, or all that are when none is given, sorted by ID.
	Find(ctx context.Context, service string, devices ...string) ([]Device, error)
	// Swap replaces what is recorded for a device if its version is still old.Version, which is zero for a device that is not
	// recorded; next.Version is then the new version, and zero removes the record. It returns false when the version is another.
	Swap(ctx context.Context, old, next Device) (bool, error)
}

// errLost means that others changed the record before every try.
var errLost = errors.New("other processes keep changing its record; try again")

// change applies a step to a device's record, and again if somebody else has changed the record meanwhile. The step returns false if there
// is nothing to change. A step that leaves State empty removes the record.
func change(ctx context.Context, store Store, service, device string, step func(*Device) bool) error {
	for range 100 {
		old := Device{Service: service, ID: device}
		found, err := store.Find(ctx, service, device)
		if err != nil {
			return fmt.Errorf("parking: find device %s of %s: %w", device, service, err)
		}
		if len(found) > 0 {
			old = found[0]
		}
		next := old
		if !step(&next) {
			return nil
		}
		// A version is never used again, not even after the record was removed and created anew.
		next.Version = max(old.Version+1, time.Now().UnixNano())
		if next.State == "" {
			next.Version = 0
		}
		done, err := store.Swap(ctx, old, next)
		if err != nil {
			return fmt.Errorf("parking: record device %s of %s: %w", device, service, err)
		}
		if done {
			return nil
		}
	}
	return fmt.Errorf("parking: device %s of %s: %w", device, service, errLost)
}

// Park records that a device is parked for cause. A device that is recorded already stays as it is; only the cause is replaced if it is of
// the same message.
func Park(ctx context.Context, store Store, service, device string, cause Cause) error {
	return change(ctx, store, service, device, func(d *Device) bool {
		switch {
		case d.State == "":
			d.State, d.Since, d.Cause = Parked, time.Now().UTC().Round(0), cause
		case d.State == Parked && d.Cause.MessageID == cause.MessageID:
			d.Cause = cause
		default:
			return false
		}
		return true
	})
}

// Confirm records that a message of the device is in the dead-letter queue, and returns true; only then may it be deleted from the
// service's queue. A release that has begun meanwhile sends it back with the others, as long as it has not sent the last one. Confirm
// returns false if it is too late for that, or if the device is free: then the message must not be deleted, but held or handled. released
// tells that the message came back by a release; it goes to the dead-letter queue only if another one of that release has failed.
func Confirm(ctx context.Context, store Store, service, device, messageID string, released bool) (bool, error) {
	confirmed := false
	err := change(ctx, store, service, device, func(d *Device) bool {
		confirmed = true
		switch {
		case d.Last == messageID:
			return false
		case d.Follows(released):
		case !released && d.State == Releasing && d.Until != "":
			d.Until = messageID
		default:
			confirmed = false
			return false
		}
		d.Last = messageID
		if messageID != d.Cause.MessageID {
			d.Followers++
		}
		return true
	})
	return confirmed && err == nil, err
}

// Follows tells whether the device's events go to the dead-letter queue now: live ones, or those that came back by a release.
func (d Device) Follows(released bool) bool {
	if released {
		return d.State == Releasing && d.FailedAgain
	}
	return d.State == Parked
}

// FailAgain records that an event of the release under way has failed. If no release is under way, it parks the device.
func FailAgain(ctx context.Context, store Store, service, device string, cause Cause) error {
	return change(ctx, store, service, device, func(d *Device) bool {
		switch {
		case d.State == Releasing && !d.FailedAgain:
			d.FailedAgain, d.Cause, d.Followers = true, cause, 0
		case d.State == "":
			d.State, d.Since, d.Cause = Parked, time.Now().UTC().Round(0), cause
		case d.Cause.MessageID == cause.MessageID:
			d.Cause = cause
		default:
			return false
		}
		return true
	})
}

// Withdraw undoes [Park] or [FailAgain] for a message that was handled after all. It does nothing once other messages have followed it to
// the dead-letter queue.
func Withdraw(ctx context.Context, store Store, service, device, messageID string) error {
	return change(ctx, store, service, device, func(d *Device) bool {
		switch {
		case d.Cause.MessageID != messageID || d.Followers > 0:
			return false
		case d.State == Parked:
			d.State = ""
		case d.FailedAgain:
			d.FailedAgain = false
		default:
			return false
		}
		return true
	})
}

// End ends a release whose events have all been handled: the device is free, or parked again if one of them has failed. It does nothing if
// another release is under way.
func End(ctx context.Context, store Store, service, device, release string) error {
	return change(ctx, store, service, device, func(d *Device) bool {
		if d.State != Releasing || d.Release != release {
			return false
		}
		if d.FailedAgain {
			d.State, d.Release, d.Until, d.FailedAgain = Parked, "", "", false
		} else {
			d.State = ""
		}
		return true
	})
}

// maxGroup is the most characters of a message group ID.
const maxGroup = 128

// Group is the message group in which the released events of a device come back: [events.ReservedPrefix] and its ID, or if that is too
// long, the prefix twice and a hash of the ID.
func Group(device string) string {
	if len(events.ReservedPrefix)+len(device) > maxGroup {
		sum := sha256.Sum256([]byte(device))
		device = events.ReservedPrefix + hex.EncodeToString(sum[:])
	}
	return events.ReservedPrefix + device
}

// DeviceOf returns the device of a message in a service's queue, by its message group, and whether it came back by a release. If the group
// has only a hash, the device is the one that the message names, if it has this hash.
func DeviceOf(m types.Message) (device string, released bool) {
	group := m.Attributes[string(types.MessageSystemAttributeNameMessageGroupId)]
	device, released = strings.CutPrefix(group, events.ReservedPrefix)
	if released && strings.HasPrefix(device, events.ReservedPrefix) {
		said := recordOf(m).Device
		if mark, err := ParseMark(aws.ToString(m.Body)); said == "" && err == nil {
			said = mark.Device
		}
		if Group(said) == group {
			device = said
		}
	}
	return device, released
}
