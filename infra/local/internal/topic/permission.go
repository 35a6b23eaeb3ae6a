package topic

import (
	"cmp"
	"errors"
	"slices"

	"github.com/device-fanout/fanout/infra/local/internal/policy"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

// grantable are the actions on a topic that its owner can allow others.
var grantable = []string{
	"AddPermission", "DeleteTopic", "GetTopicAttributes", "ListSubscriptionsByTopic", "ListTagsForResource", "Publish",
	"RemovePermission", "SetTopicAttributes", "Subscribe",
}

// AddPermission adds a statement to the topic's policy that allows accounts to do actions, such as "Publish".
// The policy has no effect in the engine.
func (s *Service) AddPermission(arn, label string, accounts, actions []string) error {
	switch {
	case label == "":
		return errInvalid("Label")
	case len(accounts) == 0:
		return errInvalid("AWSAccountId")
	case len(actions) == 0:
		return errInvalid("ActionName")
	}
	for _, account := range accounts {
		if !queue.ValidAccount(account) {
			return errInvalid("AWSAccountId Reason: %s is not twelve digits", account)
		}
	}
	grant := policy.Grant{Label: label, Accounts: accounts, Resource: arn}
	for _, action := range actions {
		if !slices.Contains(grantable, action) {
			return errInvalid("Policy statement action out of service scope!")
		}
		grant.Actions = append(grant.Actions, "SNS:"+action)
	}
	return s.editPolicy(arn, func(text string) (string, error) { return policy.Add(text, "", grant) })
}

// RemovePermission removes the statements of that label from the topic's policy. An unknown label is fine.
func (s *Service) RemovePermission(arn, label string) error {
	if label == "" {
		return errInvalid("Label")
	}
	err := s.editPolicy(arn, func(text string) (string, error) { return policy.Remove(text, label) })
	if errors.Is(err, policy.ErrLabelUnknown) {
		return nil
	}
	return err
}

func (s *Service) editPolicy(arn string, edit func(string) (string, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.lookup(arn)
	if err != nil {
		return err
	}
	text, err := edit(cmp.Or(t.attributes[attrPolicy], defaultPolicy(arn, s.account)))
	switch {
	case errors.Is(err, policy.ErrLabelTaken):
		return errInvalid("Statement already exists")
	case errors.Is(err, policy.ErrLabelUnknown):
		return err
	case err != nil:
		return errInvalid("Policy")
	case text == "": // then the default policy counts again
		delete(t.attributes, attrPolicy)
		return nil
	}
	t.attributes[attrPolicy] = text
	return nil
}
