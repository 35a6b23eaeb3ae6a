package events_test

import (
	"time"

	"github.com/device-fanout/fanout/events"
)

// The types of this file are for tests: they use everything that a payload may have.

func init() {
	events.Register(testSchemas, everything{
		Flag: true, Whole: -3, Small: 7, Natural: 8, Ratio: 0.5, Free: 1e-9, Name: "a", Choice: "two words", Level: 2,
		At: time.Date(2005, 1, 8, 7, 24, 54, 0, time.UTC), Words: []string{"x"}, Inner: point{X: 1},
	}, "A type for tests, with every kind of field.")
}

type everything struct {
	Flag    bool    `json:"flag"`
	Whole   int64   `json:"whole"`
	Small   int8    `json:"small" validate:"gt=-100,lt=100"`
	Natural uint16  `json:"natural"`
	Ratio   float64 `json:"ratio" validate:"gt=0,lt=1"`
	Free    float64 `json:"free"`

	Name   string    `json:"name" validate:"min=1,max=5"`
	Choice string    `json:"choice" validate:"oneof=one 'two words' three"`
	Level  int       `json:"level" validate:"oneof=1 2 3"`
	At     time.Time `json:"at"`
	Words  []string  `json:"words" validate:"min=1,max=3,unique,dive,min=1,max=4,printascii"`
	Inner  point     `json:"inner"`

	Nick    string     `json:"nick,omitempty" validate:"omitempty,min=2,alphanum"`
	Code    *string    `json:"code,omitempty" validate:"omitempty,len=4,hexadecimal"`
	Maybe   *bool      `json:"maybe,omitempty"`
	Count   *uint64    `json:"count,omitempty"`
	Until   *time.Time `json:"until,omitempty"`
	Other   *point     `json:"other,omitempty"`
	Points  []point    `json:"points,omitempty" validate:"omitempty,min=1,max=4,dive"`
	Matrix  [][]int32  `json:"matrix,omitempty" validate:"omitempty,len=2,dive,max=2,dive,gte=0,lte=9"`
	Seconds []float64  `json:"seconds,omitempty"`
}

func (everything) EventType() string { return "test.everything.v1" }

type point struct {
	X float64  `json:"x" validate:"gte=-1,lte=1"`
	Y *float64 `json:"y,omitempty" validate:"omitempty,min=-1,max=1"`
	T string   `json:"t,omitempty"`
}

// unregistered is a payload that nobody registered.
type unregistered struct {
	On bool `json:"on"`
}

func (unregistered) EventType() string { return "test.unregistered.v1" }

// testSchemas is where the schemas of the tests' types would be published.
const testSchemas events.SchemaBase = "https://test.example/schemas/"
