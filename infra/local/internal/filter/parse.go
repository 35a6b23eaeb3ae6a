package filter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Scope is what a policy looks at.
type Scope int

const (
	Attributes Scope = iota // message attributes
	Body                    // members of the message's JSON body
)

// Limits of a policy.
const (
	MaxBytes        = 256 << 10
	maxCombinations = 150
	maxKeys         = 5
)

// Error is why a policy is refused, in the words of SNS.
type Error struct{ Reason string }

// Error implements error.
func (e *Error) Error() string { return "filter: " + e.Reason }

func refuse(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Policy is a parsed filter policy. It does not change and may be used by many at once.
type Policy struct {
	scope Scope
	root  *object
}

// object is a set of keys that must all match.
type object struct {
	fields []field
	ors    [][]*object // of each list one object must match
}

// field is a key with its conditions, or, in a policy for bodies, with an object.
type field struct {
	name       string
	conditions []condition
	nested     *object
}

// Parse parses a policy. Its errors are of type *[Error].
func Parse(text string, scope Scope) (*Policy, error) {
	if len(text) > MaxBytes {
		return nil, refuse("Filter policy is larger than %d bytes", MaxBytes)
	}
	tree, err := readTree(text)
	if err != nil {
		return nil, err
	}
	members, ok := tree.(members)
	if !ok {
		return nil, refuse("failed to parse JSON. Filter is not an object")
	}
	root, err := parseObject(members, scope)
	if err != nil {
		return nil, err
	}
	if root.keys() > maxKeys {
		return nil, refuse("Filter policy can not have more than %d keys", maxKeys)
	}
	if root.combinations(1, 1) > maxCombinations {
		return nil, refuse("Filter policy is too complex")
	}
	return &Policy{scope, root}, nil
}

// Empty reports whether the policy has no keys, so that every message passes.
func (p *Policy) Empty() bool { return len(p.root.fields)+len(p.root.ors) == 0 }

func parseObject(tree members, scope Scope) (*object, error) {
	o := &object{}
	for _, m := range tree {
		switch v := m.value.(type) {
		case members:
			if scope == Attributes {
				return nil, refuse("Filter policy scope MessageAttributes does not support nested filter policy")
			}
			nested, err := parseObject(v, scope)
			if err != nil {
				return nil, err
			}
			o.fields = append(o.fields, unfold(m.name, field{nested: nested}, scope))
		case []any:
			if m.name == "$or" && isListOfObjects(v) {
				or, err := parseOr(v, scope)
				if err != nil {
					return nil, err
				}
				o.ors = append(o.ors, or)
				continue
			}
			conditions, err := parseConditions(v)
			if err != nil {
				return nil, err
			}
			o.fields = append(o.fields, unfold(m.name, field{conditions: conditions}, scope))
		default:
			return nil, refuse("%q must be an object or an array", m.name)
		}
	}
	return o, nil
}

// unfold names a field. A dotted name in a policy for bodies is a path.
func unfold(name string, f field, scope Scope) field {
	first, rest, dotted := strings.Cut(name, ".")
	if scope == Attributes || !dotted || first == "" || rest == "" {
		f.name = name
		return f
	}
	return field{name: first, nested: &object{fields: []field{unfold(rest, f, scope)}}}
}

func isListOfObjects(list []any) bool {
	for _, v := range list {
		if _, ok := v.(members); !ok {
			return false
		}
	}
	return len(list) >= 2
}

func parseOr(list []any, scope Scope) ([]*object, error) {
	var or []*object
	for _, v := range list {
		o, err := parseObject(v.(members), scope)
		if err != nil {
			return nil, err
		}
		or = append(or, o)
	}
	return or, nil
}

// keys counts the keys with conditions; of an $or those of its largest branch.
func (o *object) keys() int {
	n := 0
	for _, f := range o.fields {
		if f.nested == nil {
			n++
		} else {
			n += f.nested.keys()
		}
	}
	for _, or := range o.ors {
		largest := 0
		for _, branch := range or {
			largest = max(largest, branch.keys())
		}
		n += largest
	}
	return n
}

// combinations multiplies so far by the number of conditions of each key times its depth. The branches of an $or are
// added up. It stops counting when the limit is passed.
func (o *object) combinations(depth, soFar int) int {
	for _, f := range o.fields {
		if soFar > maxCombinations {
			return soFar
		}
		if f.nested == nil {
			soFar *= len(f.conditions) * depth
		} else {
			soFar = f.nested.combinations(depth+1, soFar)
		}
	}
	for _, or := range o.ors {
		sum := 0
		for _, branch := range or {
			if sum += branch.combinations(depth, soFar); sum > maxCombinations {
				return sum
			}
		}
		soFar = sum
	}
	return soFar
}

// members is a JSON object whose members keep their order, so that of several faults the first is reported.
type members []member

type member struct {
	name  string
	value any // members, []any, string, json.Number, bool or nil
}

func readTree(text string) (any, error) {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	tree, err := readValue(dec)
	if err == nil {
		if _, end := dec.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("there is more behind the object")
		}
	}
	if err != nil {
		return nil, refuse("failed to parse JSON. %v", err)
	}
	return tree, nil
}

func readValue(dec *json.Decoder) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		var m members
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return nil, err
			}
			value, err := readValue(dec)
			if err != nil {
				return nil, err
			}
			m = append(m, member{name.(string), value}) // a decoder returns nothing else for a name
		}
		_, err := dec.Token()
		return m, err
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			value, err := readValue(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err := dec.Token()
		return list, err
	default:
		return token, nil
	}
}
