package events_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

func TestTypes_HoldsTheCatalogueSorted(t *testing.T) {
	t.Parallel()
	var got []string
	for _, kind := range events.Types() {
		if strings.HasPrefix(kind.Name, "device.") {
			got = append(got, kind.Name)
		}
	}
	want := []string{
		"device.connectivity.changed.v1", "device.contact.changed.v1", "device.humidity.measured.v1",
		"device.illuminance.measured.v1", "device.motion.changed.v1", "device.power.changed.v1", "device.reading.measured.v1",
		"device.setpoint.changed.v1", "device.telemetry.reported.v1", "device.temperature.measured.v1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCatalogue_IsDescribedAndBounded(t *testing.T) {
	t.Parallel()
	for _, kind := range catalogue() {
		for _, field := range kind.Fields {
			if field.Doc == "" {
				t.Errorf("%s: field %s: got no doc tag, want one", kind.Name, field.Name)
			}
			checkBounded(t, kind.Name+": "+field.Name, field)
		}
	}
}

func checkBounded(t *testing.T, name string, field events.Field) {
	t.Helper()
	want := map[events.Kind][]string{
		events.KindNumber: {"gte", "lte"}, events.KindInteger: {"gte", "lte"}, events.KindString: {"max"}, events.KindList: {"max"},
	}
	for _, rule := range want[field.Kind] {
		if !slices.ContainsFunc(field.Rules, func(r events.Rule) bool { return r.Name == rule }) {
			t.Errorf("%s: got no rule %s, want one", name, rule)
		}
	}
	if field.Element != nil {
		checkBounded(t, name+"[]", *field.Element)
	}
}

func TestLookup(t *testing.T) {
	t.Parallel()
	kind, ok := events.Lookup("device.power.changed.v1")
	if !ok {
		t.Fatal("device.power.changed.v1: got none, want a type")
	}
	if got, want := kind.SchemaURI, "https://device-fanout.github.io/fanout/schemas/device.power.changed.v1.json"; got != want {
		t.Errorf("SchemaURI: got %q, want %q", got, want)
	}
	level := kind.Fields[1]
	if got, want := fmt.Sprint(level.Name, level.Required, level.Want), "level_percentfalsea number from 0 to 100"; got != want {
		t.Errorf("second field: got %q, want %q", got, want)
	}
	if _, ok := events.Lookup("device.power.changed.v9"); ok {
		t.Error("device.power.changed.v9: got a type, want none")
	}
}

// Payloads that cannot be registered, each for the reason that its name tells.
type (
	duplicate    struct{}
	badName      struct{}
	noVersion    struct{}
	changingName struct {
		A string `json:"a"`
	}
	badURI     struct{}
	unexported struct{ _ int }
	embedded   struct{ device.MotionChanged }
	noTag      struct{ A int }
	camelCase  struct {
		A int `json:"myField"`
	}
	stringOption struct {
		A int `json:"a,string"`
	}
	plainOptional struct {
		A int `json:"a,omitempty"`
	}
	requiredPtr struct {
		A *int `json:"a"`
	}
	noOmitempty struct {
		A *int `json:"a,omitempty" validate:"gte=1"`
	}
	omitRequired struct {
		A int `json:"a" validate:"omitempty,gte=1"`
	}
	unknownRule struct {
		A string `json:"a" validate:"email"`
	}
	aMap struct {
		A map[string]int `json:"a"`
	}
	anInterface struct {
		A any `json:"a"`
	}
	someBytes struct {
		A []byte `json:"a"`
	}
	anArray struct {
		A [3]int `json:"a"`
	}
	aFloat32 struct {
		A float32 `json:"a"`
	}
	ownJSON struct {
		A json.RawMessage `json:"a"`
	}
	ownText struct {
		A reflectText `json:"a"`
	}
	noDive struct {
		A []struct {
			B int `json:"b"`
		} `json:"a"`
	}
	listPointer struct {
		A *[]int `json:"a,omitempty"`
	}
	ptrElements struct {
		A []*int `json:"a"`
	}
	uniqueTimes struct {
		A []struct{} `json:"a" validate:"unique,dive"`
	}
	itself struct {
		A []itself `json:"a,omitempty" validate:"omitempty,dive"`
	}
	badSample struct {
		A int `json:"a" validate:"gte=1"`
	}
	tooDeep struct {
		A [][][][][][][][]int `json:"a,omitempty" validate:"omitempty,dive,dive,dive,dive,dive,dive,dive"`
	}
	noSummary   struct{}
	aPointer    struct{}
	aText       string
	reflectText struct{}
)

func (reflectText) MarshalText() ([]byte, error) { return nil, nil }

func (duplicate) EventType() string      { return "device.power.changed.v1" }
func (badName) EventType() string        { return "Device Power.v1" }
func (noVersion) EventType() string      { return "test.no.version" }
func (c changingName) EventType() string { return "test.changing" + c.A + ".v1" }
func (badURI) EventType() string         { return "test.bad_uri.v1" }
func (badURI) SchemaURI() string         { return "schemas/bad.json" }
func (unexported) EventType() string     { return "test.bad.v1" }
func (embedded) EventType() string       { return "test.bad.v1" }
func (noTag) EventType() string          { return "test.bad.v1" }
func (camelCase) EventType() string      { return "test.bad.v1" }
func (stringOption) EventType() string   { return "test.bad.v1" }
func (plainOptional) EventType() string  { return "test.bad.v1" }
func (requiredPtr) EventType() string    { return "test.bad.v1" }
func (noOmitempty) EventType() string    { return "test.bad.v1" }
func (omitRequired) EventType() string   { return "test.bad.v1" }
func (unknownRule) EventType() string    { return "test.bad.v1" }
func (aMap) EventType() string           { return "test.bad.v1" }
func (anInterface) EventType() string    { return "test.bad.v1" }
func (someBytes) EventType() string      { return "test.bad.v1" }
func (anArray) EventType() string        { return "test.bad.v1" }
func (aFloat32) EventType() string       { return "test.bad.v1" }
func (ownJSON) EventType() string        { return "test.bad.v1" }
func (ownText) EventType() string        { return "test.bad.v1" }
func (noDive) EventType() string         { return "test.bad.v1" }
func (listPointer) EventType() string    { return "test.bad.v1" }
func (ptrElements) EventType() string    { return "test.bad.v1" }
func (uniqueTimes) EventType() string    { return "test.bad.v1" }
func (itself) EventType() string         { return "test.bad.v1" }
func (badSample) EventType() string      { return "test.bad.v1" }
func (tooDeep) EventType() string        { return "test.bad.v1" }
func (noSummary) EventType() string      { return "test.bad.v1" }
func (*aPointer) EventType() string      { return "test.bad.v1" }
func (aText) EventType() string          { return "test.bad.v1" }

func TestRegister_PanicsWithWhatToChange(t *testing.T) {
	t.Parallel()
	for want, register := range map[string]func(){
		`"device.power.changed.v1" is already that of device.PowerChanged; give one of them another name`: func() { events.Register(testSchemas, duplicate{}, "x") },
		"is already that of device.MotionChanged; register it once":                                       func() { events.Register(testSchemas, device.MotionChanged{}, "x") },
		`EventType "Device Power.v1"`:         func() { events.Register(testSchemas, badName{}, "x") },
		`EventType "test.no.version"`:         func() { events.Register(testSchemas, noVersion{}, "x") },
		"want a constant of the Go type":      func() { events.Register(testSchemas, changingName{A: "x"}, "x") },
		"want an absolute URI":                func() { events.Register(testSchemas, badURI{}, "x") },
		"field _: want only exported":         func() { events.Register(testSchemas, unexported{}, "x") },
		"field MotionChanged: want only":      func() { events.Register(testSchemas, embedded{}, "x") },
		`field A: json name ""`:               func() { events.Register(testSchemas, noTag{}, "x") },
		`json name "myField"`:                 func() { events.Register(testSchemas, camelCase{}, "x") },
		`json option "string"`:                func() { events.Register(testSchemas, stringOption{}, "x") },
		"must be a pointer":                   func() { events.Register(testSchemas, plainOptional{}, "x") },
		"must not be a pointer":               func() { events.Register(testSchemas, requiredPtr{}, "x") },
		"must begin with omitempty":           func() { events.Register(testSchemas, noOmitempty{}, "x") },
		"only on a field whose json tag":      func() { events.Register(testSchemas, omitRequired{}, "x") },
		`"email": not known for a string`:     func() { events.Register(testSchemas, unknownRule{}, "x") },
		"map[string]int is not supported":     func() { events.Register(testSchemas, aMap{}, "x") },
		"interface {} is not supported":       func() { events.Register(testSchemas, anInterface{}, "x") },
		"would be base64":                     func() { events.Register(testSchemas, someBytes{}, "x") },
		"[3]int is not supported":             func() { events.Register(testSchemas, anArray{}, "x") },
		"float32 would round":                 func() { events.Register(testSchemas, aFloat32{}, "x") },
		"json.RawMessage has a JSON or text":  func() { events.Register(testSchemas, ownJSON{}, "x") },
		"reflectText has a JSON or text":      func() { events.Register(testSchemas, ownText{}, "x") },
		"needs dive":                          func() { events.Register(testSchemas, noDive{}, "x") },
		"a slice, not a pointer to one":       func() { events.Register(testSchemas, listPointer{}, "x") },
		"its elements: *int is not supported": func() { events.Register(testSchemas, ptrElements{}, "x") },
		"unique: not known for a list of":     func() { events.Register(testSchemas, uniqueTimes{}, "x") },
		"holds itself":                        func() { events.Register(testSchemas, itself{}, "x") },
		"sample: data.a: got 0, want a whole": func() { events.Register(testSchemas, badSample{}, "x") },
		"nest 9 deep, want at most 8":         func() { events.Register(testSchemas, tooDeep{}, "x") },
		"summary: missing":                    func() { events.Register(testSchemas, noSummary{}, " ") },
		"got a ptr, want a struct":            func() { events.Register(testSchemas, &aPointer{}, "x") },
		"got a string, want a struct":         func() { events.Register(testSchemas, aText(""), "x") },
		"got a interface, want a struct":      func() { events.Register(testSchemas, events.Data(badName{}), "x") },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			defer func() {
				got := fmt.Sprint(recover())
				if !strings.HasPrefix(got, "events: Register of ") || !strings.Contains(got, want) {
					t.Errorf("got panic %q, want one with %q", got, want)
				}
			}()
			register()
		})
	}
	if _, ok := events.Lookup("test.bad.v1"); ok {
		t.Error("test.bad.v1: got a type, want nothing registered")
	}
}

type late struct{}

func (late) EventType() string { return "test.late.v1" }

func TestRegister_IsSafeWhileOthersDecode(t *testing.T) {
	t.Parallel()
	body, err := events.Encode(powerEvent())
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 200 {
				if _, err := events.Decode(body); err != nil {
					t.Error(err)
				}
				events.Types()
			}
		})
	}
	events.Register(testSchemas, late{}, "A type that is registered while others decode.")
	group.Wait()
	if _, ok := events.Lookup("test.late.v1"); !ok {
		t.Error("test.late.v1: got none, want a type")
	}
}

// catalogue is the types of the package itself, without those of tests.
func catalogue() []events.Type {
	return slices.DeleteFunc(events.Types(), func(kind events.Type) bool {
		return reflect.TypeOf(kind.Sample).PkgPath() != reflect.TypeFor[device.PowerChanged]().PkgPath()
	})
}
