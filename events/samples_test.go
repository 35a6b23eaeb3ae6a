package events_test

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/device-fanout/fanout/events"
)

var update = flag.Bool("update", false, "write the samples that are missing in device/testdata/samples")

// Old samples never change: they prove that events sent long ago can still be read. So -update writes missing ones only.
func TestSamples_EveryTypeHasOne(t *testing.T) {
	t.Parallel()
	var want []string
	for _, kind := range catalogue() {
		file := kind.Name + ".json"
		want = append(want, file)
		path := filepath.Join("device", "testdata", "samples", file)
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) || !*update {
			continue
		}
		event := powerEvent()
		event.DeviceID, event.Data = "device-7", kind.Sample
		text, err := events.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, path := range samples(t) {
		got = append(got, filepath.Base(path))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q: run go test ./events -run Samples -update, and never delete one", got, want)
	}
}

func TestSamples_DecodeAndEncodeToTheSameBytes(t *testing.T) {
	t.Parallel()
	for _, path := range samples(t) {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		event, err := events.Decode(want)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		got, err := events.Encode(event)
		if err != nil {
			t.Fatal(err)
		}
		if string(got)+"\n" != string(want) {
			t.Errorf("%s:\n got %s\nwant %s", path, got, want)
		}
	}
}

func TestSamples_OfficialCloudEventsSDKReadsThem(t *testing.T) {
	t.Parallel()
	for _, path := range samples(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got cloudevents.Event
		if err := got.UnmarshalJSON(text); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		want, err := events.Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		for attribute, pair := range map[string][2]any{
			"specversion":     {got.SpecVersion(), "1.0"},
			"id":              {got.ID(), want.ID},
			"source":          {got.Source(), want.Source},
			"type":            {got.Type(), name},
			"subject":         {got.Subject(), want.DeviceID},
			"time":            {got.Time().Format(time.RFC3339Nano), want.Time.Format(time.RFC3339Nano)},
			"datacontenttype": {got.DataContentType(), "application/json"},
			"dataschema":      {got.DataSchema(), "https://device-fanout.github.io/fanout/schemas/" + name + ".json"},
			"sequence":        {got.Extensions()["sequence"], want.Sequence},
		} {
			if pair[0] != pair[1] {
				t.Errorf("%s: %s: got %q, want %q", path, attribute, pair[0], pair[1])
			}
		}
		data, err := events.DecodeData(name, got.Data())
		if err != nil {
			t.Errorf("%s: data %s: %v", path, got.Data(), err)
		}
		if data.EventType() != name {
			t.Errorf("%s: got data of type %q, want %q", path, data.EventType(), name)
		}
	}
}

func samples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("device", "testdata", "samples", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}
