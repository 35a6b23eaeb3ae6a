package policy

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
)

// Request is what a service of AWS wants to do on behalf of a resource of its own.
type Request struct {
	Service   string // such as "sns.amazonaws.com"
	Action    string // with its service, such as "SQS:SendMessage"
	Resource  string // an ARN
	SourceARN string // of what the service acts for
	Account   string // that owns SourceARN
}

// Allows reports whether a resource's policy lets a service in: a statement must allow the request, and none deny it. The
// empty text is no policy, which allows nothing.
//
// It knows Principal, Action and Resource with wildcards, and the conditions on aws:SourceArn, aws:SourceAccount and
// aws:SecureTransport by ArnEquals, ArnLike, StringEquals, StringLike, their negations, and Bool. Whatever else a statement
// has makes it fail closed: it allows nothing, and denies all that it would otherwise concern.
func Allows(text string, r Request) bool {
	d, err := parse(text)
	if err != nil {
		return false
	}
	allowed := false
	for _, raw := range d.Statement {
		var s rule
		if json.Unmarshal(raw, &s) != nil {
			return false
		}
		deny := s.Effect == "Deny"
		if !s.concerns(r) {
			continue
		}
		holds, known := s.holds(r)
		if deny && (holds || !known) {
			return false
		}
		allowed = allowed || !deny && s.Effect == "Allow" && holds && known
	}
	return allowed
}

// rule is a statement to be judged.
type rule struct {
	Effect    string
	Principal json.RawMessage
	Action    list
	Resource  list
	Condition map[string]map[string]list

	NotPrincipal, NotAction, NotResource json.RawMessage
}

// list is one text or several. A number or a bool that is not quoted is the text that it is written as.
type list []string

// UnmarshalJSON implements json.Unmarshaler.
func (l *list) UnmarshalJSON(data []byte) error {
	var elements []json.RawMessage
	if json.Unmarshal(data, &elements) != nil || elements == nil {
		elements = []json.RawMessage{data}
	}
	*l = make(list, len(elements))
	for i, element := range elements {
		switch element[0] {
		case '{', '[', 'n':
			return errors.New("neither a text nor a number nor a bool")
		case '"':
			if err := json.Unmarshal(element, &(*l)[i]); err != nil {
				return err
			}
		default:
			(*l)[i] = string(element)
		}
	}
	return nil
}

func (s *rule) concerns(r Request) bool {
	return (s.NotPrincipal != nil || s.isPrincipal(r.Service)) &&
		(s.NotAction != nil || s.Action.has(r.Action, true)) &&
		(s.NotResource != nil || s.Resource.has(r.Resource, false))
}

func (s *rule) isPrincipal(service string) bool {
	var everybody string
	if json.Unmarshal(s.Principal, &everybody) == nil {
		return everybody == "*"
	}
	var kinds map[string]list
	if json.Unmarshal(s.Principal, &kinds) != nil {
		return false
	}
	return slices.Contains(kinds["Service"], service) || slices.Contains(kinds["AWS"], "*")
}

// holds tells whether all conditions do; known is false when the statement has parts that are not understood.
func (s *rule) holds(r Request) (holds, known bool) {
	if s.NotPrincipal != nil || s.NotAction != nil || s.NotResource != nil {
		return false, false
	}
	for operator, keys := range s.Condition {
		operator = strings.TrimSuffix(operator, "IfExists")
		negated := strings.Contains(operator, "Not")
		like := strings.HasSuffix(operator, "Like") || strings.HasPrefix(operator, "Arn")
		switch operator {
		case "ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike", "Bool",
			"StringEquals", "StringLike", "StringNotEquals", "StringNotLike":
		default:
			return false, false
		}
		for key, wanted := range keys {
			var got string
			switch strings.ToLower(key) {
			case "aws:sourcearn":
				got = r.SourceARN
			case "aws:sourceaccount":
				got = r.Account
			case "aws:securetransport":
				got = "true" // services talk TLS among themselves
			default:
				return false, false
			}
			matches := slices.Contains(wanted, got) || like && wanted.has(got, false) || operator == "Bool" && wanted.has(got, true)
			if matches == negated {
				return false, true
			}
		}
	}
	return true, true
}

// has tells whether a pattern of the list matches.
func (l list) has(text string, fold bool) bool {
	return slices.ContainsFunc(l, func(pattern string) bool {
		if fold {
			return matches(strings.ToLower(pattern), strings.ToLower(text))
		}
		return matches(pattern, text)
	})
}

// matches knows * and ?. Where a star can stand for several texts, only the last star needs to be tried again.
func matches(pattern, text string) bool {
	p, t := 0, 0
	star, end := -1, 0 // the last star, and where the text that it stands for ends
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, end = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			end++
			p, t = star+1, end
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
