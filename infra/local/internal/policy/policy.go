// Package policy edits the access policies of queues and topics, as AddPermission and RemovePermission do, and tells
// whether one lets a service in.
package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// Errors of [Add] and [Remove].
var (
	ErrLabelTaken   = errors.New("policy: there is a statement with this label")
	ErrLabelUnknown = errors.New("policy: there is no statement with this label")
)

// Grant allows accounts to do something with a resource.
type Grant struct {
	Label    string
	Accounts []string // twelve digits each
	Actions  []string // with their service, such as "SQS:SendMessage"
	Resource string   // an ARN
}

type document struct {
	Version   string            `json:"Version"`
	ID        string            `json:"Id,omitempty"`
	Statement []json.RawMessage `json:"Statement"`
}

type statement struct {
	Sid       string         `json:"Sid"`
	Effect    string         `json:"Effect"`
	Principal map[string]any `json:"Principal"`
	Action    any            `json:"Action"`
	Resource  string         `json:"Resource"`
}

// Add returns the policy text with a statement for g behind the others, which stay as they are. An empty text becomes a
// policy with the given ID. The error is [ErrLabelTaken], or tells that text is no policy.
func Add(text, id string, g Grant) (string, error) {
	d := document{Version: "2008-10-17", ID: id}
	if text != "" {
		var err error
		if d, err = parse(text); err != nil {
			return "", err
		}
	}
	if slices.ContainsFunc(d.Statement, labelled(g.Label)) {
		return "", ErrLabelTaken
	}
	principals := make([]string, len(g.Accounts))
	for i, account := range g.Accounts {
		principals[i] = "arn:aws:iam::" + account + ":root"
	}
	added, err := json.Marshal(statement{
		Sid:       g.Label,
		Effect:    "Allow",
		Principal: map[string]any{"AWS": oneOrMany(principals)},
		Action:    oneOrMany(g.Actions),
		Resource:  g.Resource,
	})
	if err != nil {
		return "", fmt.Errorf("policy: encode the statement %s: %w", g.Label, err)
	}
	d.Statement = append(d.Statement, added)
	return d.text()
}

// Remove returns the policy text without the statements that have the label, or "" when none is left.
// The error is [ErrLabelUnknown], or tells that text is no policy.
func Remove(text, label string) (string, error) {
	if text == "" {
		return "", ErrLabelUnknown
	}
	d, err := parse(text)
	if err != nil {
		return "", err
	}
	before := len(d.Statement)
	d.Statement = slices.DeleteFunc(d.Statement, labelled(label))
	switch len(d.Statement) {
	case before:
		return "", ErrLabelUnknown
	case 0:
		return "", nil
	}
	return d.text()
}

func parse(text string) (document, error) {
	var loose struct {
		document
		Statement json.RawMessage `json:"Statement"` // one statement may stand without its list
	}
	if err := json.Unmarshal([]byte(text), &loose); err != nil {
		return document{}, fmt.Errorf("policy: the present policy is not valid: %w", err)
	}
	d := loose.document
	if len(loose.Statement) > 0 && json.Unmarshal(loose.Statement, &d.Statement) != nil {
		d.Statement = []json.RawMessage{loose.Statement}
	}
	return d, nil
}

func (d document) text() (string, error) {
	text, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("policy: encode: %w", err)
	}
	return string(text), nil
}

func labelled(label string) func(json.RawMessage) bool {
	return func(raw json.RawMessage) bool {
		var s struct{ Sid string }
		return json.Unmarshal(raw, &s) == nil && s.Sid == label
	}
}

// oneOrMany is a plain string for one value, as AWS writes it.
func oneOrMany(values []string) any {
	if len(values) == 1 {
		return values[0]
	}
	return values
}
