package events

// maxIDLength is the limit of SNS and SQS for a message group ID and a deduplication ID, in characters.
const maxIDLength = 128

// wantID is the rule of [legalID] in words.
const wantID = "1 to 128 ASCII letters, digits or punctuation characters, without a space"

// ValidateDeviceID reports whether id can be a device ID: the rule of SNS and SQS for message group IDs, which is
// 1 to 128 characters, each an ASCII letter, a digit or one of !"#$%&'()*+,-./:;<=>?@[\]^_`{|}~.
// The error is an [*Error] with [CodeInvalidEnvelope].
func ValidateDeviceID(id string) error {
	if legalID(id) {
		return nil
	}
	return &Error{
		Code:   CodeInvalidEnvelope,
		Fields: []FieldError{{Path: "subject", Value: quote(id), Want: wantID}},
	}
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
