package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Digest returns a hash of what e says, its type and payload, so that two events of one [Identity] can be compared without keeping
// the first: 32 hexadecimal digits, the same for ever. It goes by what the JSON means: the order of members, spaces, escapes, how a number is
// written and members that are null make no difference. Time and sequence are not part of it. The error is that of [EncodeData].
func (e Event) Digest() (string, error) {
	data, err := EncodeData(e.Data)
	if err != nil {
		return "", err
	}
	return DigestOf(e.Type(), data)
}

// DigestOf is [Event.Digest] for an event of that type with that JSON as payload, as it stands in a database. The error says that
// the payload is no JSON.
func DigestOf(eventType string, data []byte) (string, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var payload any
	if err := decoder.Decode(&payload); err != nil {
		return "", err
	}
	text := appendMeaning(append(appendString(nil, eventType), '\n'), payload)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), nil
}

// appendMeaning appends the one text of all that mean the same as v, which is out of a decoder.
func appendMeaning(out []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(out, "null"...)
	case bool:
		return strconv.AppendBool(out, v)
	case json.Number:
		return appendPlainNumber(out, v.String())
	case string:
		return appendString(out, v)
	case []any:
		out = append(out, '[')
		for _, element := range v {
			out = append(appendMeaning(out, element), ',')
		}
		return append(out, ']')
	case map[string]any:
		out = append(out, '{')
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if v[name] == nil {
				continue // null stands for a missing optional field
			}
			out = append(appendString(out, name), ':')
			out = append(appendMeaning(out, v[name]), ',')
		}
		return append(out, '}')
	}
	return out
}

// appendPlainNumber appends a JSON number without what makes no difference: as digits that neither begin nor end with a zero, and an exponent.
func appendPlainNumber(out []byte, number string) []byte {
	digits, exponentText, hasExponent := strings.Cut(strings.ToLower(number), "e")
	exponent := int64(0)
	if hasExponent {
		var err error
		if exponent, err = strconv.ParseInt(exponentText, 10, 32); err != nil {
			return append(out, number...) // no database holds it
		}
	}
	digits, negative := strings.CutPrefix(digits, "-")
	whole, fraction, _ := strings.Cut(digits, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	exponent -= int64(len(fraction))
	short := strings.TrimRight(digits, "0")
	exponent += int64(len(digits) - len(short))
	if short == "" {
		return append(out, '0')
	}
	if negative {
		out = append(out, '-')
	}
	out = append(append(out, short...), 'e')
	return strconv.AppendInt(out, exponent, 10)
}
