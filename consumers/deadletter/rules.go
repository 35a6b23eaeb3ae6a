package deadletter

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Rule says what a watch does with the messages that match it. See [ParseRules] for its form in a file.
type Rule struct {
	Leave   bool          // leave them for a person
	Service string        // empty matches all
	Filter  Filter        // without a limit
	After   time.Duration // from the failure to the first redrive; it doubles with each further one
	Times   int           // the most redrives of a message; then it is left for a person
}

// Bounds of the time between a failure and its redrive.
const (
	minAfter     = time.Second
	maxAfter     = 7 * 24 * time.Hour
	maxTimes     = 20
	defaultAfter = 10 * time.Minute
	defaultTimes = 3
)

// RuleError is a fault in a rules file.
type RuleError struct {
	Line, Column int // from 1; the column counts characters
	Text         string
}

func (e *RuleError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Text)
}

// ParseRules reads a rules file: a rule a line, empty lines, and comments from # on. The first rule that matches a message counts;
// messages that none matches are left for a person.
//
//	# what is known to pass by itself
//	redrive code=timeout after=10m times=3
//	redrive service=history class=exhausted text="connection refused" after=1m times=5
//	leave   code=invalid_data
//
// A rule begins with redrive or leave and goes on with conditions: service, device, type, code, class, fingerprint and text, which
// is looked for in the error. A value with spaces stands in double quotes. redrive also takes after (10m) and times (3).
//
// The error joins a [*RuleError] for each fault.
func ParseRules(in io.Reader) ([]Rule, error) {
	var rules []Rule
	var faults []error
	scan := bufio.NewScanner(in)
	n := 0
	for scan.Scan() {
		n++
		p := ruleParser{text: scan.Text(), line: n}
		rule, err := p.rule()
		if err != nil {
			faults = append(faults, err)
		} else if rule != nil {
			rules = append(rules, *rule)
		}
	}
	if err := scan.Err(); err != nil {
		faults = append(faults, fmt.Errorf("line %d: %w", n+1, err))
	}
	if len(rules) == 0 && len(faults) == 0 {
		faults = append(faults, &RuleError{max(n, 1), 1, "there is no rule; want a line such as: redrive code=timeout after=10m times=3"})
	}
	return rules, errors.Join(faults...)
}

// ruleParser parses one line.
type ruleParser struct {
	text string
	line int
	at   int // byte
}

func (p *ruleParser) fault(at int, format string, args ...any) error {
	return &RuleError{p.line, utf8.RuneCountInString(p.text[:at]) + 1, fmt.Sprintf(format, args...)}
}

func (p *ruleParser) space() {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\t' || p.text[p.at] == '\r') {
		p.at++
	}
	if p.at < len(p.text) && p.text[p.at] == '#' {
		p.at = len(p.text)
	}
}

// word takes what stands before any of the bytes in end.
func (p *ruleParser) word(end string) string {
	start := p.at
	for p.at < len(p.text) && !strings.ContainsRune(end, rune(p.text[p.at])) {
		p.at++
	}
	return p.text[start:p.at]
}

func (p *ruleParser) rule() (*Rule, error) {
	p.space()
	if p.at == len(p.text) {
		return nil, nil
	}
	start := p.at
	var r Rule
	switch verb := p.word(" \t\r#"); verb {
	case "redrive":
		r.After, r.Times = defaultAfter, defaultTimes
	case "leave":
		r.Leave = true
	default:
		return nil, p.fault(start, "got %q, want redrive or leave", verb)
	}
	set := map[string]bool{}
	for p.space(); p.at < len(p.text); p.space() {
		at := p.at
		key := p.word("= \t\r#")
		if p.at == len(p.text) || p.text[p.at] != '=' {
			return nil, p.fault(at, "got %q, want a condition such as code=timeout", key)
		}
		if set[key] {
			return nil, p.fault(at, "%s is given twice", key)
		}
		set[key] = true
		p.at++
		valueAt := p.at
		value, err := p.value()
		if err != nil {
			return nil, err
		}
		if value == "" {
			return nil, p.fault(valueAt, "%s has no value", key)
		}
		if err := r.set(key, value); err != nil {
			if errors.Is(err, errNoKey) {
				valueAt = at
			}
			return nil, p.fault(valueAt, "%v", err)
		}
	}
	return &r, nil
}

// value takes a word, or a text in double quotes.
func (p *ruleParser) value() (string, error) {
	if p.at == len(p.text) || p.text[p.at] != '"' {
		return p.word(" \t\r#"), nil
	}
	at := p.at
	quoted, err := strconv.QuotedPrefix(p.text[p.at:])
	if err != nil {
		return "", p.fault(at, "the quote does not end, or holds a backslash that means nothing")
	}
	p.at += len(quoted)
	return strconv.Unquote(quoted)
}

var errNoKey = errors.New("no such condition")

func (r *Rule) set(key, value string) error {
	f := &r.Filter
	texts := map[string]*string{
		"service": &r.Service, "device": &f.Device, "type": &f.Type, "code": &f.Code, "fingerprint": &f.Fingerprint, "text": &f.Text,
	}
	switch field := texts[key]; {
	case field != nil:
		*field = value
		return f.Validate()
	case key == "class":
		f.Class = Class(value)
		return f.Validate()
	case r.Leave && (key == "after" || key == "times"):
		return fmt.Errorf("%w for leave: %s", errNoKey, key)
	case key == "after":
		d, err := time.ParseDuration(value)
		if err != nil || d < minAfter || d > maxAfter {
			return fmt.Errorf("after: got %q, want a duration from %v to 168h such as 10m", value, minAfter)
		}
		r.After = d
		return nil
	case key == "times":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxTimes {
			return fmt.Errorf("times: got %q, want a number from 1 to %d", value, maxTimes)
		}
		r.Times = n
		return nil
	}
	return fmt.Errorf("%w: %q; there are service, device, type, code, class, fingerprint, text, after and times", errNoKey, key)
}
