package events

import (
	"math"
	"reflect"
	"strconv"
	"time"
)

// appendValue appends v as JSON. It has been validated, so that there is nothing which JSON cannot carry.
func (n *node) appendValue(out []byte, v reflect.Value) []byte {
	if n.pointer {
		v = v.Elem()
	}
	switch n.Kind {
	case KindBoolean:
		return strconv.AppendBool(out, v.Bool())
	case KindInteger:
		if v.CanUint() {
			return strconv.AppendUint(out, v.Uint(), 10)
		}
		return strconv.AppendInt(out, v.Int(), 10)
	case KindNumber:
		return appendNumber(out, v.Float())
	case KindString:
		return appendString(out, v.String())
	case KindTime:
		return appendTime(out, v.Interface().(time.Time))
	case KindList:
		out = append(out, '[')
		for i := range v.Len() {
			if i > 0 {
				out = append(out, ',')
			}
			out = n.element.appendValue(out, v.Index(i))
		}
		return append(out, ']')
	default: // an object
		out = append(out, '{')
		first := true
		for _, member := range n.members {
			field := v.Field(member.index)
			if !member.Required && (member.pointer && field.IsNil() || !member.pointer && field.Len() == 0) {
				continue // an optional field that is no pointer is a string or a list
			}
			if !first {
				out = append(out, ',')
			}
			first = false
			out = append(out, member.key...)
			out = member.appendValue(out, field)
		}
		return append(out, '}')
	}
}

// appendNumber appends f in the shortest form that reads back as f, with an exponent where JavaScript writes one.
func appendNumber(out []byte, f float64) []byte {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	out = strconv.AppendFloat(out, f, format, -1, 64)
	if n := len(out); format == 'e' && out[n-4] == 'e' && out[n-3] == '-' && out[n-2] == '0' {
		out[n-2] = out[n-1] // e-09 becomes e-9
		out = out[:n-1]
	}
	return out
}

// appendTime appends t as a JSON string in RFC 3339, in UTC, with as many digits of a second as it has.
func appendTime(out []byte, t time.Time) []byte {
	out = append(out, '"')
	out = t.UTC().AppendFormat(out, time.RFC3339Nano)
	return append(out, '"')
}

// appendString appends text, which is UTF-8, as a JSON string. What SNS and SQS do not carry is escaped: control
// characters, as JSON wants it anyway, and the two non-characters U+FFFE and U+FFFF.
func appendString(out []byte, text string) []byte {
	const hex = "0123456789abcdef"
	out = append(out, '"')
	start := 0 // of what is not yet appended
	for i := 0; i < len(text); i++ {
		if plain[text[i]] {
			continue
		}
		switch c := text[i]; c {
		case '"', '\\':
			out = append(append(out, text[start:i]...), '\\', c)
		case 0xEF: // U+FFFE and U+FFFF are EF BF BE and EF BF BF
			if text[i+1] != 0xBF || text[i+2] < 0xBE {
				continue
			}
			out = append(append(out, text[start:i]...), '\\', 'u', 'f', 'f', 'f', hex[text[i+2]-0xB0])
			i += 2
		default:
			out = append(append(out, text[start:i]...), '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		start = i + 1
	}
	return append(append(out, text[start:]...), '"')
}

// plain tells the bytes that stand in a JSON string as they are and need no second look.
var plain = func() (plain [256]bool) {
	for c := range plain {
		plain[c] = c >= ' ' && c != '"' && c != '\\' && c != 0xEF
	}
	return plain
}()
