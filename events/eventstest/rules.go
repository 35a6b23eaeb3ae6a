package eventstest

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode"

	"pgregory.net/rapid"

	"github.com/device-fanout/fanout/events"
)

// rules are a field's rules by name.
type rules map[string]events.Rule

func newRules(list []events.Rule) rules {
	byName := rules{}
	for _, rule := range list {
		byName[rule.Name] = rule
	}
	return byName
}

func (r rules) has(name string) bool {
	_, ok := r[name]
	return ok
}

// parameter returns the first of the rules that is there, or else otherwise.
func (r rules) parameter(otherwise float64, names ...string) float64 {
	for _, name := range names {
		if rule, ok := r[name]; ok {
			param, _ := strconv.ParseFloat(rule.Param, 64)
			return param
		}
	}
	return otherwise
}

// count returns how many characters or elements there may be, with at most spread more than there must be when there
// is no upper bound.
func (r rules) count(spread int) (low, high int) {
	if r.has("len") {
		n := int(r.parameter(0, "len"))
		return n, n
	}
	low = int(r.parameter(0, "min"))
	return low, int(r.parameter(float64(low+spread), "max"))
}

// exact returns a bound of integers, which a float64 might not hold.
func (r rules) exact(otherwise int64, inclusive, exclusive string, step int64) int64 {
	if rule, ok := r[inclusive]; ok {
		if n, err := strconv.ParseInt(rule.Param, 10, 64); err == nil {
			return n
		}
	}
	if rule, ok := r[exclusive]; ok {
		if n, err := strconv.ParseInt(rule.Param, 10, 64); err == nil {
			return n + step
		}
	}
	return otherwise
}

func (r rules) integer() *rapid.Generator[any] {
	if rule, ok := r["oneof"]; ok {
		return rapid.Map(rapid.SampledFrom(rule.Values()), func(value string) any { return json.Number(value) })
	}
	low, high := r.exact(math.MinInt64, "gte", "gt", 1), r.exact(math.MaxInt64, "lte", "lt", -1)
	return rapid.OneOf(rapid.SampledFrom([]int64{low, high}), rapid.Int64Range(low, high)).AsAny()
}

func (r rules) number() *rapid.Generator[any] {
	low, high := r.parameter(-1e300, "gte", "gt"), r.parameter(1e300, "lte", "lt")
	if r.has("gt") {
		low = math.Nextafter(low, math.Inf(1))
	}
	if r.has("lt") {
		high = math.Nextafter(high, math.Inf(-1))
	}
	return rapid.OneOf(rapid.SampledFrom([]float64{low, high}), rapid.Float64Range(low, high)).AsAny()
}

// edge draws numbers at, just below and just above the bounds.
func (r rules) edge() *rapid.Generator[any] {
	low, high := r.parameter(-1e15, "gte", "gt"), r.parameter(1e15, "lte", "lt")
	var near []float64
	for _, bound := range []float64{low, high} {
		near = append(near, bound, bound-1, bound+1, math.Nextafter(bound, math.Inf(-1)), math.Nextafter(bound, math.Inf(1)))
	}
	return rapid.SampledFrom(near).AsAny()
}

func (r rules) text() *rapid.Generator[any] {
	if rule, ok := r["oneof"]; ok {
		return rapid.SampledFrom(rule.Values()).AsAny()
	}
	low, high := r.count(12)
	return rapid.StringOfN(r.runes(), low, high, -1).AsAny()
}

// textOfWrongLength draws strings with a character too few or too many, or with characters of all kinds.
func (r rules) textOfWrongLength() *rapid.Generator[any] {
	low, high := r.count(12)
	lengths := rapid.SampledFrom([]int{max(0, low-1), low, high, high + 1})
	return rapid.Custom(func(t *rapid.T) any {
		length := lengths.Draw(t, "length")
		runes := rapid.OneOf(r.runes(), rapid.Rune())
		return rapid.StringOfN(runes, length, length, -1).Draw(t, "text")
	})
}

// runes draws characters that the rules allow, with a liking for those that JSON and SQS treat in a special way.
func (r rules) runes() *rapid.Generator[rune] {
	switch {
	case r.has("hexadecimal"):
		return rapid.RuneFrom([]rune("0123456789abcdefABCDEF"))
	case r.has("alphanum"):
		return rapid.RuneFrom([]rune("0123456789" + strings.ToLower(letters) + letters))
	case r.has("printascii"):
		return rapid.RuneFrom(nil, printable(' '))
	default:
		special := rapid.RuneFrom([]rune("\x00\x1f\"\\/<>&\t\r\n\x7f\u2028\ufeff\ufffd\ufffe\uffff\U0001F4A1"))
		return rapid.OneOf(rapid.Rune(), special)
	}
}

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// printable is the printable ASCII characters from first on.
func printable(first rune) *unicode.RangeTable {
	return &unicode.RangeTable{R16: []unicode.Range16{{Lo: uint16(first), Hi: '~', Stride: 1}}, LatinOffset: 1}
}
