package push

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/device-fanout/fanout/events"
)

func FuzzParseChoice(f *testing.F) {
	for _, seed := range []string{
		`{"devices":["hall","attic","hall"]}`, `{"devices":[]}`, `{"devices":null}`, `{}`, ``, `[]`, `{"devices":["ü"]}`,
		`{"devices":["` + strings.Repeat("x", 200) + `"]}`, `{"devices":[]} x`, "\xff",
		`{"devices":["hall"],"types":["device.power.changed.v1"]}`, `{"devices":[],"types":["device.teleported.v1"]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		c, err := parseChoice(message)
		if err != nil {
			if reason := shorten(err.Error()); len(reason) > maxReasonBytes || reason == "" {
				t.Errorf("reason: got %d bytes, want 1 to %d", len(reason), maxReasonBytes)
			}
			return
		}
		checkChoice(t, c)
	})
}

func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{"", "device=hall&device=attic", "device=", "devices=a", "device=%zz", "device=a;b", "&&", "type=device.power.changed.v1&after=0190", "after=1&after_device=hall&after_source=/a", "after_device=hall"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		if c, after, err := parseQuery(query); err == nil {
			checkChoice(t, c)
			if max(len(after.ID), len(after.Subject), len(after.Source)) > maxEventIDBytes || after.ID == "" && after != (events.Identity{}) {
				t.Errorf("after: got %v, want an ID, and at most %d bytes of each", after, maxEventIDBytes)
			}
		}
	})
}

// checkChoice checks what every choice that was accepted is like.
func checkChoice(t *testing.T, c choice) {
	t.Helper()
	devices := c.devices
	for _, name := range c.types {
		if _, ok := events.Lookup(name); !ok {
			t.Errorf("type %q: accepted, want it refused", name)
		}
	}
	if len(devices) > maxDevices || !slices.IsSorted(devices) || len(slices.Compact(slices.Clone(devices))) != len(devices) {
		t.Errorf("devices: got %q, want at most %d, sorted, none twice", devices, maxDevices)
	}
	for _, device := range devices {
		if err := events.ValidateDeviceID(device); err != nil {
			t.Errorf("device %q: %v", device, err)
		}
	}
}

func TestShorten_CutsBetweenCharacters(t *testing.T) {
	t.Parallel()
	for n := range 4 {
		text := strings.Repeat("x", n) + strings.Repeat("ü", 100)
		got := shorten(text)
		if len(got) > maxReasonBytes || len(got) < maxReasonBytes-1 || !utf8.ValidString(got) || !strings.HasSuffix(got, "ü…") {
			t.Errorf("shorten: got %q of %d bytes, want at most %d, cut between characters", got, len(got), maxReasonBytes)
		}
	}
	if got, want := shorten("short"), "short"; got != want {
		t.Errorf("shorten: got %q, want %q", got, want)
	}
}
