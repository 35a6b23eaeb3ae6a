package events

import "strings"

// maxIDLength is the limit of SNS and SQS for a message group ID and a deduplication ID, in characters.
const maxIDLength = 128

// wantID is the rule of [legalID] in words.
const wantID = "1 to 128 ASCII letters, digits or punctuation characters, without a space"

// ReservedPrefix begins the message groups in which events come back whose device was parked, and so no device ID; see package
// parking.
const ReservedPrefix = "~release~"

// wantUnreserved is the rule about [ReservedPrefix] in words.
const wantUnreserved = "a device ID that does not begin with " + ReservedPrefix + ", which is reserved"

// ValidateDeviceID reports whether id can be a device ID: the rule of SNS and SQS for message group IDs, which is
// 1 to 128 characters, each an ASCII letter, a digit or one of !"#$%&'()*+,-./:;<=>?@[\]^_`{|}~, and without [ReservedPrefix].
// The error is an [*Error] with [CodeInvalidEnvelope].
func ValidateDeviceID(id string) error {
	want := wantOfDeviceID(id)
	if want == "" {
		return nil
	}
	return &Error{
		Code:   CodeInvalidEnvelope,
		Fields: []FieldError{{Path: "subject", Value: quote(id), Want: want}},
	}
}

// wantOfDeviceID is the rule that id breaks, in words, or empty.
func wantOfDeviceID(id string) string {
	switch {
	case !legalID(id):
		return wantID
	case strings.HasPrefix(id, ReservedPrefix):
		return wantUnreserved
	}
	return ""
}

// legalID reports whether id may be a message group ID or a deduplication ID. The rule holds for both.
func legalID(id string) bool {
	if len(id) == 0 || len(id) > maxIDLength {
		return false
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' { // the printable ASCII characters but the space are just the legal ones
			return false
		}
	}
	return true
}
