// Package compat tells whether a JSON Schema of an event type may replace an older one.
//
//	changes, err := compat.Compare(oldFolder, newFolder) // file systems with one <type>.json for every type
//	for _, c := range changes {
//		fmt.Println(c) // device.humidity.measured.v1: data.percent: breaking: maximum 100 is now 90: …
//	}
//
// Gateways and services are deployed one after another, and queues and dead-letter queues hold events of earlier days. So a
// schema is looked at from both sides, and every change has one of three levels:
//
//   - [Compatible]: old events are valid by the new schema, and new events by the old one, as far as the change goes.
//   - [ConsumersFirst]: old events are valid, but new ones may be refused by services that still have the old schema, such as when a bound
//     was widened. It is safe once all services know the new schema before the first gateway does.
//   - [Breaking]: old events may be refused by services that have the new schema, or services miss what they rely on. Such a change
//     is a new type, with the next version at its end.
//
// Keywords are those that package generate writes; a change of any other is Breaking, because it is not understood. Fields
// that a schema does not name are allowed by it, so a new optional field is Compatible. Texts for readers are not compared.
package compat
