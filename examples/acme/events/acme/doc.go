// Package acme declares event types. A program that imports it knows them: they are registered with package events when it
// starts. A file declares a type, and its test keeps an event as it was first sent.
package acme

import "github.com/device-fanout/fanout/events"

// schemaBase is where the JSON Schemas of these types are published.
const schemaBase events.SchemaBase = "https://example.com/acme/platform/schemas/"
