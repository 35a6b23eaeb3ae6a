package cli

import (
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// outlivesReaders lets a command that serves go on when whoever reads what it writes has gone, as a log's reader does that is started
// anew: what is written meanwhile is dropped. Every other command ends then, as is usual in a pipe.
func outlivesReaders(cmd *cobra.Command) *cobra.Command {
	work := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		signal.Ignore(syscall.SIGPIPE)
		return work(cmd, args)
	}
	return cmd
}
