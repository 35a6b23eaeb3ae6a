package declaration_test

import (
	"io"
	"testing"

	"example.com/acme/platform/infra/declaration"
)

func TestTopology_CanBeDeployedAndDescribed(t *testing.T) {
	t.Parallel()
	topology := declaration.Topology()
	for _, env := range []string{"dev", "prod", "feature-x"} {
		if _, err := topology.In(env); err != nil {
			t.Error(err)
		}
	}
	if err := topology.AsyncAPI(io.Discard); err != nil {
		t.Error(err)
	}
}
