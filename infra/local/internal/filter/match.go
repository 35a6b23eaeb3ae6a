package filter

import (
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

type (
	equal       struct{ wanted value }
	prefix      string
	suffix      string
	equalFold   string
	exists      bool
	cidr        netip.Prefix
	anythingBut []condition
	numeric     struct {
		low, high         float64
		withLow, withHigh bool
	}
)

func anyOf(values []value, matches func(value) bool) bool {
	return slices.ContainsFunc(values, matches)
}

func (c equal) match(values []value) bool {
	return slices.Contains(values, c.wanted)
}

func (c prefix) match(values []value) bool {
	return anyOf(values, func(v value) bool { return v.kind == text && strings.HasPrefix(v.text, string(c)) })
}

func (c suffix) match(values []value) bool {
	return anyOf(values, func(v value) bool { return v.kind == text && strings.HasSuffix(v.text, string(c)) })
}

func (c equalFold) match(values []value) bool {
	return anyOf(values, func(v value) bool { return v.kind == text && strings.EqualFold(v.text, string(c)) })
}

func (c exists) match(values []value) bool { return (len(values) > 0) == bool(c) }

func (c cidr) match(values []value) bool {
	return anyOf(values, func(v value) bool {
		ip, err := netip.ParseAddr(v.text)
		return v.kind == text && err == nil && netip.Prefix(c).Contains(ip)
	})
}

func (c numeric) match(values []value) bool {
	return anyOf(values, func(v value) bool {
		return v.kind == number &&
			(v.num > c.low || c.withLow && v.num == c.low) &&
			(v.num < c.high || c.withHigh && v.num == c.high)
	})
}

// match needs a value that is something else: a missing key is not.
func (c anythingBut) match(values []value) bool {
	one := make([]value, 1)
	return anyOf(values, func(v value) bool {
		if v.kind == other {
			return false
		}
		one[0] = v
		for _, not := range c {
			if not.match(one) {
				return false
			}
		}
		return true
	})
}

// MatchAttributes reports whether a message with these attributes passes. attribute returns type and value of the
// attribute of a name. It must be called on policies of scope [Attributes] only.
func (p *Policy) MatchAttributes(attribute func(name string) (kind, value string, ok bool)) bool {
	return p.root.match(func(f field) bool {
		var values []value
		if kind, value, ok := attribute(f.name); ok {
			values = attributeValues(kind, value)
		}
		return f.match(values)
	})
}

// match reports whether all fields and all $or lists of o match, given what tells it of a field.
func (o *object) match(matches func(field) bool) bool {
	for _, f := range o.fields {
		if !matches(f) {
			return false
		}
	}
	for _, or := range o.ors {
		found := false
		for _, branch := range or {
			if branch.match(matches) {
				found = true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

func (f field) match(values []value) bool {
	for _, c := range f.conditions {
		if c.match(values) {
			return true
		}
	}
	return false
}

// attributeValues are the values of a message attribute. There is always at least one: the attribute exists.
func attributeValues(attributeType, v string) []value {
	base, label, _ := strings.Cut(attributeType, ".")
	switch {
	case base == "String" && label == "Array":
		if values, ok := arrayValues(v); ok {
			return values
		}
		return []value{{kind: text, text: v}}
	case base == "String":
		return []value{{kind: text, text: v}}
	case base == "Number":
		if n, err := strconv.ParseFloat(v, 64); err == nil {
			return []value{{kind: number, num: n}}
		}
	}
	return []value{{kind: other}}
}

// arrayValues are the elements of a String.Array.
func arrayValues(v string) ([]value, bool) {
	var list []any
	dec := json.NewDecoder(strings.NewReader(v))
	dec.UseNumber()
	if dec.Decode(&list) != nil {
		return nil, false
	}
	values := make([]value, 0, len(list)+1)
	for _, element := range list {
		values = append(values, leaf(element))
	}
	if len(values) == 0 {
		values = append(values, value{kind: other})
	}
	return values, true
}

// leaf is a JSON value that is neither object nor array.
func leaf(v any) value {
	if n, ok := v.(json.Number); ok {
		f, _ := n.Float64() // out of range is infinite, which no condition equals
		return value{kind: number, num: f}
	}
	if scalar, err := scalar(v); err == nil {
		return scalar
	}
	return value{kind: other}
}

// Message is a message body, parsed once for any number of policies.
type Message struct{ root map[string]any }

// ParseBody parses a message body. It reports false when the body is not a JSON object: such a message passes no policy
// of scope [Body].
func ParseBody(body string) (Message, bool) {
	dec := json.NewDecoder(strings.NewReader(body))
	dec.UseNumber()
	var m Message
	if dec.Decode(&m.root) != nil || m.root == nil {
		return Message{}, false
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) { // something follows
		return Message{}, false
	}
	return m, true
}

// MatchBody reports whether a message passes. It must be called on policies of scope [Body] only.
func (p *Policy) MatchBody(m Message) bool { return matchValue(p.root, m.root) }

// matchValue matches an object of the policy with a value of the message. Of an array one element must match. What is
// no object has no members.
func matchValue(o *object, v any) bool {
	if list, ok := v.([]any); ok && len(list) > 0 {
		for _, element := range list {
			if matchValue(o, element) {
				return true
			}
		}
		return false
	}
	members, _ := v.(map[string]any)
	return o.match(func(f field) bool { return matchMember(f, members) })
}

// matchMember matches a field with the member of its name, or with members whose dotted names begin with it.
func matchMember(f field, members map[string]any) bool {
	v, found := members[f.name]
	if found && f.matchFound(v) {
		return true
	}
	if f.nested != nil {
		for name, v := range members {
			if rest, ok := strings.CutPrefix(name, f.name+"."); ok {
				found = true
				if matchValue(f.nested, map[string]any{rest: v}) {
					return true
				}
			}
		}
	}
	switch {
	case found:
		return false
	case f.nested != nil:
		return matchValue(f.nested, nil)
	default:
		return f.match(nil)
	}
}

func (f field) matchFound(v any) bool {
	if f.nested != nil {
		return matchValue(f.nested, v)
	}
	return f.match(leaves(nil, v))
}

// leaves appends the values of a member: itself, or the elements of an array, also of nested ones. An object exists,
// but has no value; an empty array is as if the member were missing.
func leaves(dst []value, v any) []value {
	list, ok := v.([]any)
	if !ok {
		return append(dst, leaf(v))
	}
	for _, element := range list {
		dst = leaves(dst, element)
	}
	return dst
}
