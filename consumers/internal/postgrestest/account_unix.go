//go:build unix

package postgrestest

import (
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"testing"
)

// account is who runs PostgreSQL's programs: postgres if we are root, who must not, and else we ourselves.
type account struct{ *syscall.Credential }

func accountFor(t testing.TB) account {
	t.Helper()
	if os.Geteuid() != 0 {
		return account{}
	}
	other, err := user.Lookup("postgres")
	if err != nil {
		t.Skipf("needs the user postgres, as root can't run a server: %v", err)
	}
	return account{&syscall.Credential{Uid: number(t, other.Uid), Gid: number(t, other.Gid)}}
}

func number(t testing.TB, text string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

// own gives a folder to the account.
func (a account) own(folder string) error {
	if a.Credential == nil {
		return nil
	}
	return os.Chown(folder, int(a.Uid), int(a.Gid))
}

// run has the account run a command.
func (a account) run(cmd *exec.Cmd) {
	if a.Credential != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.Credential}
	}
}
