package queue

import (
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"slices"
	"strings"
	"unique"
)

// Attribute is one message attribute. Value holds the text of a String or Number, and the bytes of a Binary.
type Attribute struct {
	Name  string
	Type  string // String, Number or Binary, with an optional ".label"
	Value string
}

// IsBinary reports whether the value is bytes and not text.
func (a Attribute) IsBinary() bool {
	return a.Type == "Binary" || strings.HasPrefix(a.Type, "Binary.")
}

// Content is what the sender gave and what never changes. The copies of a fanned-out message share one.
// Its fields must not be changed after [NewContent].
type Content struct {
	Body        string
	Attributes  []Attribute // sorted by name
	TraceHeader string      // system attribute AWSTraceHeader, or ""

	bodyMD5       [md5.Size]byte
	attributesMD5 [md5.Size]byte
}

// NewContent makes a Content. It keeps attributes, which it sorts.
func NewContent(body string, attributes []Attribute, traceHeader string) *Content {
	for i := range attributes {
		// Names and types are few, messages many: they share one copy.
		attributes[i].Name = unique.Make(attributes[i].Name).Value()
		attributes[i].Type = unique.Make(attributes[i].Type).Value()
	}
	slices.SortFunc(attributes, func(a, b Attribute) int { return cmp.Compare(a.Name, b.Name) })
	return &Content{
		Body:          body,
		Attributes:    attributes,
		TraceHeader:   traceHeader,
		bodyMD5:       md5.Sum([]byte(body)),
		attributesMD5: AttributesMD5(attributes),
	}
}

// BodyMD5 is the MD5 of the body.
func (c *Content) BodyMD5() [md5.Size]byte { return c.bodyMD5 }

// AttributesMD5 is the MD5 of all attributes, as [AttributesMD5] computes it.
func (c *Content) AttributesMD5() [md5.Size]byte { return c.attributesMD5 }

// Size is the number of bytes that count against a queue's MaximumMessageSize: body, and names, types and values of
// the attributes. The trace header does not count.
func (c *Content) Size() int {
	size := len(c.Body)
	for _, a := range c.Attributes {
		size += len(a.Name) + len(a.Type) + len(a.Value)
	}
	return size
}

// AttributesMD5 is the checksum that clients verify: over name, type, kind and value of each attribute, which must be
// sorted by name.
func AttributesMD5(sorted []Attribute) [md5.Size]byte {
	if len(sorted) == 0 {
		return [md5.Size]byte{}
	}
	const textValue, binaryValue = 1, 2
	buf := make([]byte, 0, 256)
	for _, a := range sorted {
		buf = appendSized(buf, a.Name)
		buf = appendSized(buf, a.Type)
		if a.IsBinary() {
			buf = append(buf, binaryValue)
		} else {
			buf = append(buf, textValue)
		}
		buf = appendSized(buf, a.Value)
	}
	return md5.Sum(buf)
}

func appendSized(buf []byte, s string) []byte {
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(s)))
	return append(buf, s...)
}
