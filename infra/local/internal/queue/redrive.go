package queue

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// redrivePolicy says when a message moves to which dead-letter queue. The zero value never moves.
type redrivePolicy struct {
	targetARN       string
	maxReceiveCount int
}

// String is the policy as the API returns it, or "" for none.
func (p redrivePolicy) String() string {
	if p.targetARN == "" {
		return ""
	}
	target, _ := json.Marshal(p.targetARN) // a string always marshals
	return `{"deadLetterTargetArn":` + string(target) + `,"maxReceiveCount":` + strconv.Itoa(p.maxReceiveCount) + `}`
}

// parseRedrivePolicy checks what can be checked without knowing the queues.
func parseRedrivePolicy(text string) (redrivePolicy, error) {
	if text == "" {
		return redrivePolicy{}, nil
	}
	refuse := func(reason string, args ...any) (redrivePolicy, error) {
		return redrivePolicy{}, errInvalidValue(text, AttrRedrivePolicy, reason, args...)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &fields); err != nil || fields == nil {
		return refuse("Redrive policy is not a valid JSON map.")
	}
	for name := range fields {
		if name != "deadLetterTargetArn" && name != "maxReceiveCount" {
			return refuse("Only following attributes are allowed: [deadLetterTargetArn, maxReceiveCount].")
		}
	}
	var p redrivePolicy
	if json.Unmarshal(fields["deadLetterTargetArn"], &p.targetARN) != nil || p.targetARN == "" {
		return refuse("Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
	}
	count, ok := fields["maxReceiveCount"]
	if !ok {
		return refuse("Redrive policy does not contain mandatory attribute: maxReceiveCount.")
	}
	digits := strings.Trim(string(count), `"`)
	var err error
	if p.maxReceiveCount, err = strconv.Atoi(digits); err != nil || p.maxReceiveCount < 1 || p.maxReceiveCount > 1000 {
		return refuse("Invalid value for maxReceiveCount: %s, valid values are from 1 to 1000 both inclusive.", digits)
	}
	return p, nil
}

// redriveAllowPolicy says which queues may name this one as their dead-letter queue. The zero value allows all.
type redriveAllowPolicy struct {
	text       string // as it was set
	permission string // "", allowAll, denyAll or byQueue
	sources    []string
}

func (p redriveAllowPolicy) allows(sourceARN string) bool {
	switch p.permission {
	case "denyAll":
		return false
	case "byQueue":
		return slices.Contains(p.sources, sourceARN)
	default:
		return true
	}
}

func parseRedriveAllowPolicy(text string) (redriveAllowPolicy, error) {
	if text == "" {
		return redriveAllowPolicy{}, nil
	}
	refuse := func(reason string) (redriveAllowPolicy, error) {
		return redriveAllowPolicy{}, errInvalidValue(text, AttrRedriveAllowPolicy, reason)
	}
	var fields struct {
		Permission string   `json:"redrivePermission"`
		Sources    []string `json:"sourceQueueArns"`
	}
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return refuse("Redrive allow policy is not a valid JSON map.")
	}
	switch fields.Permission {
	case "allowAll", "denyAll":
		if len(fields.Sources) > 0 {
			return refuse("sourceQueueArns can only be given with the permission byQueue.")
		}
	case "byQueue":
		if len(fields.Sources) == 0 || len(fields.Sources) > 10 {
			return refuse("The permission byQueue needs 1 to 10 sourceQueueArns.")
		}
	default:
		return refuse("redrivePermission must be one of allowAll, denyAll and byQueue.")
	}
	return redriveAllowPolicy{text: text, permission: fields.Permission, sources: fields.Sources}, nil
}

// checkRedrive checks that q may use the policy p, given the queues that exist.
func (s *Service) checkRedrive(arn string, isFIFO bool, p redrivePolicy) error {
	if p.targetARN == "" {
		return nil
	}
	target := s.byARN(p.targetARN)
	if p.targetARN == arn {
		return nil // a queue may name itself, even while it is being created
	}
	switch {
	case target == nil:
		return errInvalidValue(p, AttrRedrivePolicy, "Dead letter target does not exist.")
	case target.fifo != isFIFO:
		return errInvalidValue(p, AttrRedrivePolicy, "Dead-letter queue must be same type of queue as the source.")
	case !target.config.redriveAllow.allows(arn):
		return errInvalidValue(p, AttrRedrivePolicy, "Dead letter target does not allow this source queue in its redrive allow policy.")
	}
	return nil
}

// exhausted returns the dead-letter queue that m must move to instead of being received once more, or nil.
// While the dead-letter queue does not exist the source goes on delivering.
func (q *Queue) exhausted(m *message) *Queue {
	p := q.config.redrive
	if p.targetARN == "" || int(m.receives) < p.maxReceiveCount {
		return nil
	}
	return q.service.byARN(p.targetARN)
}

// moveToDeadLetter moves m, which must be visible, from q to target. Nothing can refuse it: neither a missing group
// nor deduplication.
func (q *Queue) moveToDeadLetter(m *message, target *Queue, now int64) {
	groupID := ""
	if m.group != nil {
		groupID = m.group.id
	}
	q.drop(m)
	dead := &message{
		Content:         m.Content,
		id:              m.id,
		deduplicationID: m.deduplicationID,
		sent:            m.sent,
		firstReceived:   m.firstReceived,
		receives:        m.receives, // goes on counting
		deadLetterOf:    &q.arn,
	}
	if target.fifo {
		// Two messages that shared an ID, minutes apart, must both find room: the message ID is unique.
		dead.deduplicationID = m.id.String()
		dead.sent = now // only standard queues keep the retention clock running
	}
	target.insert(dead, groupID, visible, 0, now)
	q.service.wake(target)
}
