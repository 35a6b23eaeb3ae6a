package events_test

import (
	"strings"
	"testing"

	"github.com/device-fanout/fanout/events"
)

func TestIdentityKey(t *testing.T) {
	of := func(id string) string {
		return events.Identity{Source: "/gateways/home-1", Subject: "lamp-7", ID: id}.Key()
	}
	for _, id := range []string{
		"019b2d3c-7a10-7c42-8f00-0242ac120002", // version 7
		"f47ac10b-58cc-4372-a567-0e02b2c3d479", // version 4
	} {
		if got := of(id); got != id {
			t.Errorf("key of the random UUID %s: got %s, want the ID", id, got)
		}
	}
	for name, id := range map[string]string{
		"a number":                    "17",
		"version 1":                   "c232ab00-9414-11ec-b3c8-9f6bdeced846",
		"version 3":                   "5df41881-3aed-3515-88a7-2f4a814cf09e",
		"version 5":                   "2ed6657d-e927-568b-95e1-2665a8aea6a2",
		"version 8":                   "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0",
		"nil":                         "00000000-0000-0000-0000-000000000000",
		"upper case":                  "F47AC10B-58CC-4372-A567-0E02B2C3D479",
		"another variant":             "f47ac10b-58cc-4372-c567-0e02b2c3d479",
		"no hyphens":                  "f47ac10b58cc4372a5670e02b2c3d479",
		"hyphens elsewhere":           "f47ac10-b58cc-4372-a567-0e02b2c3d479",
		"letters that are no digits":  "f47ac10b-58cc-4372-a567-0e02b2c3d47g",
		"in braces":                   "{f47ac10b-58cc-4372-a567-0e02b2c3d479}",
		"what looks like a hash":      strings.Repeat("0", 64),
		"as long as an ID can be":     strings.Repeat("~", 128),
		"a UUID and something behind": "f47ac10b-58cc-4372-a567-0e02b2c3d479-1",
	} {
		if got := of(id); len(got) != 64 || strings.Trim(got, "0123456789abcdef") != "" || got == id {
			t.Errorf("key of %s: got %q, want 64 hexadecimal digits", name, got)
		}
	}
	// It is on the wire, so it stays: printf '16:/gateways/home-1,6:lamp-7,2:17,' | sha256sum
	if got, want := of("17"), "9701c837215977ca9a4af921cea2e38f793837276c1c939c1b60d473579075cd"; got != want {
		t.Errorf("key of 17: got %s, want %s", got, want)
	}
}

// Texts that would be alike if they were only put one behind another, with signs between or without.
func TestIdentityKeyTellsApart(t *testing.T) {
	parts := []string{"", "1", "11", ",", ",:1", "1,:", ":1,", "1,1:"}
	seen := map[string]events.Identity{}
	for _, source := range parts {
		for _, subject := range parts {
			for _, id := range parts {
				identity := events.Identity{Source: source, Subject: subject, ID: id}
				if other, ok := seen[identity.Key()]; ok {
					t.Errorf("%v and %v have one key", identity, other)
				}
				seen[identity.Key()] = identity
			}
		}
	}
}

func TestIdentityOfEvent(t *testing.T) {
	e := events.Event{ID: "17", Source: "/gateways/home-1", DeviceID: "lamp-7"}
	if got, want := e.Identity(), (events.Identity{Source: "/gateways/home-1", Subject: "lamp-7", ID: "17"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := e.Identity().String(), `"17" of "lamp-7" from "/gateways/home-1"`; got != want {
		t.Errorf("in words: got %s, want %s", got, want)
	}
}
