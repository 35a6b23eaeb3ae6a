package cli

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"
	"time"

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

// maxShutdownDelay is the longest --shutdown-delay: it leaves half of what AWS Fargate waits for before it kills.
const maxShutdownDelay = time.Minute

func checkShutdownDelay(delay time.Duration) error {
	if delay < 0 || delay > maxShutdownDelay {
		return fmt.Errorf("--shutdown-delay: got %v, want at most %v, so that there is time left to drain", delay, maxShutdownDelay)
	}
	return nil
}

// lingering is a context that ends as long as delay after ctx, or with stop. leave is called when ctx ends.
func lingering(ctx context.Context, delay time.Duration, leave func()) (_ context.Context, stop context.CancelFunc) {
	longer, end := context.WithCancel(context.WithoutCancel(ctx))
	heard := context.AfterFunc(ctx, func() {
		leave()
		select {
		case <-time.After(delay):
		case <-longer.Done():
		}
		end()
	})
	return longer, func() { heard(); end() }
}
