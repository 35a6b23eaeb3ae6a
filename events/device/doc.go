// Package device declares the ten event types of a home's devices. A program that imports it knows them: they are registered
// with package events when it starts, so that their events can be encoded, decoded and handled.
//
//	event := events.New("lamp-7", device.PowerChanged{On: true})
//
// A file declares a type; package events says how to add one, here or in a module of your own. The files in
// testdata/samples prove that events of old can still be read; they are never changed.
package device

import "github.com/device-fanout/fanout/events"

// schemaBase is where the JSON Schemas of these types are published.
const schemaBase events.SchemaBase = "https://device-fanout.github.io/fanout/schemas/"
