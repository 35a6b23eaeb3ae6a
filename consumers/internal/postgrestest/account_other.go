//go:build !unix

package postgrestest

import (
	"os/exec"
	"testing"
)

// account is who runs PostgreSQL's programs: we ourselves.
type account struct{}

func accountFor(testing.TB) account { return account{} }

func (account) own(string) error { return nil }

func (account) run(*exec.Cmd) {}
