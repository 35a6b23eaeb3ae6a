package events_test

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/device-fanout/fanout/events"
)

// TestFieldError_Pointer finds the field in the text, whatever it is called.
func TestFieldError_Pointer(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long/", 20)
	for _, name := range []string{"plain", "a.b", "a/b", "a~b", "~1", "m~/n", "[0]", "a[1].b", `"`, `\`, "ü", "", " ", "…", "\u0001", long} {
		quoted, _ := json.Marshal(name)
		for _, text := range []string{
			`{"device_id":"d","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true},` + string(quoted) + `:1}`,
			`{"device_id":"d","type":"device.power.changed.v1","time":"2026-01-31T12:00:00Z","data":{"on":true,` + string(quoted) + `:1}}`,
		} {
			_, err := events.ParseLine([]byte(text))
			faults, ok := errors.AsType[*events.Error](err)
			if !ok || len(faults.Fields) != 1 {
				t.Fatalf("%q: got %v, want one bad field", name, err)
			}
			pointer := faults.Fields[0].Pointer()
			if name == long {
				if want := strings.ReplaceAll(long[:60], "/", "~1"); !strings.HasSuffix(pointer, "/"+want) {
					t.Errorf("got %s, want the beginning of the name", pointer)
				}
				continue
			}
			if got := at(t, text, pointer); got != 1.0 {
				t.Errorf("%q: %s leads to %v", name, pointer, got)
			}
		}
	}
	for path, want := range map[string]string{
		"": "", "subject": "/subject", "data.on": "/data/on", "data.rssi_dbm[2]": "/data/rssi_dbm/2", "data.a[0][1].b": "/data/a/0/1/b", `"`: "/",
	} {
		if got := (events.FieldError{Path: path}).Pointer(); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

// at follows a JSON Pointer as RFC 6901 says.
func at(t *testing.T, text, pointer string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	for _, token := range strings.Split(pointer, "/")[1:] {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		switch v := value.(type) {
		case map[string]any:
			value = v[token]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i >= len(v) {
				t.Fatalf("%s: no element %s", pointer, token)
			}
			value = v[i]
		}
	}
	return value
}
