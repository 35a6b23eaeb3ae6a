package events_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

// TestDeviceID_Reserved: neither is such an event published, nor one handled that others have published.
func TestDeviceID_Reserved(t *testing.T) {
	t.Parallel()
	e := events.New("lamp-7", device.PowerChanged{On: true})
	e.Source = "test"
	text, err := events.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	_, decoded := events.Decode([]byte(strings.Replace(string(text), "lamp-7", "~release~lamp-7", 1)))
	e.DeviceID = "~release~lamp-7"
	for what, err := range map[string]error{"Validate": e.Validate(), "Decode": decoded} {
		var failed *events.Error
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), `subject: got "~release~lamp-7", want a device ID that does not begin with ~release~, which is reserved`) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestValidateDeviceID(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		id    string
		legal bool
	}{
		"one character":           {"a", true},
		"letters and digits":      {"0018B20000020CBC", true},
		"all punctuation":         {"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", true},
		"128 characters":          {strings.Repeat("x", 128), true},
		"a tilde in front":        {"~release", true},
		"reserved":                {"~release~lamp-7", false},
		"nothing but reserved":    {"~release~", false},
		"empty":                   {"", false},
		"129 characters":          {strings.Repeat("x", 129), false},
		"space":                   {"hall lamp", false},
		"tab":                     {"hall\tlamp", false},
		"delete":                  {"hall\x7f", false},
		"zero byte":               {"\x00", false},
		"letter beyond ASCII":     {"küche", false},
		"no UTF-8":                {"\xff", false},
		"128 characters, 2 bytes": {strings.Repeat("ü", 64), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := events.ValidateDeviceID(test.id)
			if got, want := err == nil, test.legal; got != want {
				t.Fatalf("ValidateDeviceID(%q): got %v, want legal %v", test.id, err, want)
			}
			var failed *events.Error
			if err != nil && (!errors.As(err, &failed) || failed.Code != events.CodeInvalidEnvelope) {
				t.Errorf("got %#v, want an *events.Error with code %s", err, events.CodeInvalidEnvelope)
			}
		})
	}
}

func TestValidateSource(t *testing.T) {
	t.Parallel()
	for source, legal := range map[string]bool{
		"/gateways/home-1": true, "urn:gateway:7": true, "gateway/hall": true, strings.Repeat("x", 512): true,
		"": false, strings.Repeat("x", 513): false, "two words": false, "%zz": false,
	} {
		err := events.ValidateSource(source)
		var failed *events.Error
		if (err == nil) != legal || err != nil && (!errors.As(err, &failed) || failed.Code != events.CodeInvalidEnvelope) {
			t.Errorf("ValidateSource(%q): got %v, want legal %v", source, err, legal)
		}
	}
}
