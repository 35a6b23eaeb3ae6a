package faults

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxFileBytes is the size of the largest file of rules.
const maxFileBytes = 1 << 20

// ParseError tells what is wrong in a file of rules, and where.
type ParseError struct {
	Line   int    // from 1
	Rule   int    // from 1; 0 when it is no rule's fault
	Field  string // "" when it is no field's fault
	Reason string
}

// Error implements error.
func (e *ParseError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "faults: line %d", e.Line)
	if e.Rule > 0 {
		fmt.Fprintf(&b, ": rule %d", e.Rule)
	}
	if e.Field != "" {
		fmt.Fprintf(&b, ": field %q", e.Field)
	}
	return b.String() + ": " + e.Reason
}

// fields are what a rule can have, and how each is read.
var fields = map[string]func(*Rule, json.RawMessage) error{
	"kind":         func(r *Rule, v json.RawMessage) (err error) { r.Kind, err = parseKind(v); return err },
	"action":       func(r *Rule, v json.RawMessage) error { return as(v, "a string", &r.Action) },
	"resource":     func(r *Rule, v json.RawMessage) error { return as(v, "a string", &r.Resource) },
	"group":        func(r *Rule, v json.RawMessage) error { return as(v, "a string", &r.Group) },
	"entry":        func(r *Rule, v json.RawMessage) error { return as(v, "an integer", &r.Entry) },
	"entry_id":     func(r *Rule, v json.RawMessage) error { return as(v, "a string", &r.EntryID) },
	"code":         func(r *Rule, v json.RawMessage) error { return as(v, "a string", &r.Code) },
	"sender_fault": func(r *Rule, v json.RawMessage) error { return as(v, "true or false", &r.SenderFault) },
	"delay":        func(r *Rule, v json.RawMessage) (err error) { r.Delay, err = parseDuration(v); return err },
	"delay_p99":    func(r *Rule, v json.RawMessage) (err error) { r.DelayP99, err = parseDuration(v); return err },
	"rate":         func(r *Rule, v json.RawMessage) error { return as(v, "a number", &r.Rate) },
	"after":        func(r *Rule, v json.RawMessage) (err error) { r.After, err = parseDuration(v); return err },
	"for":          func(r *Rule, v json.RawMessage) (err error) { r.For, err = parseDuration(v); return err },
	"count":        func(r *Rule, v json.RawMessage) error { return as(v, "an integer", &r.Count) },
	"probability":  func(r *Rule, v json.RawMessage) error { return as(v, "a number", &r.Probability) },
	"seed":         func(r *Rule, v json.RawMessage) error { return as(v, "an integer from 0", &r.Seed) },
}

// Parse reads a file of rules: a JSON array of objects whose members are the fields of [Rule] in lower case with
// underscores. A kind is named as by [Kind.String], a duration as by time.Duration. It is strict: unknown and repeated
// fields are errors, and so are values that would have no effect. The error is a *ParseError, or that of r.
func Parse(r io.Reader) ([]Rule, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("faults: read the rules: %w", err)
	}
	if len(text) > maxFileBytes {
		return nil, &ParseError{Line: 1, Reason: fmt.Sprintf("the file is longer than %d bytes", maxFileBytes)}
	}
	p := &parser{text: text, decoder: json.NewDecoder(bytes.NewReader(text))}
	rules, err := p.file()
	if wrong, ok := errors.AsType[*ParseError](err); ok {
		wrong.Rule = p.rule
	}
	return rules, err
}

type parser struct {
	text    []byte
	decoder *json.Decoder
	rule    int // number of the rule that is being read, or 0
}

func (p *parser) fail(field, reason string, args ...any) error {
	return p.failAt(p.line(), field, reason, args...)
}

func (p *parser) failAt(line int, field, reason string, args ...any) error {
	return &ParseError{Line: line, Field: field, Reason: fmt.Sprintf(reason, args...)}
}

// line is the line of what was read last.
func (p *parser) line() int { return p.lineAt(p.decoder.InputOffset()) }

func (p *parser) lineAt(offset int64) int {
	return 1 + bytes.Count(p.text[:min(int(offset), len(p.text))], []byte("\n"))
}

// broken is an error of the JSON itself.
func (p *parser) broken(err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return p.failAt(p.lineAt(syntax.Offset), "", "%v", err)
	}
	return p.failAt(p.lineAt(int64(len(p.text))), "", "the file breaks off: %v", err)
}

// expect reads the delimiter d.
func (p *parser) expect(d json.Delim, what string) error {
	token, err := p.decoder.Token()
	if err != nil {
		return p.broken(err)
	}
	if token != d {
		return p.fail("", "got %v, want %s", token, what)
	}
	return nil
}

func (p *parser) file() ([]Rule, error) {
	if err := p.expect('[', "a list of rules"); err != nil {
		return nil, err
	}
	rules := []Rule{}
	for p.decoder.More() {
		p.rule++
		rule, err := p.object()
		if err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	p.rule = 0
	if err := p.expect(']', "the end of the list"); err != nil {
		return nil, err
	}
	if _, err := p.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, p.fail("", "there is something behind the list of rules")
	}
	return rules, nil
}

func (p *parser) object() (Rule, error) {
	if err := p.expect('{', "a rule, which is an object"); err != nil {
		return Rule{}, err
	}
	var rule Rule
	begin := p.line()
	lines := make(map[string]int) // where each field stands
	for p.decoder.More() {
		token, err := p.decoder.Token()
		if err != nil {
			return Rule{}, p.broken(err)
		}
		name, line := token.(string), p.line() // in an object, it is a string
		read, known := fields[name]
		if !known {
			return Rule{}, p.failAt(line, name, "unknown, want one of %s", strings.Join(slices.Sorted(maps.Keys(fields)), ", "))
		}
		if _, twice := lines[name]; twice {
			return Rule{}, p.failAt(line, name, "given twice")
		}
		lines[name] = line
		var value json.RawMessage
		if err := p.decoder.Decode(&value); err != nil {
			return Rule{}, p.broken(err)
		}
		if err := read(&rule, value); err != nil {
			return Rule{}, p.failAt(line, name, "%v", err)
		}
	}
	if err := p.expect('}', "the end of the rule"); err != nil {
		return Rule{}, err
	}
	if field, reason := rule.fault(lines); field != "" {
		line, given := lines[field]
		if !given {
			line = begin
		}
		return Rule{}, p.failAt(line, field, "%s", reason)
	}
	return rule, nil
}

// concerns lists the fields that concern only some kinds.
var concerns = map[string][]Kind{
	"entry": {FailEntry}, "entry_id": {FailEntry}, "sender_fault": {FailEntry}, "code": {FailEntry, Throttle},
	"delay": {Delay}, "delay_p99": {Delay}, "rate": {Throttle},
}

// fault finds what makes no sense in a rule whose given fields are known, or returns "".
func (r Rule) fault(given map[string]int) (field, reason string) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if kinds := concerns[name]; kinds != nil && r.Kind != 0 && !slices.Contains(kinds, r.Kind) {
			return name, fmt.Sprintf("has no effect on the kind %s", r.Kind)
		}
	}
	switch {
	case r.Kind == 0:
		return "kind", "missing, want " + kindList()
	case r.Count < 0:
		return "count", fmt.Sprintf("got %d, want 0 or more", r.Count)
	case r.Rate < 0:
		return "rate", fmt.Sprintf("got %v, want 0 or more", r.Rate)
	case r.After < 0:
		return "after", fmt.Sprintf("got %v, want 0 or more", r.After)
	case r.For < 0:
		return "for", fmt.Sprintf("got %v, want more than 0, or none for a rule without end", r.For)
	case r.Entry < 0:
		return "entry", fmt.Sprintf("got %d, want 1 or more", r.Entry)
	case r.Probability < 0 || r.Probability > 1:
		return "probability", fmt.Sprintf("got %v, want 0 to 1", r.Probability)
	case r.Kind == Delay && r.Delay <= 0:
		return "delay", fmt.Sprintf("got %v, want more than 0", r.Delay)
	case r.DelayP99 != 0 && r.DelayP99 < r.Delay:
		return "delay_p99", fmt.Sprintf("got %v, want at least the delay, %v", r.DelayP99, r.Delay)
	}
	return "", ""
}

func as[T any](value json.RawMessage, want string, target *T) error {
	if string(value) == "null" || json.Unmarshal(value, target) != nil {
		return fmt.Errorf("got %s, want %s", value, want)
	}
	return nil
}

func kindList() string {
	return "one of " + strings.Join(Kinds(), ", ")
}

func parseKind(value json.RawMessage) (Kind, error) {
	var name string
	if err := as(value, kindList(), &name); err != nil {
		return 0, err
	}
	for kind, n := range kindNames {
		if n == name {
			return kind, nil
		}
	}
	return 0, fmt.Errorf("got %q, want %s", name, kindList())
}

func parseDuration(value json.RawMessage) (time.Duration, error) {
	const want = `a duration such as "20ms"`
	var text string
	if err := as(value, want, &text); err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("got %q, want %s", text, want)
	}
	return d, nil
}
