package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/device-fanout/fanout/events"
)

// simulatedRate is how many events a second simulated devices send unless told otherwise.
const simulatedRate = 10

// simulate publishes simulated events, about rate a second, until ctx ends or publish fails.
func (g *globals) simulate(ctx context.Context, rate float64, publish func(events.Event) error) error {
	next := g.app.Simulate
	if next == nil {
		next = samples
	}
	for e := range next() {
		if err := publish(e); err != nil {
			return err
		}
		if sleepUntil(ctx, time.Now().Add(time.Duration(rand.ExpFloat64()*float64(time.Second)/rate))) != nil {
			return nil
		}
	}
	return nil
}

// devicesPerType is how many devices send events of one type.
const devicesPerType = 3

// samples are events of all registered types: the sample of a type with values that differ a little each time. They are
// random, but the same in every run.
func samples() iter.Seq[events.Event] {
	return func(yield func(events.Event) bool) {
		random, types := rand.New(rand.NewPCG(1, 2)), events.Types()
		for len(types) > 0 {
			kind := types[random.IntN(len(types))]
			device := fmt.Sprintf("%s-%d", strings.Split(kind.Name, ".")[1], 1+random.IntN(devicesPerType))
			if !yield(events.New(device, vary(random, kind))) {
				return
			}
		}
	}
}

// vary is a type's sample with other values in its own fields, or just as it is where another value would not be valid.
func vary(random *rand.Rand, kind events.Type) events.Data {
	text, err := events.EncodeData(kind.Sample)
	if err != nil {
		return kind.Sample
	}
	var values map[string]any
	if err := json.Unmarshal(text, &values); err != nil {
		return kind.Sample
	}
	for _, field := range kind.Fields {
		was, ok := values[field.Name]
		if !ok {
			continue
		}
		number, _ := was.(float64)
		choice := slices.IndexFunc(field.Rules, func(r events.Rule) bool { return r.Name == "oneof" })
		switch {
		case choice >= 0 && field.Kind == events.KindString:
			all := field.Rules[choice].Values()
			values[field.Name] = all[random.IntN(len(all))]
		case choice >= 0:
		case field.Kind == events.KindBoolean:
			values[field.Name] = random.IntN(2) == 0
		case field.Kind == events.KindInteger:
			values[field.Name] = math.Round(number * (0.9 + 0.2*random.Float64()))
		case field.Kind == events.KindNumber:
			values[field.Name] = math.Round(number*(0.9+0.2*random.Float64())*100) / 100
		}
	}
	if text, err = json.Marshal(values); err != nil {
		return kind.Sample
	}
	data, err := events.DecodeData(kind.Name, text)
	if err != nil {
		return kind.Sample
	}
	return data
}
