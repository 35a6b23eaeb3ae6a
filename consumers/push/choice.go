package push

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"unicode/utf8"

	"github.com/device-fanout/fanout/events"
)

const (
	// maxDevices is how many devices a client can name. Who wants more takes all and leaves out what it does not want.
	maxDevices = 1000
	// maxMessageBytes is how long a message of a client can be: maxDevices device IDs of the greatest length, escaped.
	maxMessageBytes = 256 << 10
	// maxEventIDBytes is how long the ID of an event can be that a client goes on after, and its source.
	maxEventIDBytes = 256
	// maxReasonBytes is how long the reason in a close frame can be (RFC 6455, section 5.5: 125 bytes with the code).
	maxReasonBytes = 123
)

// choice is which events a client wants: those of the devices, and of them those of the types. None of either means all.
type choice struct {
	devices, types []string // each sorted, none twice
}

// wants tells whether an event of that type is chosen, of a device that is.
func (c choice) wants(eventType string) bool {
	return len(c.types) == 0 || slices.Contains(c.types, eventType)
}

// wantsAll tells whether an event is chosen by its device and type.
func (c choice) wantsAll(event events.Event) bool {
	return (len(c.devices) == 0 || slices.Contains(c.devices, event.DeviceID)) && c.wants(event.Type())
}

// parseChoice reads what a client sends to change its choice.
func parseChoice(message []byte) (choice, error) {
	var wanted struct {
		Devices *[]string `json:"devices"`
		Types   []string  `json:"types"`
	}
	decoder := json.NewDecoder(bytes.NewReader(message))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&wanted)
	if errors.Is(err, io.EOF) {
		err = errors.New("an empty message")
	}
	if err == nil && wanted.Devices == nil {
		err = errors.New("devices is missing")
	}
	if err == nil && !errors.Is(decoder.Decode(&struct{}{}), io.EOF) {
		err = errors.New("more than one JSON value")
	}
	if err != nil {
		return choice{}, fmt.Errorf(`want {"devices":["a","b"]}: %w`, err)
	}
	return newChoice(*wanted.Devices, wanted.Types)
}

// parseQuery reads the query of the URL: the first choice, and the event after which to go on, if any.
func parseQuery(rawQuery string) (c choice, after events.Identity, err error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return choice{}, after, fmt.Errorf("query: %w", err)
	}
	for name, values := range query {
		switch name {
		case "device", "type":
		case "after", "after_device", "after_source":
			if len(values) != 1 || values[0] == "" || len(values[0]) > maxEventIDBytes {
				return choice{}, after, fmt.Errorf("query: %s: want one %s, of at most %d bytes", name,
					map[string]string{"after": "ID of an event", "after_device": "device", "after_source": "source"}[name], maxEventIDBytes)
			}
		default:
			return choice{}, after, fmt.Errorf("query: unknown parameter %.40q, want device, type, after, after_device or after_source", name)
		}
	}
	after = events.Identity{Source: query.Get("after_source"), Subject: query.Get("after_device"), ID: query.Get("after")}
	if after.ID == "" && after != (events.Identity{}) {
		return choice{}, after, errors.New("query: after is missing, the ID of the event")
	}
	c, err = newChoice(query["device"], query["type"])
	return c, after, err
}

// newChoice makes a choice, or an error if one of the devices cannot be the ID of a device, or a type is not registered.
func newChoice(devices, types []string) (choice, error) {
	devices, err := checkDevices(devices)
	if err != nil {
		return choice{}, err
	}
	for _, name := range types {
		if _, ok := events.Lookup(name); !ok {
			return choice{}, fmt.Errorf("type %.60q is not known here", name)
		}
	}
	slices.Sort(types)
	return choice{devices, slices.Compact(types)}, nil
}

// checkDevices returns the devices, each once, or an error if one cannot be the ID of a device.
func checkDevices(devices []string) ([]string, error) {
	if len(devices) > maxDevices {
		return nil, fmt.Errorf("%d devices, want at most %d, or none for all", len(devices), maxDevices)
	}
	for _, device := range devices {
		if events.ValidateDeviceID(device) != nil { // its own text is too long for a close frame
			return nil, fmt.Errorf("device %.40q: want 1 to 128 ASCII letters, digits or punctuation", device)
		}
	}
	slices.Sort(devices)
	return slices.Compact(devices), nil
}

// shorten cuts text to what fits into a close frame, between characters.
func shorten(text string) string {
	if len(text) <= maxReasonBytes {
		return text
	}
	cut := maxReasonBytes - len("…")
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
