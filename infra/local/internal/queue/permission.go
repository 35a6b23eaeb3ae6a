package queue

import (
	"errors"
	"slices"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/policy"
)

// maxPermissionActions is how many actions one permission may have.
const maxPermissionActions = 7

// grantable are the actions that a queue's owner can allow others.
var grantable = []string{
	"*", "ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "GetQueueUrl", "ListDeadLetterSourceQueues",
	"PurgeQueue", "ReceiveMessage", "SendMessage",
}

// AddPermission adds a statement to the queue's policy that allows accounts to do actions, such as "SendMessage".
// The policy has no effect in the engine.
func (q *Queue) AddPermission(label string, accounts, actions []string) error {
	switch {
	case label == "":
		return errMissing("Label")
	case !ValidEntryID(label):
		return errInvalidValue(label, "Label", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	case len(accounts) == 0:
		return errMissing("AWSAccountIds")
	case len(actions) == 0:
		return errMissing("Actions")
	case len(actions) > maxPermissionActions:
		return apierr.New(CodeOverLimit, "%d Actions were found, maximum allowed is %d.", len(actions), maxPermissionActions)
	}
	for _, account := range accounts {
		if !ValidAccount(account) {
			return errInvalidValue("["+account+"]", "PrincipalId", "Unable to verify.")
		}
	}
	grant := policy.Grant{Label: label, Accounts: accounts, Resource: q.arn}
	for _, action := range actions {
		if !slices.Contains(grantable, action) {
			return errInvalidValue("SQS:"+action, "ActionName", "Only the queue owner is allowed to invoke this action.")
		}
		grant.Actions = append(grant.Actions, "SQS:"+action)
	}
	return q.editPolicy(label, func(text string) (string, error) {
		return policy.Add(text, q.arn+"/SQSDefaultPolicy", grant)
	})
}

// RemovePermission removes the statements of that label from the queue's policy.
func (q *Queue) RemovePermission(label string) error {
	if label == "" {
		return errMissing("Label")
	}
	return q.editPolicy(label, func(text string) (string, error) { return policy.Remove(text, label) })
}

func (q *Queue) editPolicy(label string, edit func(string) (string, error)) error {
	now, err := q.begin()
	if err != nil {
		return err
	}
	defer q.service.unlock(now)
	q.service.wake(q)
	text, err := edit(q.config.policy)
	switch {
	case errors.Is(err, policy.ErrLabelTaken):
		return errInvalidValue(label, "Label", "Already exists.")
	case errors.Is(err, policy.ErrLabelUnknown):
		return errInvalidValue(label, "Label", "can't find label on existing policy.")
	case err != nil:
		return errAttributeValue(AttrPolicy)
	}
	q.config.policy, q.modified = text, now
	return nil
}

// ValidAccount reports whether id has the form of an account ID: twelve digits.
func ValidAccount(id string) bool {
	for i := range len(id) {
		if id[i] < '0' || id[i] > '9' {
			return false
		}
	}
	return len(id) == 12
}
