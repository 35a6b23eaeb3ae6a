package events

import (
	"strings"
	"testing"
)

func TestWant_SaysTheRulesInWords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind Kind
		tag  string
		want string
	}{
		{KindBoolean, "", "a boolean"},
		{KindTime, "", "a time in RFC 3339, such as 2006-01-02T15:04:05Z"},
		{KindNumber, "", "a number"},
		{KindNumber, "gte=0,lte=100", "a number from 0 to 100"},
		{KindNumber, "min=-1.5,max=1e3", "a number from -1.5 to 1e3"},
		{KindNumber, "gte=0", "a number at least 0"},
		{KindNumber, "gt=0,lte=1", "a number above 0 and at most 1"},
		{KindNumber, "gte=0,lt=1", "a number at least 0 and below 1"},
		{KindInteger, "gte=0,lte=9", "a whole number from 0 to 9"},
		{KindInteger, "oneof=1 2 3", "a whole number out of 1, 2, 3"},
		{KindString, "", "a string"},
		{KindString, "min=1,max=64", "a string of 1 to 64 characters"},
		{KindString, "min=1", "a string of at least 1 character"},
		{KindString, "max=32", "a string of at most 32 characters"},
		{KindString, "len=4,hexadecimal", "a string of 4 hexadecimal digits"},
		{KindString, "alphanum", "a string of ASCII letters and digits"},
		{KindString, "max=8,printascii", "a string of at most 8 printable ASCII characters"},
		{KindString, "oneof=on off 'not known'", `a string out of "on", "off", "not known"`},
		{KindList, "max=256", "a list of at most 256 elements"},
		{KindList, "len=1,unique", "a list of 1 element, no two alike"},
		{KindObject, "", "an object"},
	} {
		var parts []string
		if test.tag != "" {
			parts = strings.Split(test.tag, ",")
		}
		rules, err := parseRules(test.kind, parts)
		if err != nil {
			t.Errorf("parseRules(%s, %q): %v", test.kind, test.tag, err)
			continue
		}
		if got := want(test.kind, rules); got != test.want {
			t.Errorf("want(%s, %q): got %q, want %q", test.kind, test.tag, got, test.want)
		}
	}
}

func TestParseRules_RefusesWhatASchemaCannotSay(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		kind Kind
		tag  string
		want string // in the error
	}{
		{KindBoolean, "required", "not needed"},
		{KindString, "required", "min=1"},
		{KindNumber, "omitempty", "want it first"},
		{KindString, "email", "not known for a string"},
		{KindNumber, "gte=0|eq=-1", "number as JSON"},
		{KindNumber, "gte=0x10", "number as JSON"},
		{KindNumber, "gte=.5", "number as JSON"},
		{KindNumber, "gte=1e999", "number as JSON"},
		{KindNumber, "gte", "number as JSON"},
		{KindNumber, "gte=0,gte=1", "given twice"},
		{KindNumber, "gte=0,min=1", "given twice"},
		{KindNumber, "oneof=1 2", "not known for a number"},
		{KindInteger, "gte=1.5", "whole number"},
		{KindInteger, "gte=010", "whole number"},
		{KindInteger, "oneof=1 x", "whole number"},
		{KindString, "min=-1", "whole number from 0"},
		{KindString, "max=+3", "whole number from 0"},
		{KindString, "gte=1", "not known"},
		{KindString, "oneof=", "at least one value"},
		{KindString, "oneof=a|b c", "no bar"},
		{KindString, "alphanum=3", "no value"},
		{KindTime, "gt", "not known for a time"},
		{KindObject, "dive", "not known for an object"},
		{KindList, "unique=Name", "no value"},
		{KindString, "", "not known"},
	} {
		_, err := parseRules(test.kind, strings.Split(test.tag, ","))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("parseRules(%s, %q): got %v, want an error with %q", test.kind, test.tag, err, test.want)
		}
	}
}
