package wire

import (
	"cmp"
	"encoding/base64"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

const (
	sqsNamespace = "http://queue.amazonaws.com/doc/2012-11-05/"
	snsNamespace = "http://sns.amazonaws.com/doc/2010-03-31/"
)

// appendXML appends the answer to action. A nil result is an action without output, which has no Result element.
func appendXML(dst []byte, namespace, action string, result any, requestID string) []byte {
	dst = append(dst, `<?xml version="1.0"?><`...)
	dst = append(dst, action...)
	dst = append(dst, `Response xmlns="`...)
	dst = append(dst, namespace...)
	dst = append(dst, `">`...)
	if result != nil {
		dst = appendOpen(dst, action+"Result")
		if own, ok := result.(interface{ appendXML([]byte) []byte }); ok {
			dst = own.appendXML(dst)
		} else {
			dst = appendFields(dst, reflect.ValueOf(result).Elem())
		}
		dst = appendClose(dst, action+"Result")
	}
	dst = append(dst, "<ResponseMetadata><RequestId>"...)
	dst = append(dst, requestID...)
	dst = append(dst, "</RequestId></ResponseMetadata></"...)
	dst = append(dst, action...)
	return append(dst, "Response>"...)
}

// xmlField is a field of a result struct, by its tag:
//
//	element:"QueueUrl"                   a value; empty ones are left out, unless ",always" follows
//	element:"Message"                    a flat list: the element is repeated
//	element:"Topics>member"              a wrapped list; the wrapper is there even when the list is empty
//	element:"Attribute,Name,Value"       a flat map
//	element:"Attributes>entry,key,value" a wrapped map
type xmlField struct {
	index                     []int
	wrapper, name, key, value string
	always                    bool
}

var xmlPlans sync.Map // reflect.Type to []xmlField

func xmlPlan(t reflect.Type) []xmlField {
	if plan, ok := xmlPlans.Load(t); ok {
		return plan.([]xmlField)
	}
	var plan []xmlField
	for _, f := range reflect.VisibleFields(t) {
		tag, ok := f.Tag.Lookup("element")
		if !ok {
			continue
		}
		field := xmlField{index: f.Index}
		field.name, tag, _ = strings.Cut(tag, ",")
		if wrapper, name, ok := strings.Cut(field.name, ">"); ok {
			field.wrapper, field.name = wrapper, name
		}
		field.key, field.value, _ = strings.Cut(tag, ",")
		field.always = field.key == "always"
		plan = append(plan, field)
	}
	xmlPlans.Store(t, plan)
	return plan
}

func appendFields(dst []byte, v reflect.Value) []byte {
	for _, field := range xmlPlan(v.Type()) {
		dst = appendField(dst, v.FieldByIndex(field.index), field)
	}
	return dst
}

func appendField(dst []byte, v reflect.Value, field xmlField) []byte {
	if field.wrapper != "" {
		if v.Len() == 0 {
			return append(append(append(dst, '<'), field.wrapper...), "/>"...)
		}
		dst = appendOpen(dst, field.wrapper)
	}
	switch {
	case v.Kind() == reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
		for _, key := range keys {
			dst = appendOpen(dst, field.name)
			dst = appendElement(dst, field.key, key)
			dst = appendElement(dst, field.value, v.MapIndex(key))
			dst = appendClose(dst, field.name)
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		for i := range v.Len() {
			dst = appendElement(dst, field.name, v.Index(i))
		}
	case !v.IsZero() || field.always:
		dst = appendElement(dst, field.name, v)
	}
	if field.wrapper != "" {
		dst = appendClose(dst, field.wrapper)
	}
	return dst
}

func appendElement(dst []byte, name string, v reflect.Value) []byte {
	dst = appendOpen(dst, name)
	switch v.Kind() {
	case reflect.Struct:
		dst = appendFields(dst, v)
	case reflect.String:
		dst = appendEscaped(dst, v.String())
	case reflect.Int, reflect.Int64:
		dst = strconv.AppendInt(dst, v.Int(), 10)
	case reflect.Bool:
		dst = strconv.AppendBool(dst, v.Bool())
	case reflect.Slice: // of bytes
		dst = base64.StdEncoding.AppendEncode(dst, v.Bytes())
	default:
		panic("wire: no way to encode a " + v.Type().String())
	}
	return appendClose(dst, name)
}

func appendOpen(dst []byte, name string) []byte {
	return append(append(append(dst, '<'), name...), '>')
}

func appendClose(dst []byte, name string) []byte {
	return append(append(append(dst, "</"...), name...), '>')
}

// appendEscaped appends text as XML character data. Line breaks and tabs are kept as they are, carriage returns and
// quotes are escaped as AWS does. What XML cannot hold becomes U+FFFD.
func appendEscaped(dst []byte, text string) []byte {
	start := 0
	for i := 0; i < len(text); {
		c, size := utf8.DecodeRuneInString(text[i:])
		escaped := ""
		switch {
		case c == '&':
			escaped = "&amp;"
		case c == '<':
			escaped = "&lt;"
		case c == '>':
			escaped = "&gt;"
		case c == '"':
			escaped = "&quot;"
		case c == '\r':
			escaped = "&#xD;"
		case c < ' ' && c != '\n' && c != '\t', c == utf8.RuneError && size == 1, c == '\uFFFE', c == '\uFFFF':
			escaped = "\uFFFD"
		}
		if escaped != "" {
			dst = append(append(dst, text[start:i]...), escaped...)
			start = i + size
		}
		i += size
	}
	return append(dst, text[start:]...)
}
