// Package schemas is the published contract: one JSON Schema (draft 2020-12) for the payload of every event type in the
// catalogue of package events, embedded into the program. A service in any language validates against the same files,
// which stand beside this one as <type>.json.
//
//	text, ok := schemas.Schema("device.power.changed.v1")
//
// The files are made from the Go types by package schemas/generate, and a test fails when one is not what the Go type
// says. Write them anew with
//
//	go generate ./schemas
//
// A schema says what a producer must send. A consumer should take more: fields that it does not know, because a newer
// producer may have added them, so that additional properties are left open. [events.Decode] also takes null for a
// missing optional field.
//
// [events.Decode]: https://pkg.go.dev/github.com/device-fanout/fanout/events#Decode
package schemas

import (
	"embed"
	"io/fs"
)

//go:generate go test . -run ^TestFiles_AreWhatTheGoTypesSay$ -update

//go:embed *.json
var files embed.FS

// FS returns the schemas as a file system: a file <type>.json for every type, and nothing else.
func FS() fs.FS { return files }

// Schema returns the JSON Schema of an event type of the catalogue. The bytes are the caller's own.
func Schema(eventType string) ([]byte, bool) {
	text, err := files.ReadFile(eventType + ".json")
	return text, err == nil
}
