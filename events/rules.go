package events

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Rule is one bound on a field, written in its validate tag. There are no others than these, so that the validator, the
// words of an error and the JSON Schema always say the same:
//
//   - on numbers and integers: gte, lte, gt, lt (min and max are read as gte and lte); on integers also oneof
//   - on strings, counted in characters: min, max, len; and oneof, printascii, alphanum, hexadecimal
//   - on lists: min, max, len, unique (not on lists of objects or lists); what follows dive is for the elements
type Rule struct {
	// Name is the rule's name, such as "gte".
	Name string
	// Param is what follows the equals sign, a JSON number where it is one. It is empty for a rule without.
	Param string
}

// Values returns the values that the rule oneof lists.
func (r Rule) Values() []string {
	values := oneOfValue.FindAllString(r.Param, -1)
	for i, value := range values {
		values[i] = strings.ReplaceAll(value, "'", "") // as the validator reads them
	}
	return values
}

var (
	oneOfValue = regexp.MustCompile(`'[^']*'|\S+`)
	integer    = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	number     = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
)

// rulesByKind says which rules a field of a kind may have.
var rulesByKind = map[Kind][]string{
	KindInteger: {"gte", "lte", "gt", "lt", "oneof"},
	KindNumber:  {"gte", "lte", "gt", "lt"},
	KindString:  {"min", "max", "len", "oneof", "printascii", "alphanum", "hexadecimal"},
	KindList:    {"min", "max", "len", "unique"},
}

// parseRules reads the parts of a validate tag that belong to a field of that kind.
func parseRules(kind Kind, parts []string) ([]Rule, error) {
	var rules []Rule
	for _, part := range parts {
		name, param, hasParam := strings.Cut(part, "=")
		if kind == KindInteger || kind == KindNumber {
			switch name {
			case "min":
				name = "gte"
			case "max":
				name = "lte"
			}
		}
		switch {
		case name == "required":
			return nil, fmt.Errorf("validate rule %q: not needed, a field without omitempty is required; for a string that is not empty write min=1", part)
		case name == "omitempty":
			return nil, fmt.Errorf("validate rule %q: want it first, and only on a field whose json tag has omitempty", part)
		case !slices.Contains(rulesByKind[kind], name):
			return nil, fmt.Errorf("validate rule %q: not known for %s", part, kind.article())
		case hasRule(rules, name):
			return nil, fmt.Errorf("validate rule %q: given twice", part)
		}
		switch name {
		case "printascii", "alphanum", "hexadecimal", "unique":
			if hasParam {
				return nil, fmt.Errorf("validate rule %q: want no value", part)
			}
		case "oneof":
			if err := checkOneOf(kind, Rule{name, param}); err != nil {
				return nil, fmt.Errorf("validate rule %q: %w", part, err)
			}
		case "min", "max", "len":
			if n, err := strconv.ParseInt(param, 10, 32); err != nil || n < 0 || !integer.MatchString(param) {
				return nil, fmt.Errorf("validate rule %q: want a whole number from 0", part)
			}
		default:
			if kind == KindInteger && !integer.MatchString(param) {
				return nil, fmt.Errorf("validate rule %q: want a whole number", part)
			}
			if _, err := strconv.ParseFloat(param, 64); err != nil || !number.MatchString(param) {
				return nil, fmt.Errorf("validate rule %q: want a number as JSON writes it", part)
			}
		}
		rules = append(rules, Rule{name, param})
	}
	return rules, nil
}

func checkOneOf(kind Kind, rule Rule) error {
	values := rule.Values()
	if len(values) == 0 {
		return errors.New("want at least one value")
	}
	for _, value := range values {
		if strings.Contains(value, "0x2C") || strings.ContainsAny(value, "|") || strings.Contains(value, "0x7C") {
			return fmt.Errorf("got %q, want no comma and no bar", value)
		}
		if kind == KindInteger && !integer.MatchString(value) {
			return fmt.Errorf("got %q, want a whole number", value)
		}
	}
	return nil
}

// limits adds the bounds that the Go type itself sets on a number, where the rules set none.
func limits(rules []Rule, low, high string) []Rule {
	if !hasRule(rules, "gte", "gt", "oneof") {
		rules = append(rules, Rule{"gte", low})
	}
	if !hasRule(rules, "lte", "lt", "oneof") {
		rules = append(rules, Rule{"lte", high})
	}
	return rules
}

// hasRule reports whether one of the names is among the rules.
func hasRule(rules []Rule, names ...string) bool {
	return slices.ContainsFunc(rules, func(r Rule) bool { return slices.Contains(names, r.Name) })
}

// want says in words what a field of that kind with these rules takes, such as "a number from 0 to 100".
func want(kind Kind, rules []Rule) string {
	param := make(map[string]string, len(rules))
	for _, r := range rules {
		param[r.Name] = r.Param
	}
	words := kind.article()
	switch kind {
	case KindTime:
		return words + " in RFC 3339, such as 2006-01-02T15:04:05Z"
	case KindInteger, KindNumber:
		if _, ok := param["oneof"]; ok {
			words += " out of " + strings.Join(rules[slices.IndexFunc(rules, isOneOf)].Values(), ", ")
		}
		return words + bounds(param["gte"], param["lte"], param["gt"], param["lt"])
	case KindString:
		var characters []string
		if _, ok := param["printascii"]; ok {
			characters = append(characters, "printable ASCII characters")
		}
		if _, ok := param["alphanum"]; ok {
			characters = append(characters, "ASCII letters and digits")
		}
		if _, ok := param["hexadecimal"]; ok {
			characters = append(characters, "hexadecimal digits")
		}
		unit := strings.Join(characters, " that are ")
		if i := slices.IndexFunc(rules, isOneOf); i >= 0 {
			quoted := rules[i].Values()
			for i, value := range quoted {
				quoted[i] = strconv.Quote(value)
			}
			words += " out of " + strings.Join(quoted, ", ")
			if len(param) == 1 {
				return words
			}
		}
		return words + count(param, unit, "character")
	case KindList:
		words += count(param, "", "element")
		if _, ok := param["unique"]; ok {
			words += ", no two alike"
		}
	}
	return words
}

func isOneOf(r Rule) bool { return r.Name == "oneof" }

func bounds(gte, lte, gt, lt string) string {
	if gte != "" && lte != "" && gt == "" && lt == "" {
		return " from " + gte + " to " + lte
	}
	var parts []string
	for _, bound := range []struct{ word, param string }{{"at least ", gte}, {"above ", gt}, {"at most ", lte}, {"below ", lt}} {
		if bound.param != "" {
			parts = append(parts, bound.word+bound.param)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " " + strings.Join(parts, " and ")
}

// count says how many of unit, or else of singular, there may be.
func count(param map[string]string, unit, singular string) string {
	low, high := param["min"], param["max"]
	number := ""
	switch {
	case param["len"] != "":
		number, high = param["len"], param["len"]
	case low != "" && high != "":
		number = low + " to " + high
	case low != "":
		number, high = "at least "+low, low
	case high != "":
		number = "at most " + high
	}
	switch {
	case number == "" && unit == "":
		return ""
	case number == "":
		return " of " + unit
	case unit == "" && high == "1":
		return " of " + number + " " + singular
	case unit == "":
		return " of " + number + " " + singular + "s"
	default:
		return " of " + number + " " + unit
	}
}
