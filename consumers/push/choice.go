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
	// maxReasonBytes is how long the reason in a close frame can be (RFC 6455, section 5.5: 125 bytes with the code).
	maxReasonBytes = 123
)

// parseChoice reads what a client sends to change its choice of devices. None means all.
func parseChoice(message []byte) ([]string, error) {
	var choice struct {
		Devices *[]string `json:"devices"`
	}
	decoder := json.NewDecoder(bytes.NewReader(message))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&choice)
	if errors.Is(err, io.EOF) {
		err = errors.New("an empty message")
	}
	if err == nil && choice.Devices == nil {
		err = errors.New("devices is missing")
	}
	if err == nil && !errors.Is(decoder.Decode(&struct{}{}), io.EOF) {
		err = errors.New("more than one JSON value")
	}
	if err != nil {
		return nil, fmt.Errorf(`want {"devices":["a","b"]}: %w`, err)
	}
	return checkDevices(*choice.Devices)
}

// parseQuery reads the choice of devices in the query of the URL. None means all.
func parseQuery(rawQuery string) ([]string, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	for name := range query {
		if name != "device" {
			return nil, fmt.Errorf("query: unknown parameter %.40q, want device", name)
		}
	}
	return checkDevices(query["device"])
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
