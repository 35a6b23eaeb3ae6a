package events

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
)

// Identity tells events apart: two that differ in one of the three are two events, and a second one with the same three is a
// duplicate, whatever it carries. It can be compared and be the key of a map.
type Identity struct {
	Source  string `json:"source"`  // of the gateway, as in [Event]
	Subject string `json:"subject"` // the device ID
	ID      string `json:"id"`      // unique within the two
}

// Identity returns what tells e from all other events. Its source is that of e: the producer fills in an empty one.
func (e Event) Identity() Identity { return Identity{Source: e.Source, Subject: e.DeviceID, ID: e.ID} }

// String returns the identity in words, for logs and errors: "17" of "lamp-7" from "/gateways/home-1".
func (i Identity) String() string { return fmt.Sprintf("%q of %q from %q", i.ID, i.Subject, i.Source) }

// Key returns the identity as one text of at most 64 ASCII letters, digits and hyphens, for where all of it must be one key. It is
// the deduplication ID at the topic, and is the same for ever.
//
// It is the ID itself if that is a UUID made at random, of version 4 or 7 in its canonical lower case: no two events get the same one
// by accident, and people find it in logs. Any other ID becomes the SHA-256 of all three in hexadecimal, each written as a
// netstring: its length in bytes, a colon, itself, a comma. That holds for numbers, and for UUIDs of other versions: those of 1 can be
// foretold, and those of 3 and 5 follow from a name, which two sources may use alike.
//
// To remember events by identity keep all three instead: somebody may use another's UUID on purpose.
func (i Identity) Key() string {
	if isRandomUUID(i.ID) {
		return i.ID
	}
	text := make([]byte, 0, 256)
	for _, part := range [...]string{i.Source, i.Subject, i.ID} {
		text = strconv.AppendInt(text, int64(len(part)), 10)
		text = append(text, ':')
		text = append(text, part...)
		text = append(text, ',')
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// isRandomUUID reports whether id is a UUID of version 4 or 7 of RFC 9562, as text in its canonical form.
func isRandomUUID(id string) bool {
	if len(id) != 36 || id[14] != '4' && id[14] != '7' {
		return false
	}
	for at := range len(id) {
		c := id[at]
		switch at {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		case 19: // the variant of the RFC
			if c != '8' && c != '9' && c != 'a' && c != 'b' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}
