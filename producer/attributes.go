package producer

import (
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
)

var dataTypeString = aws.String("String")

// attributeCache has the message attributes of the types and sources that were sent, since nearly all messages share theirs with
// many others. It is safe for concurrent use; what it returns must not be changed.
type attributeCache struct {
	mu   sync.Mutex
	sets map[attributeKey]map[string]types.MessageAttributeValue
}

type attributeKey struct{ eventType, source string }

// maxAttributeSets bounds the cache: with a source for every event it begins anew now and then.
const maxAttributeSets = 1000

func (c *attributeCache) of(event *pending) map[string]types.MessageAttributeValue {
	key := attributeKey{event.eventType, event.event.Source}
	if event.trace.Parent != "" || event.trace.State != "" {
		set := key.attributes()
		addAttribute(set, attributeTrace, event.trace.Parent)
		addAttribute(set, attributeTraceState, event.trace.State)
		return set
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if set, ok := c.sets[key]; ok {
		return set
	}
	if c.sets == nil || len(c.sets) >= maxAttributeSets {
		c.sets = map[attributeKey]map[string]types.MessageAttributeValue{}
	}
	set := key.attributes()
	c.sets[key] = set
	return set
}

func (key attributeKey) attributes() map[string]types.MessageAttributeValue {
	set := make(map[string]types.MessageAttributeValue, 4)
	addAttribute(set, attributeType, key.eventType)
	addAttribute(set, attributeSource, key.source)
	return set
}

func addAttribute(set map[string]types.MessageAttributeValue, name, value string) {
	if value != "" {
		set[name] = types.MessageAttributeValue{DataType: dataTypeString, StringValue: &value}
	}
}
