package queue

import (
	"strings"
	"unicode/utf8"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
)

// IllegalCharacters is the text of the error about a message with characters that no message can hold.
const IllegalCharacters = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | " +
	"#xE000 to #xFFFD | #x10000 to #x10FFFF"

const (
	wrongForQueueType = "The request include parameter that is not valid for this queue type."
	noDeduplicationID = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId " +
		"provided explicitly"
)

// checkIDs checks group, deduplication ID and delay of a send. noGroup is the error for a missing group ID, which differs between single
// sends and batches.
func (r rules) checkIDs(in SendInput, noGroup error) error {
	if err := checkIDText(in); err != nil {
		return err
	}
	switch {
	case r.fifo && in.GroupID == nil:
		return noGroup
	case r.fifo && in.DeduplicationID == nil && !r.contentDedup:
		return apierr.New(CodeInvalidParameter, noDeduplicationID)
	}
	return r.checkQueueType(in)
}

func (r rules) checkQueueType(in SendInput) error {
	if in.DeduplicationID != nil && !r.fifo {
		return errInvalidValue(*in.DeduplicationID, "MessageDeduplicationId",
			"The request includes a parameter that is not valid for this queue type.")
	}
	if in.Delay == nil {
		return nil
	}
	switch seconds := *in.Delay; {
	case seconds < 0 || seconds > MaxDelaySeconds:
		return errInvalidValue(seconds, AttrDelaySeconds, "DelaySeconds must be >= 0 and <= %d.", MaxDelaySeconds)
	case seconds > 0 && r.fifo:
		return errInvalidValue(seconds, AttrDelaySeconds, wrongForQueueType)
	}
	return nil
}

func checkIDText(in SendInput) error {
	for _, id := range []struct {
		name  string
		value *string
	}{{"MessageGroupId", in.GroupID}, {"MessageDeduplicationId", in.DeduplicationID}} {
		if id.value != nil && !ValidID(*id.value) {
			return errInvalidValue(*id.value, id.name,
				"%s can only include alphanumeric and punctuation characters. 1 to 128 in length.", id.name)
		}
	}
	return nil
}

// ValidID reports whether id can be a message group ID or deduplication ID: 1 to 128 letters, digits and punctuation
// characters of ASCII.
func ValidID(id string) bool { return validText(id, 1) }

func validText(id string, least int) bool {
	if len(id) < least || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return false
		}
	}
	return true
}

// checkContent checks characters, attributes and size. tooLong starts the text of the refusal of a message that is too
// long, which differs between single sends and batches.
func (r rules) checkContent(in SendInput, tooLong string) error {
	c := in.Content
	if !ValidCharacters(c.Body) {
		return apierr.New(CodeInvalidContents, IllegalCharacters)
	}
	if err := checkAttributes(c.Attributes); err != nil {
		return err
	}
	if c.Size() > r.maxBytes {
		return apierr.New(CodeInvalidParameter, "%s. Reason: Message must be shorter than %d bytes.", tooLong, r.maxBytes)
	}
	return nil
}

// ValidCharacters reports whether a text is UTF-8 and holds only characters that a message may hold: those of XML 1.0.
func ValidCharacters(text string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		switch {
		case r < ' ' && r != '\t' && r != '\n' && r != '\r',
			r == '\uFFFE', r == '\uFFFF':
			return false
		}
	}
	return true
}

// MaxAttributes is how many attributes a message can have.
const MaxAttributes = 10

func checkAttributes(attributes []Attribute) error {
	if len(attributes) > MaxAttributes {
		return apierr.New(CodeInvalidParameter,
			"Number of message attributes [%d] exceeds the allowed maximum [%d].", len(attributes), MaxAttributes)
	}
	for _, a := range attributes {
		if err := checkAttributeName(a.Name); err != nil {
			return err
		}
		kind, _, _ := strings.Cut(a.Type, ".")
		switch {
		case a.Type == "":
			return apierr.New(CodeInvalidParameter, "Message (user) attribute '%s' must contain a non-empty type.", a.Name)
		case kind != "String" && kind != "Number" && kind != "Binary" || len(a.Type) > 256:
			return apierr.New(CodeInvalidParameter, "The type of message (user) attribute '%s' is invalid. You must use "+
				"only the following supported type prefixes: Binary, Number, String.", a.Name)
		case a.Value == "":
			return apierr.New(CodeInvalidParameter,
				"Message (user) attribute '%s' must contain a non-empty value of type '%s'.", a.Name, kind)
		case kind != "Binary" && !ValidCharacters(a.Value):
			return apierr.New(CodeInvalidParameter, IllegalCharacters)
		case kind == "Number" && !isNumber(a.Value):
			return apierr.New(CodeInvalidParameter,
				"Can't cast the value of message (user) attribute '%s' to a number.", a.Name)
		}
	}
	return nil
}

func checkAttributeName(name string) error {
	legal := name != "" && len(name) <= 256
	for _, r := range name {
		legal = legal && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			r == '_' || r == '-' || r == '.' || r >= 0xC0 && r <= 0x17F) // accented Latin letters are let through
	}
	lower := strings.ToLower(name)
	if !legal || strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") ||
		strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") {
		return apierr.New(CodeInvalidParameter, "Message (user) attribute name '%s' is invalid. It can contain "+
			"alphanumeric characters, hyphens, underscores and periods, must not start or end with a period, have "+
			"successive periods, or start with AWS. or Amazon.", name)
	}
	return nil
}

// isNumber reports whether text is a decimal number, as a Number attribute must be.
func isNumber(text string) bool {
	digits, rest := 0, strings.TrimLeft(text, "+-")
	if len(text)-len(rest) > 1 {
		return false
	}
	mantissa, exponent, scientific := strings.Cut(strings.ToLower(rest), "e")
	dots := 0
	for _, r := range mantissa {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case r == '.' && dots == 0:
			dots++
		default:
			return false
		}
	}
	if digits == 0 || !scientific {
		return digits > 0
	}
	exponent = strings.TrimPrefix(strings.TrimPrefix(exponent, "+"), "-")
	return exponent != "" && strings.Trim(exponent, "0123456789") == ""
}

// checkBatch checks what is the same for every batch: number of entries and their IDs.
func checkBatch(n int, entryName string, id func(int) string) error {
	switch {
	case n == 0:
		return apierr.New(CodeEmptyBatch, "There should be at least one %s in the request.", entryName)
	case n > MaxBatchEntries:
		return apierr.New(CodeBatchTooMany,
			"Maximum number of entries per request are %d. You have sent %d.", MaxBatchEntries, n)
	}
	for i := range n {
		if !ValidEntryID(id(i)) {
			return apierr.New(CodeInvalidBatchEntryID, "A batch entry id can only contain alphanumeric characters, "+
				"hyphens and underscores. It can be at most 80 letters long.")
		}
	}
	for i := range n {
		for j := range i {
			if id(i) == id(j) {
				return apierr.New(CodeBatchEntryIDsNotUnique, "Id %s repeated.", id(i))
			}
		}
	}
	return nil
}

// CheckBatch checks the number of entries of a batch and their IDs. entryName is the API's name of an entry.
func CheckBatch(ids []string, entryName string) error {
	return checkBatch(len(ids), entryName, func(i int) string { return ids[i] })
}

// ValidEntryID reports whether id can name an entry of a batch.
func ValidEntryID(id string) bool { return len(id) <= 80 && ValidName(id) }

// ValidName reports whether name consists of one or more ASCII letters, digits, hyphens and underscores.
func ValidName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return name != ""
}
