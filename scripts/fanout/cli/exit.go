package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/infra/provision"
	awsx "github.com/device-fanout/fanout/internal/aws"
	"github.com/device-fanout/fanout/internal/redact"
)

// Exit codes.
const (
	exitOK       = 0
	exitFailed   = 1 // the command could not do its work
	exitUsage    = 2 // the command line is wrong
	exitRejected = 3 // input lines were rejected; everything else was done and nothing was lost
	exitLost     = 4 // events were lost or came out of order
	exitBreaking = 5 // a change of the event types would break gateways or services
	exitMigrate  = 6 // tables are not up to date
	exitUnseen   = 7 // nothing was found, but a part could not be looked at
)

// exitCodes are those of the commands that handle events; schema check has its own list.
const exitCodes = `Exit codes:
  0  done
  1  the command could not do its work
  2  the command line is wrong
  3  some input lines were rejected; everything else was done, and nothing was lost
  4  events were lost or came out of order`

// exitError carries an exit code, and an error if there is something left to print.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// hinted is an error with advice.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }

// report prints an error with a hint where there is one, and returns the exit code.
func report(stderr io.Writer, program string, err error) int {
	if err == nil {
		return exitOK
	}
	code := exitCodeOf(err)
	if exit, ok := errors.AsType[*exitError](err); ok && exit.err == nil {
		return code
	}
	for line := range strings.SplitSeq(redact.Text(err.Error()), "\n") {
		fmt.Fprintf(stderr, "%s: %s\n", program, line)
	}
	if hint := hintFor(program, err); hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", hint)
	}
	return code
}

// exitCodeOf is the code that an error asks for.
func exitCodeOf(err error) int {
	if err == nil {
		return exitOK
	}
	if exit, ok := errors.AsType[*exitError](err); ok {
		return exit.code
	}
	return exitFailed
}

// usage makes err one of the command line.
func usage(cmd *cobra.Command, err error) error {
	return &exitError{exitUsage, &hinted{err, fmt.Sprintf("see `%s --help`", cmd.CommandPath())}}
}

func hintFor(program string, err error) string {
	if advised, ok := errors.AsType[*hinted](err); ok {
		return advised.hint
	}
	if _, ok := errors.AsType[*database.OpenError](err); ok { // its text has advice of its own
		return "--data names the folder of a SQLite database, --database another; without them `" + program + " consume` and `state` take FANOUT_DATABASE"
	}
	if _, ok := errors.AsType[*provision.NotFoundError](err); ok {
		return "for the local environment run `" + program + " up` or `" + program + " local` and add --local; for AWS deploy it first, and check --env, AWS_REGION and AWS_PROFILE"
	}
	switch verdict := awsx.VerdictOf(err); {
	case verdict.Class == awsx.Denied && verdict.By == "KMS":
		return verdict.Hint()
	case verdict.Class == awsx.Denied:
		return "the credentials in use lack a permission; check AWS_PROFILE"
	case verdict.Class == awsx.Credentials, verdict.Class == awsx.Expired:
		return "the credentials in use are not valid here; log in again, or add --local for the local environment"
	}
	if _, ok := errors.AsType[*smithy.DeserializationError](err); ok {
		return "what answers there does not seem to be SNS and SQS; check --endpoint and AWS_ENDPOINT_URL"
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "nothing listens there; start it with `" + program + " up` or `" + program + " local`"
	}
	return ""
}
