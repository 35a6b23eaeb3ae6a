package declaration_test

import (
	"bytes"
	"flag"
	"os"
	"testing"

	"github.com/device-fanout/fanout/infra/declaration"
)

var update = flag.Bool("update", false, "write the AsyncAPI document anew")

// asyncAPIFile is the published document.
const asyncAPIFile = "../../schemas/asyncapi/asyncapi.json"

func TestAsyncAPI_CommittedDocumentIsCurrent(t *testing.T) {
	t.Parallel()
	var want bytes.Buffer
	if err := declaration.Topology().AsyncAPI(&want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(asyncAPIFile, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(asyncAPIFile); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what topology and events say (%v): run go generate ./infra/declaration", asyncAPIFile, err)
	}
}
