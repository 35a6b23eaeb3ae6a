package events_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/device-fanout/fanout/events"
)

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
