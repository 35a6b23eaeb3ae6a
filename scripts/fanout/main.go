// Command fanout runs and operates the fan-out of device events: the whole of it on one machine, its parts one by one, and
// its dead-letter queues. Run it without arguments for a list of its commands.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// streams are a command's input and outputs: data goes to out, progress and errors to err.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run is the whole program. It returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(streams{stdin, stdout, stderr})
	root.SetArgs(args)
	root.SetContext(ctx)
	return report(stderr, execute(root))
}
