package topic

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
	"github.com/device-fanout/fanout/infra/local/internal/clock"
	"github.com/device-fanout/fanout/infra/local/internal/dedup"
	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

// Codes of the errors that this package returns, as the SNS API knows them.
const (
	CodeBatchEntryIDsNotUnique = "BatchEntryIdsNotDistinct"
	CodeBatchTooLong           = "BatchRequestTooLong"
	CodeBatchTooMany           = "TooManyEntriesInBatchRequest"
	CodeInvalidBatchEntryID    = "InvalidBatchEntryId"
	CodeInvalidParameter       = "InvalidParameter"
	CodeNotFound               = "NotFound"
	CodeParameterValueInvalid  = "ParameterValueInvalid"
	CodeResourceNotFound       = "ResourceNotFound"
	CodeTagLimitExceeded       = "TagLimitExceeded"
	CodeValidation             = "ValidationError"
)

// Queues is where messages are delivered to.
type Queues interface {
	// Deliver puts the parcels of a topic into the queue of that ARN, in order. It fails when there is no such queue, or
	// when it does not let the topic.
	Deliver(arn, topicARN string, parcels []queue.Parcel) error
}

// Service is the topics and subscriptions of one account in one region. It is safe for concurrent use.
type Service struct {
	region, account string
	clock           clock.Clock
	epoch           time.Time // when the service was made
	queues          Queues

	mu            sync.Mutex
	topics        map[string]*topic        // by ARN
	subscriptions map[string]*subscription // by ARN
	orphans       []*subscription          // those of deleted topics, first orphaned first
}

// topic is one topic. The service's mutex guards it.
type topic struct {
	arn, name     string
	fifo          bool
	attributes    map[string]string // as set
	maxBytes      int
	contentDedup  bool
	perGroup      bool // deduplication counts per group
	tags          map[string]string
	window        *dedup.Window // FIFO topics only
	lastSequence  queue.Sequence
	subscriptions []*subscription // in the order in which they were made
	unsubscribed  int
}

// NewService makes a service without topics.
func NewService(region, account string, c clock.Clock, queues Queues) *Service {
	return &Service{
		region:        region,
		account:       account,
		clock:         c,
		epoch:         c.Now(),
		queues:        queues,
		topics:        make(map[string]*topic),
		subscriptions: make(map[string]*subscription),
	}
}

func errInvalid(format string, args ...any) error {
	return apierr.New(CodeInvalidParameter, "Invalid parameter: "+format, args...)
}

// lookup finds a topic. The lock is held.
func (s *Service) lookup(arn string) (*topic, error) {
	if t := s.topics[arn]; t != nil {
		return t, nil
	}
	if err := s.checkARN(arn, "TopicArn"); err != nil {
		return nil, err
	}
	return nil, apierr.New(CodeNotFound, "Topic does not exist")
}

// checkARN checks the form of an ARN of this region.
func (s *Service) checkARN(arn, parameter string) error {
	parts := strings.Split(arn, ":")
	switch {
	case len(parts) < 6:
		return errInvalid("%s Reason: An ARN must have at least 6 elements, not %d", parameter, len(parts))
	case parts[0] != "arn" || parts[2] != "sns" || parts[3] != s.region:
		return errInvalid("%s", parameter)
	}
	return nil
}

// Create makes a topic, or returns the ARN of the one of that name when it does not differ.
func (s *Service) Create(name string, attributes, tags map[string]string) (string, error) {
	isFIFO := strings.EqualFold(attributes[attrFifoTopic], "true")
	if !validName(name, isFIFO) {
		return "", errInvalid("Topic Name")
	}
	if err := checkTags(tags); err != nil {
		return "", err
	}
	if len(tags) > maxTags {
		return "", errTooManyTags()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	arn := fmt.Sprintf("arn:aws:sns:%s:%s:%s", s.region, s.account, name)
	if t := s.topics[arn]; t != nil {
		return arn, t.sameAs(attributes, tags)
	}
	now := s.clock.Now()
	t := &topic{
		arn:          arn,
		name:         name,
		fifo:         isFIFO,
		attributes:   make(map[string]string),
		maxBytes:     defaultMaxBytes,
		tags:         make(map[string]string),
		lastSequence: queue.Sequence(now.UnixMicro()), // a topic that is made anew goes on counting
	}
	if isFIFO {
		t.window = dedup.New()
	}
	for name, value := range attributes {
		if err := t.set(name, value); err != nil {
			return "", err
		}
	}
	maps.Copy(t.tags, tags)
	s.dropOrphans(arn)
	s.topics[arn] = t
	return arn, nil
}

func validName(name string, isFIFO bool) bool {
	base, suffixed := strings.CutSuffix(name, ".fifo")
	return suffixed == isFIFO && len(name) <= 256 && queue.ValidName(base)
}

// orphanLifetime is how long the subscriptions of a deleted topic stay readable.
const orphanLifetime = 48 * time.Hour

// dropOrphans forgets the subscriptions whose topic was deleted long ago or had that ARN. The lock is held.
func (s *Service) dropOrphans(topicARN string) {
	now := s.clock.Now()
	s.orphans = slices.DeleteFunc(s.orphans, func(sub *subscription) bool {
		if sub.topicARN != topicARN && now.Sub(sub.orphaned) < orphanLifetime {
			return false
		}
		delete(s.subscriptions, sub.arn)
		return true
	})
}

// Delete removes a topic. Its subscriptions stay readable for a while, but receive nothing more. Deleting an unknown topic
// is fine.
func (s *Service) Delete(arn string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[arn]
	if t == nil {
		return s.checkARN(arn, "TopicArn")
	}
	now := s.clock.Now()
	for _, sub := range t.subscriptions {
		sub.orphaned = now
	}
	s.orphans = append(s.orphans, t.subscriptions...)
	delete(s.topics, arn)
	return nil
}

// Topics returns the ARNs of all topics, sorted.
func (s *Service) Topics() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.topics))
}

// Tag adds tags or replaces their values.
func (s *Service) Tag(arn string, tags map[string]string) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[arn]
	if t == nil {
		return apierr.New(CodeResourceNotFound, "Resource does not exist")
	}
	all := maps.Clone(t.tags)
	maps.Copy(all, tags)
	if len(all) > maxTags {
		return errTooManyTags()
	}
	t.tags = all
	return nil
}

// Untag removes tags. Unknown keys are fine.
func (s *Service) Untag(arn string, keys []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[arn]
	if t == nil {
		return apierr.New(CodeResourceNotFound, "Resource does not exist")
	}
	for _, key := range keys {
		delete(t.tags, key)
	}
	return nil
}

// Tag is a key and its value.
type Tag struct{ Key, Value string }

// Tags returns the tags of a topic, sorted by key.
func (s *Service) Tags(arn string) ([]Tag, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics[arn]
	if t == nil {
		return nil, apierr.New(CodeResourceNotFound, "Resource does not exist")
	}
	tags := make([]Tag, 0, len(t.tags))
	for _, key := range slices.Sorted(maps.Keys(t.tags)) {
		tags = append(tags, Tag{key, t.tags[key]})
	}
	return tags, nil
}

const maxTags = 50

func errTooManyTags() error {
	return apierr.New(CodeTagLimitExceeded, "Could not complete request: tag quota of per resource exceeded")
}

func checkTags(tags map[string]string) error {
	for key, value := range tags {
		if key == "" || len(key) > 128 || len(value) > 256 {
			return errInvalid("Tags Reason: keys have 1 to 128 characters and values 0 to 256")
		}
	}
	return nil
}

const timeFormat = "2006-01-02T15:04:05.000Z"

func timestamp(t time.Time) string { return t.UTC().Format(timeFormat) }
