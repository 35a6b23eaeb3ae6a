// Package schemas is the published contract: the JSON Schema of every event type of this repository, <type>.json each. They are made
// from the Go types; write them anew with go generate ./schemas, and "platform schema check" tells when they are not what the code says.
package schemas

import (
	"embed"
	"io/fs"
)

//go:generate go run ../cmd/platform schema write .

//go:embed *.json
var files embed.FS

// FS returns the schemas as a file system: a file <type>.json for every type, and nothing else.
func FS() fs.FS { return files }
