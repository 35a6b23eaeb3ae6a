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
	// Last is the ID that the last message which went to the dead-letter queue for this device had in the service's queue. It is
	// empty until the first one is confirmed.
	Last string `json:"last,omitempty"`
	// Followers is how many events went to the dead-letter queue behind the one that failed.
	Followers int `json:"followers"`
	// Release is the ID of the release under way. Until is the letter after which all are sent back, as long as it is not: what Last
	// was when the release began, or the letter that was on its way just then. FailedAgain tells that one of its events has failed.
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
	Releasing State = "releasing" // its letters come back; live events are held until they were handled
)

// Store is where parked devices are recorded. [Memory] is one, package parkingdb has another. Its methods must be safe for concurrent use.
type Store interface {
	// Find returns those of the devices that are recorded for service, or all that are when none is given, sorted by ID.
	Find(ctx context.Context, service string, devices ...string) ([]Device, error)
	// Swap replaces what is recorded for a device if its version is still old.Version, which is zero for a device that is not
	// recorded; next.Version is then the new version, and zero removes the record. It returns false when the version is another.
	Swap(ctx context.Context, old, next Device) (bool, error)
}

// errLost means that others changed the record again and again, which ends by itself.
var errLost = errors.New("its record changes all the time")

// change applies one step to a device's record, again when somebody else has changed it meanwhile. Step returns false when
// there is nothing to change. A step that leaves State empty removes the record.
func change(ctx context.Context, store Store, service, device string, step func(*Device) bool) error {
	for range 100 {
		old := Device{Service: service, ID: device}
		found, err := store.Find(ctx, service, device)
		if err != nil {
			return fmt.Errorf("parking: look for device %s of %s: %w", device, service, err)
		}
		if len(found) > 0 {
			old = found[0]
		}
		next := old
		if !step(&next) {
			return nil
		}
		// A version must never come again, also not after the record was removed and made anew.
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

// Park records that a device is parked for cause. One that is recorded already stays as it is, but for what is told of the same
// message.
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

// Confirm records that a message of the device is in the dead-letter queue, and returns true; only then it may be deleted from the
// service's queue. A release that has begun meanwhile takes its letter along, as long as it has not sent the last one. It returns
// false when it is too late for that, or when the device is free: the message must not be deleted then, but held or handled. Released
// tells that the message came back by a release; such a one may follow only another one that has failed.
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

// FailAgain records that an event of the release under way has failed. Without one it parks the device.
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

// Withdraw takes back what [Park] or [FailAgain] has recorded for a message that was handled after all. It does nothing once other
// messages have followed it to the dead-letter queue.
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

// End ends a release whose events have all been handled: the device is free, or parked again if one of them has failed. It does
// nothing when another release is under way.
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

// maxGroup is how long, in characters, the ID of a message group may be.
const maxGroup = 128

// Group is the message group in which the released events of a device come back: its ID behind [events.ReservedPrefix], or its hash
// behind that twice if it is too long.
func Group(device string) string {
	if len(events.ReservedPrefix)+len(device) > maxGroup {
		sum := sha256.Sum256([]byte(device))
		device = events.ReservedPrefix + hex.EncodeToString(sum[:])
	}
	return events.ReservedPrefix + device
}

// DeviceOf is the device of a message in a service's queue by its message group, and tells whether it came back by a release. Where the
// group has a hash only, the device is what the message says, if that fits.
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
