package doctor

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// statement is one of a resource's policy.
type statement struct {
	Sid, Effect string
	Principal   any
	Action      texts
	Resource    texts                       `json:",omitempty"`
	Condition   map[string]map[string]texts `json:",omitempty"`
}

// texts is a text or a list of texts.
type texts []string

func (t *texts) UnmarshalJSON(text []byte) error {
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return err
	}
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for _, one := range list {
		*t = append(*t, fmt.Sprint(one))
	}
	return nil
}

// statements reads a policy. One that can't be read has none, so that what it should allow counts as missing.
func statements(policy string) []statement {
	var p struct{ Statement json.RawMessage }
	_ = json.Unmarshal([]byte(policy), &p)
	var list []statement
	if json.Unmarshal(p.Statement, &list) != nil {
		var one statement
		if json.Unmarshal(p.Statement, &one) == nil && one.Effect != "" {
			return []statement{one}
		}
	}
	return list
}

// principals are those of a statement: a service such as sns.amazonaws.com, an ARN, an account, or * for everybody.
func (s statement) principals() []string {
	switch p := s.Principal.(type) {
	case string:
		return []string{p}
	case map[string]any:
		var all []string
		for _, kind := range p {
			switch names := kind.(type) {
			case string:
				all = append(all, names)
			case []any:
				for _, name := range names {
					text, _ := name.(string)
					all = append(all, text)
				}
			}
		}
		slices.Sort(all)
		return all
	}
	return nil
}

// condition are the values that a statement wants of a key, by any operator that wants equality, and whether there is one.
func (s statement) condition(key string) (values texts, ok bool) {
	for operator, keys := range s.Condition {
		switch strings.ToLower(operator) {
		case "stringequals", "stringlike", "arnequals", "arnlike", "bool":
		default:
			continue
		}
		for name, wanted := range keys {
			if strings.EqualFold(name, key) {
				values, ok = append(values, wanted...), true
			}
		}
	}
	return values, ok
}

// sendsFrom tells whether a statement lets exactly the topic send to the queue.
func (s statement) sendsFrom(topicARN string) bool {
	source, ok := s.condition("aws:SourceArn")
	return s.Effect == "Allow" && ok && slices.Equal(source, texts{topicARN}) && slices.Equal(s.principals(), []string{"sns.amazonaws.com"}) &&
		len(s.Action) == 1 && strings.EqualFold(s.Action[0], "sqs:SendMessage")
}

// wantsTLS tells whether a statement refuses everybody's requests without TLS.
func (s statement) wantsTLS() bool {
	secure, ok := s.condition("aws:SecureTransport")
	return s.Effect == "Deny" && ok && slices.Equal(secure, texts{"false"}) && slices.Equal(s.principals(), []string{"*"})
}

// withinAccount tells whether a statement is for this account alone: whoever it lets in needs a policy there as well, or is named.
func (s statement) withinAccount(account string) bool {
	for _, key := range []string{"aws:SourceOwner", "aws:SourceAccount", "aws:PrincipalAccount"} {
		if owner, ok := s.condition(key); ok && slices.Equal(owner, texts{account}) {
			return true
		}
	}
	for _, p := range s.principals() {
		if p != account && !(strings.HasPrefix(p, "arn:") && strings.Contains(p, "::"+account+":")) {
			return false
		}
	}
	return true
}

// others describes statements that let in somebody whom the declaration does not know, and tells whether one lets in everybody.
func others(list []statement, known func(statement) bool) (who []string, everybody bool) {
	for _, s := range list {
		if s.Effect != "Allow" || known(s) {
			continue
		}
		who = append(who, strings.Join(s.principals(), ", ")+" may "+strings.Join(s.Action, ", "))
		everybody = everybody || len(s.Condition) == 0 && slices.Contains(s.principals(), "*")
	}
	return who, everybody
}

// withTLS is a policy with a statement that refuses requests without TLS, as the stacks have it.
func withTLS(policy, resource, actions string) string {
	list := []any{map[string]any{
		"Sid": "TLS", "Effect": "Deny", "Principal": map[string]string{"AWS": "*"}, "Action": actions, "Resource": resource,
		"Condition": map[string]any{"Bool": map[string]string{"aws:SecureTransport": "false"}},
	}}
	var p struct{ Statement []any }
	_ = json.Unmarshal([]byte(policy), &p) // ours
	return object(map[string]any{"Version": "2012-10-17", "Statement": append(p.Statement, list...)})
}
