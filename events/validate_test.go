package events_test

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func TestValidate_ListsEveryBadField(t *testing.T) {
	t.Parallel()
	event := events.Event{
		ID: "a b", Source: "küche", DeviceID: strings.Repeat("x", 129), Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), Sequence: "\n",
		Data: device.TelemetryReported{Counter: -1, Celsius: new(1e9), RSSIdBm: []float64{0, math.NaN(), math.Inf(1)}},
	}
	const id = "1 to 128 ASCII letters, digits or punctuation characters, without a space"
	want := []events.FieldError{
		{Path: "id", Value: `"a b"`, Want: id},
		{Path: "subject", Value: `"` + strings.Repeat("x", 60) + `"… (129 characters)`, Want: id},
		{Path: "time", Value: `"10000-01-01T00:00:00Z"`, Want: "a time in RFC 3339 from year 1 to 9999, such as 2006-01-02T15:04:05Z"},
		{Path: "sequence", Value: `"\n"`, Want: id},
		{Path: "source", Value: `"küche"`, Want: "a URI reference of 1 to 512 characters, such as /gateways/home-1"},
		{Path: "data.counter", Value: "-1", Want: "a whole number from 0 to 9007199254740991"},
		{Path: "data.celsius", Value: "1e+09", Want: "a number from -100 to 200"},
		{Path: "data.rssi_dbm[1]", Value: "NaN", Want: "a number from -200 to 50"},
		{Path: "data.rssi_dbm[2]", Value: "+Inf", Want: "a number from -200 to 50"},
	}
	failed := invalid(t, event)
	if failed.Code != events.CodeInvalidEnvelope || failed.Type != "device.telemetry.reported.v1" {
		t.Errorf("got %s %q, want %s and the type", failed.Code, failed.Type, events.CodeInvalidEnvelope)
	}
	if !reflect.DeepEqual(failed.Fields, want) {
		t.Errorf("got  %q\nwant %q", failed.Fields, want)
	}
}

func TestValidate_MissingIsSaidSo(t *testing.T) {
	t.Parallel()
	failed := invalid(t, events.Event{})
	var got []string
	for _, field := range failed.Fields {
		if !strings.Contains(field.String(), ": missing, want ") {
			t.Errorf("got %q, want it to say missing", field)
		}
		got = append(got, field.Path)
	}
	if want := []string{"id", "subject", "time", "source", "data"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestValidate_RefusesWhatIsNoRegisteredPayload(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		data events.Data
		code events.Code
		want string
	}{
		{nil, events.CodeInvalidData, "events: invalid data: data: missing, want the payload, a value of a type passed to events.Register"},
		{&device.PowerChanged{}, events.CodeInvalidData, "events: invalid data: data: got *device.PowerChanged, want a value of device.PowerChanged"},
		{(*device.PowerChanged)(nil), events.CodeInvalidData, "events: invalid data: data: got nil *device.PowerChanged, want a value of device.PowerChanged"},
		{unregistered{}, events.CodeUnknownType, "events: unknown type: data: got events_test.unregistered, want a type passed to events.Register"},
		{duplicate{}, events.CodeUnknownType, "events: unknown type: data: got events_test.duplicate, want a type passed to events.Register"},
	} {
		event := powerEvent()
		event.Data = test.data
		failed := invalid(t, event)
		if failed.Code != test.code || failed.Error() != test.want {
			t.Errorf("got %s %q, want %s %q", failed.Code, failed, test.code, test.want)
		}
		if _, err := events.Encode(event); err == nil || err.Error() != test.want {
			t.Errorf("Encode: got %v, want %s", err, test.want)
		}
	}
	event := powerEvent()
	event.Data = (*device.PowerChanged)(nil)
	if got, want := event.Type(), ""; got != want {
		t.Errorf("Type of a nil pointer: got %q, want %q", got, want)
	}
}

// Every number of every type must refuse what JSON cannot carry, with bounds or without.
func TestValidate_RefusesNumbersThatAreNone(t *testing.T) {
	t.Parallel()
	checked := 0
	for _, kind := range events.Types() {
		for i, field := range kind.Fields {
			for _, value := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				data := reflect.New(reflect.TypeOf(kind.Sample)).Elem()
				data.Set(reflect.ValueOf(kind.Sample))
				switch at := data.Field(i); {
				case at.CanFloat():
					at.SetFloat(value)
				case at.Type() == reflect.TypeFor[*float64]():
					at.Set(reflect.ValueOf(&value))
				case at.Type() == reflect.TypeFor[[]float64]():
					at.Set(reflect.ValueOf([]float64{value}))
				default:
					continue
				}
				event := powerEvent()
				event.Data = data.Interface().(events.Data)
				failed := invalid(t, event)
				if len(failed.Fields) != 1 || !strings.HasPrefix(failed.Fields[0].Path, "data."+field.Name) {
					t.Errorf("%s: %s is %v: got %v, want one error about it", kind.Name, field.Name, value, failed)
				}
				checked++
			}
		}
	}
	if want := 3 * 14; checked < want {
		t.Errorf("checked %d numbers, want at least %d", checked, want)
	}
}

func TestValidate_RefusesWhatJSONCannotCarry(t *testing.T) {
	t.Parallel()
	kind, _ := events.Lookup("test.everything.v1")
	data := kind.Sample.(everything)
	data.Nick, data.At, data.Name = "\xff\xfe", time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), "a\xffb"
	data.Points = []point{{X: 0}, {X: 0, T: "\xff"}}
	data.Until = new(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
	data.Matrix = [][]int32{{1}, {2, 30}}
	event := powerEvent()
	event.Data = data
	var got []string
	for _, field := range invalid(t, event).Fields {
		got = append(got, field.String())
	}
	want := []string{
		`data.name: got "a\xffb", want a string of 1 to 5 characters in UTF-8`,
		"data.at: got -0001-01-01T00:00:00Z, want a time in RFC 3339, such as 2006-01-02T15:04:05Z",
		`data.nick: got "\xff\xfe", want a string of at least 2 ASCII letters and digits in UTF-8`,
		"data.until: got 10000-01-01T00:00:00Z, want a time in RFC 3339, such as 2006-01-02T15:04:05Z",
		`data.points[1].t: got "\xff", want a string in UTF-8`,
		"data.matrix[1][1]: got 30, want a whole number from 0 to 9",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestValidate_Source(t *testing.T) {
	t.Parallel()
	for source, legal := range map[string]bool{
		"/gateways/home-1":                  true,
		"gateway":                           true,
		"urn:uuid:0190c0de":                 true,
		"https://gw.example:8443/a?b=c%20#": true,
		"//gateway":                         true,
		strings.Repeat("x", 512):            true,
		"":                                  false,
		"a b":                               false,
		"1:2":                               false,
		"%zz":                               false,
		"http://[::1":                       false,
		"a\"b":                              false,
		"küche":                             false,
		strings.Repeat("x", 513):            false,
	} {
		event := powerEvent()
		event.Source = source
		if err := event.Validate(); (err == nil) != legal {
			t.Errorf("source %q: got %v, want legal %v", source, err, legal)
		}
	}
}

func TestValidate_IsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	var group sync.WaitGroup
	for _, kind := range events.Types() {
		group.Go(func() {
			event := powerEvent()
			event.Data = kind.Sample
			for range 100 {
				if err := event.Validate(); err != nil {
					t.Errorf("%s: %v", kind.Name, err)
				}
			}
		})
	}
	group.Wait()
}

func TestNew_IsValidOnceItHasASource(t *testing.T) {
	t.Parallel()
	event := events.New("lamp-7", device.PowerChanged{On: true})
	event.Source = "/gateways/home-1"
	if err := event.Validate(); err != nil {
		t.Error(err)
	}
	if other := events.New("lamp-7", device.PowerChanged{}); other.ID == event.ID {
		t.Errorf("got ID %q twice, want a new one", other.ID)
	}
}

// invalid returns the error of an event that must be invalid.
func invalid(t *testing.T, event events.Event) *events.Error {
	t.Helper()
	err := event.Validate()
	var failed *events.Error
	if !errors.As(err, &failed) {
		t.Fatalf("%+v: got %v, want an *events.Error", event, err)
	}
	return failed
}
