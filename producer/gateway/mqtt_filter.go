package gateway

import (
	"errors"
	"slices"
	"strings"
)

// topicFilter is an MQTT topic filter, by levels, with one + which stands for the device.
type topicFilter []string

func parseTopicFilter(text string) (topicFilter, error) {
	f := topicFilter(strings.Split(text, "/"))
	wildcards := 0
	for _, level := range f {
		if level == "+" {
			wildcards++
		} else if strings.ContainsAny(level, "+#\x00") {
			wildcards = 2
		}
	}
	switch {
	case f[0] == "$share":
		return nil, errors.New("no shared subscription: it would divide the messages of one device, and they would lose their order")
	case wildcards != 1:
		return nil, errors.New("a topic with one + for the device, such as " + DefaultTopic)
	}
	return f, nil
}

// device is what stands in topic where the filter has its +; false if the filter does not match the topic.
func (f topicFilter) device(topic string) (string, bool) {
	levels := strings.Split(topic, "/")
	at := slices.Index(f, "+")
	if len(levels) != len(f) {
		return "", false
	}
	for i, level := range levels {
		if i != at && level != f[i] {
			return "", false
		}
	}
	return levels[at], true
}

// topicOf is the topic of a device.
func (f topicFilter) topicOf(device string) string {
	levels := slices.Clone(f)
	levels[slices.Index(levels, "+")] = device
	return strings.Join(levels, "/")
}

// overlaps tells whether a topic can match both filters.
func (f topicFilter) overlaps(other topicFilter) bool {
	if len(f) != len(other) {
		return false
	}
	for i := range f {
		if f[i] != other[i] && f[i] != "+" && other[i] != "+" {
			return false
		}
	}
	return true
}
