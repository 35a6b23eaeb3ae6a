package topic

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/dedup"
	"github.com/device-fanout/fanout/infra/local/internal/filter"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

// Message is one message to publish. A nil field was not given.
type Message struct {
	Text            string
	Subject         *string
	Structure       string // "" or "json"
	Attributes      []queue.Attribute
	TraceHeader     string
	GroupID         *string
	DeduplicationID *string
}

// Size is the number of bytes of text and attributes. Of a text with the structure json all counts, whoever gets it.
func (m Message) Size() int {
	size := len(m.Text)
	for _, a := range m.Attributes {
		size += len(a.Name) + len(a.Type) + len(a.Value)
	}
	return size
}

// BatchEntry is one message of a batch.
type BatchEntry struct {
	ID      string
	Message Message
}

// Result is what became of one message. A duplicate of a message of the last five minutes gets the ID and the sequence
// number of the original, and is delivered to nobody.
type Result struct {
	MessageID queue.ID
	Sequence  queue.Sequence // 0 on standard topics
}

// BatchResult is the result of one entry of a batch; Err is nil or an *apierr.Error.
type BatchResult struct {
	Result
	Err error
}

// rules are the settings of a topic that a message is checked against.
type rules struct {
	fifo, contentDedup bool
	maxBytes           int
}

func (s *Service) rules(arn string) (rules, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.lookup(arn)
	if err != nil {
		return rules{}, err
	}
	return rules{t.fifo, t.contentDedup, t.maxBytes}, nil
}

// Publish publishes one message. When it returns, the message is in every queue that subscribed to it.
func (s *Service) Publish(arn string, m Message) (Result, error) {
	r, err := s.rules(arn)
	if err != nil {
		return Result{}, err
	}
	if m.Text == "" {
		return Result{}, errEmptyMessage()
	}
	p, err := r.prepare(m)
	if err != nil {
		return Result{}, err
	}
	if p.message.Size() > r.maxBytes {
		return Result{}, errInvalid("Message too long")
	}
	results, err := s.publish(arn, []*publication{p})
	if err != nil {
		return Result{}, err
	}
	return results[0], nil
}

// PublishBatch publishes up to ten messages, in order. Entries can fail one by one; the error is for the batch as a
// whole.
func (s *Service) PublishBatch(arn string, entries []BatchEntry) ([]BatchResult, error) {
	r, err := s.rules(arn)
	if err != nil {
		return nil, err
	}
	results := make([]BatchResult, len(entries))
	publications := make([]*publication, 0, len(entries))
	size := 0
	for i := range entries {
		if entries[i].Message.Text == "" {
			results[i].Err = errEmptyMessage()
			continue
		}
		p, err := r.prepare(entries[i].Message)
		if err != nil {
			return nil, err
		}
		size += p.message.Size()
		publications = append(publications, p)
	}
	if size > r.maxBytes {
		return nil, apierr.New(CodeBatchTooLong, "The length of all the messages put together is more than the limit.")
	}
	published, err := s.publish(arn, publications)
	if err != nil {
		return nil, err
	}
	for i := range results {
		if results[i].Err == nil {
			results[i].Result, published = published[0], published[1:]
		}
	}
	return results, nil
}

// CheckBatch checks the number of entries of a batch and their IDs.
func CheckBatch(ids []string) error {
	switch {
	case len(ids) == 0:
		return apierr.New(CodeValidation, "1 validation error detected: Value null at "+
			"'publishBatchRequestEntries' failed to satisfy constraint: Member must not be null")
	case len(ids) > queue.MaxBatchEntries:
		return apierr.New(CodeBatchTooMany, "The batch request contains more entries than permissible.")
	}
	for i, id := range ids {
		if !queue.ValidEntryID(id) {
			return apierr.New(CodeInvalidBatchEntryID, "The Id of a batch entry in a batch request doesn't abide by the specification.")
		}
		if slices.Contains(ids[:i], id) {
			return apierr.New(CodeBatchEntryIDsNotUnique, "Two or more batch entries in the request have the same Id.")
		}
	}
	return nil
}

// publication is a checked message on its way.
type publication struct {
	message         Message
	content         *queue.Content // the message as it is delivered raw
	groupID         string
	deduplicationID string
	result          Result

	// the body, parsed when the first filter policy looks at it
	parsed, isObject bool
	body             filter.Message
}

func errEmptyMessage() error { return errInvalid("Empty message") }

// prepare checks all of a message but its length.
func (r rules) prepare(m Message) (*publication, error) {
	if err := r.checkIDs(m); err != nil {
		return nil, err
	}
	if err := checkSubject(m.Subject); err != nil {
		return nil, err
	}
	if !queue.ValidCharacters(m.Text) {
		return nil, errInvalid("Message Reason: it contains characters that no message can hold")
	}
	if err := checkAttributes(m.Attributes); err != nil {
		return nil, err
	}
	text := m.Text
	switch m.Structure {
	case "":
	case "json":
		var err error
		if text, err = chooseText(m.Text); err != nil {
			return nil, err
		}
	default:
		return nil, errInvalid("MessageStructure")
	}
	p := &publication{message: m, content: queue.NewContent(text, m.Attributes, m.TraceHeader)}
	if m.GroupID != nil {
		p.groupID = *m.GroupID
	}
	if r.fifo {
		if m.DeduplicationID != nil {
			p.deduplicationID = *m.DeduplicationID
		} else {
			p.deduplicationID = queue.ContentDeduplicationID(m.Text)
		}
	}
	return p, nil
}

func (r rules) checkIDs(m Message) error {
	for _, id := range []struct {
		name  string
		value *string
	}{{"MessageGroupId", m.GroupID}, {"MessageDeduplicationId", m.DeduplicationID}} {
		if id.value != nil && !queue.ValidID(*id.value) {
			return errInvalid("%s Reason: %s can only include alphanumeric and punctuation characters. 1 to 128 in length.",
				id.name, id.name)
		}
	}
	switch {
	case !r.fifo && m.DeduplicationID != nil:
		return errInvalid("MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is " +
			"not valid for this topic type")
	case r.fifo && m.GroupID == nil:
		return errInvalid("The MessageGroupId parameter is required for FIFO topics")
	case r.fifo && m.DeduplicationID == nil && !r.contentDedup:
		return errInvalid("The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId " +
			"provided explicitly")
	}
	return nil
}

func checkSubject(subject *string) error {
	if subject == nil {
		return nil
	}
	legal := *subject != "" && len([]rune(*subject)) <= 100
	for _, r := range *subject {
		legal = legal && r >= ' ' && r != 0x7f
	}
	if !legal {
		return errInvalid("Subject")
	}
	return nil
}

func checkAttributes(attributes []queue.Attribute) error {
	for _, a := range attributes {
		kind, _, _ := strings.Cut(a.Type, ".")
		switch {
		case a.Type == "":
			return apierr.New(CodeValidation, "1 validation error detected: Value null at 'messageAttributes.%s."+
				"member.dataType' failed to satisfy constraint: Member must not be null", a.Name)
		case kind != "String" && kind != "Number" && kind != "Binary":
			return apierr.New(CodeParameterValueInvalid, "The message attribute '%s' has an invalid message attribute "+
				"type, the set of supported type prefixes is Binary, Number, and String.", a.Name)
		case a.Value == "":
			return apierr.New(CodeParameterValueInvalid, "The message attribute '%s' must contain non-empty message "+
				"attribute value for message attribute type '%s'.", a.Name, a.Type)
		}
	}
	return nil
}

// chooseText picks the text for SQS out of a message with the structure json.
func chooseText(message string) (string, error) {
	var texts map[string]any
	if err := json.Unmarshal([]byte(message), &texts); err != nil || texts == nil {
		return "", errInvalid("Message Structure - JSON message body failed to parse")
	}
	fallback, ok := texts["default"].(string)
	if !ok {
		return "", errInvalid("Message Structure - No default entry in JSON message body")
	}
	if text, ok := texts["sqs"].(string); ok {
		return text, nil
	}
	return fallback, nil
}

// publish accepts publications in order, and delivers those that are new.
func (s *Service) publish(arn string, publications []*publication) ([]Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.lookup(arn)
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	steady := s.epoch.UnixNano() + int64(now.Sub(s.epoch)) // never goes back, and so no duplicate is taken for a new message
	results := make([]Result, len(publications))
	fresh := make([]*publication, 0, len(publications))
	for i, p := range publications {
		if t.accept(p, steady) {
			fresh = append(fresh, p)
		}
		results[i] = p.result
	}
	stamp := timestamp(now)
	for _, sub := range t.subscriptions {
		s.deliver(t, sub, fresh, stamp)
	}
	return results, nil
}

// accept gives p its ID and sequence number, and reports whether it is no duplicate.
func (t *topic) accept(p *publication, now int64) bool {
	var key dedup.Key
	if t.fifo {
		scope := ""
		if t.perGroup {
			scope = p.groupID
		}
		key = t.window.Key(scope, p.deduplicationID)
		if first, ok := t.window.Seen(key, now); ok {
			p.result = Result{MessageID: first.MessageID, Sequence: queue.Sequence(first.Sequence)}
			return false
		}
	}
	p.result.MessageID = queue.NewID()
	if t.fifo {
		t.lastSequence++
		p.result.Sequence = t.lastSequence
		t.window.Remember(key, dedup.Receipt{MessageID: p.result.MessageID, Sequence: uint64(t.lastSequence)}, now)
	}
	return true
}
