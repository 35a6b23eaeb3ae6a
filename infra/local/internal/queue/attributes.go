package queue

import (
	"maps"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/device-fanout/fanout/infra/local/internal/apierr"
)

// readOnly are the attributes that can only be read.
var readOnly = []struct {
	name string
	get  func(*Queue) string
}{
	{"ApproximateNumberOfMessages", func(q *Queue) string { return strconv.Itoa(q.total - q.inFlight - q.delayed) }},
	{"ApproximateNumberOfMessagesDelayed", func(q *Queue) string { return strconv.Itoa(q.delayed) }},
	{"ApproximateNumberOfMessagesNotVisible", func(q *Queue) string { return strconv.Itoa(q.inFlight) }},
	{"CreatedTimestamp", func(q *Queue) string { return seconds(q.created) }},
	{"LastModifiedTimestamp", func(q *Queue) string { return seconds(q.modified) }},
	{"QueueArn", func(q *Queue) string { return q.arn }},
}

func seconds(nanoseconds int64) string { return strconv.FormatInt(nanoseconds/int64(time.Second), 10) }

// Attributes returns the attributes of the given names; the name All means all that are set. Counters are exact.
func (q *Queue) Attributes(names []string) (map[string]string, error) {
	now, err := q.begin()
	if err != nil {
		return nil, err
	}
	defer q.service.unlock(now)
	q.service.wake(q)
	all := q.attributes()
	found := make(map[string]string, len(names))
	for _, name := range names {
		value, ok := all[name]
		switch {
		case name == "All":
			maps.Copy(found, all)
		case ok:
			found[name] = value
		case name != AttrFifoQueue && lookupSetting(name) == nil:
			return nil, errUnknownAttribute(name)
		}
	}
	return found, nil
}

func (q *Queue) attributes() map[string]string {
	all := make(map[string]string, 24)
	for _, a := range readOnly {
		all[a.name] = a.get(q)
	}
	for i := range settings {
		if s := &settings[i]; !s.fifoOnly || q.fifo {
			if v := s.get(&q.config); v != "" {
				all[s.name] = v
			}
		}
	}
	if q.fifo {
		all[AttrFifoQueue] = "true"
	}
	return all
}

// sameAs returns nil when the given attributes equal the current ones, as a repeated creation requires.
func (q *Queue) sameAs(given map[string]string) error {
	differs := func(name string) error {
		return apierr.New(CodeQueueExists,
			"A queue already exists with the same name and a different value for attribute %s", name)
	}
	c := q.config
	if err := c.apply(given, q.fifo); err != nil {
		return err
	}
	for i := range settings {
		s := &settings[i]
		if _, ok := given[s.name]; ok && s.get(&c) != s.get(&q.config) {
			return differs(s.name)
		}
	}
	return nil
}

// SetAttributes changes attributes. Either all of them are changed or none.
func (q *Queue) SetAttributes(given map[string]string) error {
	now, err := q.begin()
	if err != nil {
		return err
	}
	defer q.service.unlock(now)
	if value, ok := given[AttrFifoQueue]; ok {
		switch {
		case !q.fifo:
			return errUnknownAttribute(AttrFifoQueue)
		case !strings.EqualFold(value, "true"):
			return apierr.New(CodeInvalidAttributeValue,
				"Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.")
		}
	}
	c := q.config
	if err := c.apply(given, q.fifo); err != nil {
		return err
	}
	if _, ok := given[AttrRedrivePolicy]; ok {
		if err := q.service.checkRedrive(q.arn, q.fifo, c.redrive); err != nil {
			return err
		}
	}
	delayChanged := c.delay != q.config.delay
	q.config, q.modified = c, now
	if delayChanged && q.fifo {
		q.redelay()
	}
	q.advance(now)
	q.service.wake(q)
	return nil
}

// redelay gives the queue's new delay to the messages that are delayed already, as FIFO queues do.
func (q *Queue) redelay() {
	waiting := q.hidden
	q.hidden = make(schedule, 0, len(waiting))
	for _, m := range waiting {
		if m.state == delayed {
			m.visibleAt = m.sent + int64(q.config.delay)*int64(time.Second)
		}
		q.hidden.add(m)
	}
}

const maxTags = 50

func checkTags(tags map[string]string) error {
	for key, value := range tags {
		switch {
		case key == "" || utf8.RuneCountInString(key) > 128:
			return apierr.New(CodeInvalidParameter, "Tag keys must be between 1 and 128 characters in length.")
		case utf8.RuneCountInString(value) > 256:
			return apierr.New(CodeInvalidParameter, "Tag values must be between 0 and 256 characters in length.")
		}
	}
	return nil
}

func errTooManyTags(queueName string) error {
	return apierr.New(CodeInvalidParameter, "Too many tags added for queue %s. Maximum number of tags allowed is %d.", queueName, maxTags)
}

// Tag adds tags or replaces their values.
func (q *Queue) Tag(tags map[string]string) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	now, err := q.begin()
	if err != nil {
		return err
	}
	defer q.service.unlock(now)
	all := maps.Clone(q.tags)
	maps.Copy(all, tags)
	if len(all) > maxTags {
		return errTooManyTags(q.name)
	}
	q.tags = all
	return nil
}

// Untag removes tags. Unknown keys are fine.
func (q *Queue) Untag(keys []string) error {
	now, err := q.begin()
	if err != nil {
		return err
	}
	defer q.service.unlock(now)
	for _, key := range keys {
		delete(q.tags, key)
	}
	return nil
}

// Tags returns the tags.
func (q *Queue) Tags() (map[string]string, error) {
	now, err := q.begin()
	if err != nil {
		return nil, err
	}
	defer q.service.unlock(now)
	return maps.Clone(q.tags), nil
}
