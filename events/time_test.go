package events_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

// TestParseTime_TakesAllOfRFC3339 in an envelope, in an input line and by itself, and publishes it as Go writes it.
func TestParseTime_TakesAllOfRFC3339(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-01-31T12:00:00Z":               "2026-01-31T12:00:00Z",
		"2026-01-31t12:00:00z":               "2026-01-31T12:00:00Z",
		"2026-01-31t12:00:00.25+01:00":       "2026-01-31T11:00:00.25Z",
		`2026-01-31T12:00:00\u002B01:00`:     "2026-01-31T11:00:00Z",
		"2016-12-31T23:59:60Z":               "2016-12-31T23:59:59.999999999Z",
		"2016-12-31t23:59:60.5z":             "2016-12-31T23:59:59.999999999Z",
		"2016-12-31T15:59:60-08:00":          "2016-12-31T23:59:59.999999999Z",
		"2017-01-01T05:29:60.123456+05:30":   "2016-12-31T23:59:59.999999999Z",
		"9999-12-31T23:59:60Z":               "9999-12-31T23:59:59.999999999Z",
		"2016-06-30T23:59:60Z":               "2016-06-30T23:59:59.999999999Z",
		"2026-01-31T12:00:60Z":               "",
		"2016-12-30T23:59:60Z":               "",
		"2016-12-31T23:59:61Z":               "",
		"2016-12-31T22:59:60Z":               "",
		"2016-12-31T23:59:60":                "",
		"2016-12-31T24:00:00Z":               "",
		"2016-12-31 23:59:59Z":               "",
		"2016-12-31T23:59:59+25:00":          "",
		"60":                                 "",
		"2016-12-31T23:59:60\u0131Z":         "",
		"":                                   "",
		strings.Repeat("60", 20):             "",
		"2016-02-30T23:59:60Z":               "",
		"2016-12-31T23:59:60.9999999999999Z": "2016-12-31T23:59:59.999999999Z",
	} {
		line := `{"device_id":"d","id":"e","type":"device.power.changed.v1","time":"` + text + `","data":{"on":true}}`
		wire := `{"specversion":"1.0","source":"/g","subject":"d","id":"e","type":"device.power.changed.v1","time":"` + text + `","data":{"on":true}}`
		for form, read := range map[string]func() (events.Event, error){
			"line": func() (events.Event, error) { return events.ParseLine([]byte(line)) },
			"wire": func() (events.Event, error) { return events.Decode([]byte(wire)) },
			"any":  func() (events.Event, error) { return events.DecodeAny([]byte(wire)) },
		} {
			e, err := read()
			if faults, bad := errors.AsType[*events.Error](err); bad != (want == "") || bad && (len(faults.Fields) != 1 || faults.Fields[0].Path != "time") {
				t.Errorf("%s as %s: got %v", text, form, err)
				continue
			}
			if want == "" {
				continue
			}
			e.Source = "/g"
			if out, err := events.Encode(e); err != nil || !strings.Contains(string(out), `"time":"`+want+`"`) {
				t.Errorf("%s as %s: got %s, %v, want it published as %s", text, form, out, err, want)
			}
		}
		if strings.Contains(text, `\`) {
			continue
		}
		if got, err := events.ParseTime(text); (err == nil) != (want != "") || err == nil && got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s: got %v, %v, want %s", text, got, err, want)
		}
	}
}

func TestCheckTime_HasBoundsAroundNow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		at           time.Duration
		past, future time.Duration
		want         string
	}{
		{0, 0, 0, ""},
		{1000 * time.Hour, 0, 0, ""},
		{-1000 * time.Hour, 0, 0, ""},
		{time.Hour, 0, time.Hour, ""},
		{time.Hour + 1, 0, time.Hour, `time: got "2026-01-31T13:00:00.000000001Z", want a time at most 1h0m0s ahead`},
		{-time.Hour, time.Hour, 0, ""},
		{-time.Hour - 1, time.Hour, 0, `time: got "2026-01-31T10:59:59.999999999Z", want a time at most 1h0m0s ago`},
		{290 * 365 * 24 * time.Hour, 0, time.Hour, `time: got "2315-11-23T12:00:00Z", want a time at most 1h0m0s ahead`},
	} {
		e := events.Event{ID: "e", DeviceID: "d", Time: now.Add(tt.at), Data: device.PowerChanged{}}
		err := e.CheckTime(now, tt.past, tt.future)
		faults, bad := errors.AsType[*events.Error](err)
		if bad != (tt.want != "") || bad && (faults.Code != events.CodeInvalidEnvelope || faults.EventID != "e" || faults.Fields[0].String() != tt.want) {
			t.Errorf("%v: got %v, want %q", tt.at, err, tt.want)
		}
	}
	if err := (events.Event{}).CheckTime(now, time.Hour, time.Hour); err != nil {
		t.Errorf("an event without a time: %v", err)
	}
}

func TestDecode_TellsALeapSecondThatIsNone(t *testing.T) {
	t.Parallel()
	_, err := events.Decode([]byte(`{"specversion":"1.0","id":"e1","source":"/g","subject":"lamp","type":"device.power.changed.v1","sequence":"1",` +
		`"time":"2026-01-31T12:00:60Z","data":{"on":true}}`))
	if want := `time: got "2026-01-31T12:00:60Z", want a second of 60 only at the end of a month in UTC`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
