package filter

import (
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// kind is the type of a value in a message.
type kind int

const (
	text kind = iota
	number
	boolean
	null
	other // exists, but nothing can be said of it: binary attributes
)

// value is a value in a message.
type value struct {
	kind kind
	text string
	num  float64
	is   bool
}

// condition is one condition of a key.
type condition interface {
	// match reports whether one of the values satisfies the condition. No values at all means that the key is missing.
	match(values []value) bool
}

func parseConditions(list []any) ([]condition, error) {
	if len(list) == 0 {
		return nil, refuse("Empty arrays are not allowed")
	}
	conditions := make([]condition, 0, len(list))
	for _, v := range list {
		c, err := parseCondition(v)
		if err != nil {
			return nil, err
		}
		conditions = append(conditions, c)
	}
	return conditions, nil
}

func parseCondition(v any) (condition, error) {
	if m, ok := v.(members); ok {
		switch len(m) {
		case 0:
			return nil, refuse("Empty objects are not allowed")
		case 1:
			return parseMatch(m[0])
		default:
			return nil, refuse("Only one key allowed in match expression")
		}
	}
	wanted, err := scalar(v)
	return equal{wanted}, err
}

func scalar(v any) (value, error) {
	switch v := v.(type) {
	case string:
		return value{kind: text, text: v}, nil
	case json.Number:
		n, err := parseNumber(v)
		return value{kind: number, num: n}, err
	case bool:
		return value{kind: boolean, is: v}, nil
	case nil:
		return value{kind: null}, nil
	default:
		return value{}, refuse("Match value must be String, number, true, false, or null")
	}
}

const maxNumber = 1e9

func parseNumber(n json.Number) (float64, error) {
	f, err := n.Float64()
	if err != nil || math.Abs(f) > maxNumber {
		return 0, refuse("Numeric match values must be between -1.0E9 and 1.0E9, inclusive")
	}
	return f, nil
}

func parseMatch(m member) (condition, error) {
	switch m.name {
	case "prefix", "suffix":
		s, ok := m.value.(string)
		if !ok {
			return nil, refuse("%s match pattern must be a string", m.name)
		}
		if m.name == "prefix" {
			return prefix(s), nil
		}
		return suffix(s), nil
	case "equals-ignore-case":
		s, ok := m.value.(string)
		if !ok {
			return nil, refuse("equals-ignore-case match pattern must be a string")
		}
		return equalFold(s), nil
	case "exists":
		b, ok := m.value.(bool)
		if !ok {
			return nil, refuse("exists match pattern must be either true or false.")
		}
		return exists(b), nil
	case "cidr":
		return parseCIDR(m.value)
	case "numeric":
		return parseNumeric(m.value)
	case "anything-but":
		return parseAnythingBut(m.value)
	default:
		return nil, refuse("Unrecognized match type %s", m.name)
	}
}

func parseCIDR(v any) (condition, error) {
	s, ok := v.(string)
	if !ok {
		return nil, refuse("cidr match pattern must be a string")
	}
	address, bits, ok := strings.Cut(s, "/")
	if !ok || strings.Contains(bits, "/") {
		return nil, refuse("Malformed CIDR, one '/' required")
	}
	n, err := strconv.Atoi(bits)
	if err != nil {
		return nil, refuse("Malformed CIDR, mask bits must be an integer")
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return nil, refuse("Nonstandard IP address: %s", address)
	}
	network, err := ip.Prefix(n)
	if err != nil {
		return nil, refuse("Malformed CIDR, mask bits must not exceed %d", ip.BitLen())
	}
	return cidr(network), nil
}

func parseAnythingBut(v any) (condition, error) {
	if m, ok := v.(members); ok {
		if len(m) != 1 {
			return nil, refuse("Only one key allowed in match expression")
		}
		if m[0].name != "prefix" {
			return nil, refuse("Unsupported anything-but pattern: %s", m[0].name)
		}
		s, ok := m[0].value.(string)
		if !ok {
			return nil, refuse("prefix match pattern must be a string")
		}
		return anythingBut{prefix(s)}, nil
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) == 0 {
		return nil, refuse("Empty arrays are not allowed")
	}
	var not anythingBut
	for _, v := range list {
		wanted, err := scalar(v)
		if err != nil {
			return nil, err
		}
		if wanted.kind != text && wanted.kind != number {
			return nil, refuse("Inside anything but list, start|null|boolean is not supported.")
		}
		not = append(not, equal{wanted})
	}
	return not, nil
}

// parseNumeric parses ["=", 5] and ranges such as [">", 0, "<=", 100], the lower bound first.
func parseNumeric(v any) (condition, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, refuse("Value of numeric must be an array.")
	}
	if len(list) == 0 {
		return nil, refuse("Invalid member in numeric match: ]")
	}
	op, ok := list[0].(string)
	if !ok {
		return nil, refuse("Invalid member in numeric match: %v", list[0])
	}
	name := op
	switch op {
	case "=":
		name = "equals"
	case "<", "<=", ">", ">=":
	default:
		return nil, refuse("Unrecognized numeric range operator: %s", op)
	}
	if len(list) < 2 {
		return nil, refuse("Value of %s must be numeric", name)
	}
	n, ok := list[1].(json.Number)
	if !ok {
		return nil, refuse("Value of %s must be numeric", name)
	}
	first, err := parseNumber(n)
	if err != nil {
		return nil, err
	}
	r := numeric{low: math.Inf(-1), high: math.Inf(1), withLow: true, withHigh: true}
	switch op {
	case "=":
		r.low, r.high = first, first
	case "<", "<=":
		r.high, r.withHigh = first, op == "<="
	case ">", ">=":
		r.low, r.withLow = first, op == ">="
		return r.upper(list[2:])
	}
	if len(list) > 2 {
		return nil, refuse("Too many elements in numeric expression")
	}
	return r, nil
}

// upper adds the upper bound to a range that has its lower one.
func (r numeric) upper(list []any) (condition, error) {
	if len(list) == 0 {
		return r, nil
	}
	op, ok := list[0].(string)
	if !ok || op != "<" && op != "<=" {
		return nil, refuse("Bad numeric range operator: %v", list[0])
	}
	if len(list) < 2 {
		return nil, refuse("Value of %s must be numeric", op)
	}
	n, ok := list[1].(json.Number)
	if !ok {
		return nil, refuse("Bad value in numeric range: %v", list[1])
	}
	if len(list) > 2 {
		return nil, refuse("Too many terms in numeric range expression")
	}
	var err error
	if r.high, err = parseNumber(n); err != nil {
		return nil, err
	}
	r.withHigh = op == "<="
	if r.low >= r.high {
		return nil, refuse("Bottom must be less than top")
	}
	return r, nil
}
