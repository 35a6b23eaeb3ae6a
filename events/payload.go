package events

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// reader turns the JSON text of a payload into its Go value, and collects what is wrong on its way. It goes by the nodes
// that [Register] derived, because encoding/json says neither which fields were missing nor all that was wrong, takes
// "ON" for "on", and is slower.
type reader struct {
	faults
	strict       bool // whether an unknown field is wrong
	unknownTypes bool // whether an event of an unknown type has a [Raw] payload
}

// decodeData reads raw as a payload of type e. It does not validate.
func (r *reader) decodeData(e *entry, raw []byte) Data {
	target := reflect.New(e.goType).Elem()
	r.value(e.root, raw, target)
	return target.Interface().(Data)
}

// value reads raw into v.
func (r *reader) value(n *node, raw []byte, v reflect.Value) {
	if raw[0] == 'n' && n.Name != "" && !n.Required {
		return // null is as good as nothing
	}
	if n.pointer {
		v.Set(reflect.New(n.goType))
		v = v.Elem()
	}
	ok := false
	switch n.Kind {
	case KindBoolean:
		if ok = raw[0] == 't' || raw[0] == 'f'; ok {
			v.SetBool(raw[0] == 't')
		}
	case KindInteger:
		ok = setInteger(v, raw)
	case KindNumber:
		var f float64
		if f, ok = parseNumber(raw); ok {
			v.SetFloat(f)
		}
	case KindString:
		if ok = raw[0] == '"'; ok {
			var text string
			text, ok = unquote(raw)
			v.SetString(text)
		}
	case KindTime:
		t, want := parseTime(raw)
		if ok = want == ""; ok {
			v.Set(reflect.ValueOf(t))
		}
	case KindList:
		if ok = raw[0] == '['; ok {
			r.list(n, raw, v)
		}
	case KindObject:
		if ok = raw[0] == '{'; ok {
			r.object(n, raw, v)
		}
	}
	if !ok || n.filled && v.Len() == 0 {
		r.dataField(r.here(), describeJSON(raw), n.Want)
	}
}

// object reads the members of raw into the struct v.
func (r *reader) object(n *node, raw []byte, v reflect.Value) {
	var seen uint64
	guess := 0 // members mostly come in the order of the Go type
	for members := (walker{text: raw}); ; {
		name, value, ok := members.member()
		if !ok {
			break
		}
		at := n.memberIndex(name, guess)
		if at < 0 {
			if r.strict {
				r.dataField(r.here()+"."+printable(name), "an unknown field", "one of "+n.memberNames())
			}
			continue
		}
		member := n.members[at]
		if seen&(1<<at) != 0 {
			r.dataField(r.here()+"."+member.Name, "two values", "one")
			continue
		}
		seen |= 1 << at
		guess = at + 1
		r.enter(step{name: member.Name})
		r.value(member, value, v.Field(member.index))
		r.leave()
	}
	for at, member := range n.members {
		if member.Required && seen&(1<<at) == 0 {
			r.dataField(r.here()+"."+member.Name, "", member.Want)
		}
	}
}

// list reads the elements of raw into the slice v. An optional list without elements leaves it nil, as if left out.
func (r *reader) list(n *node, raw []byte, v reflect.Value) {
	count := 0
	for elements := (walker{text: raw}); ; count++ {
		if _, ok := elements.element(); !ok {
			break
		}
	}
	if count == 0 && !n.Required {
		return
	}
	v.Set(reflect.MakeSlice(n.goType, count, count))
	elements := walker{text: raw}
	for i := range count {
		value, _ := elements.element()
		r.enter(step{index: i})
		r.value(n.element, value, v.Index(i))
		r.leave()
	}
}

// memberIndex returns which member is called name, or -1.
func (n *node) memberIndex(name []byte, guess int) int {
	if guess < len(n.members) && n.members[guess].Name == string(name) {
		return guess
	}
	for i, member := range n.members {
		if member.Name == string(name) {
			return i
		}
	}
	return -1
}

func (n *node) memberNames() string {
	names := make([]string, len(n.members))
	for i, member := range n.members {
		names[i] = member.Name
	}
	return strings.Join(names, ", ")
}

// printable returns a name out of foreign JSON as it can stand in a path: as it is when it looks like a name of ours,
// else in quotes and cut off.
func printable(name []byte) string {
	if len(name) <= maxQuoted && legalFieldName.Match(name) {
		return string(name)
	}
	return quote(string(name))
}

// parseNumber reads a JSON number. Of all that can stand in JSON, strconv takes nothing else for one.
func parseNumber(raw []byte) (float64, bool) {
	f, err := strconv.ParseFloat(string(raw), 64)
	return f, err == nil
}

// setInteger sets v, of some integer type, to the JSON number raw, and reports whether it is one that fits. A whole
// number written as 12.0 or 1.2e1 is one too, as in JSON Schema: some languages write all numbers so.
func setInteger(v reflect.Value, raw []byte) bool {
	if v.CanUint() {
		u, err := strconv.ParseUint(string(raw), 10, 64)
		if err != nil {
			f, ok := wholeNumber(raw)
			if u = uint64(f); !ok || f < 0 {
				return false
			}
		}
		if v.OverflowUint(u) {
			return false
		}
		v.SetUint(u)
		return true
	}
	i, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		f, ok := wholeNumber(raw)
		if i = int64(f); !ok {
			return false
		}
	}
	if v.OverflowInt(i) {
		return false
	}
	v.SetInt(i)
	return true
}

// wholeNumber reads a number with a fraction or an exponent that is whole all the same. Beyond 2^53 a float does not
// hold every whole number, so that it would only be a guess.
func wholeNumber(raw []byte) (float64, bool) {
	f, ok := parseNumber(raw)
	return f, ok && f == math.Trunc(f) && math.Abs(f) <= 1<<53
}

// parseTime reads a JSON string in RFC 3339, or says what was wanted.
func parseTime(raw []byte) (_ time.Time, want string) {
	if raw[0] != '"' {
		return time.Time{}, wantTime
	}
	var t time.Time
	if t.UnmarshalText(raw[1:len(raw)-1]) == nil { // as nearly always
		return t.UTC(), ""
	}
	text, _ := unquote(raw) // some escape the plus sign
	return readTime(text)
}
