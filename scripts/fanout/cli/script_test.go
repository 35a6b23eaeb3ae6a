package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the command lines of testdata/script. Beside testscript's own commands the scripts have
//
//	exits CODE PROGRAM ARGUMENT...  runs a program and checks its exit code
//	refused ARGUMENT...             runs fanout and checks that it refuses its arguments: exit code 2, nothing on standard output, and on
//	                                standard error the error and at most a hint
//	shows ARGUMENT...               runs fanout and checks that it succeeds and writes nothing to standard error
//	engine [LETTERS | hostile]      starts SNS and SQS with environment dev at $ENDPOINT, with as many dead letters of history, or such whose
//	                                texts are for the terminal
//	fits                            checks that the lines of the last standard output fit a terminal
//
// Nothing listens at $NOBODY. FANOUT_TEST_UPDATE=1 writes the files anew that standard output is compared with.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: os.Getenv("FANOUT_TEST_UPDATE") != "",
		Setup: func(env *testscript.Env) error {
			env.Values[testing.TB(nil)] = env.T().(testing.TB)
			for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"} {
				env.Setenv(name, os.Getenv(name))
			}
			env.Setenv("NOBODY", "http://"+unusedAddress(env.T().(testing.TB)))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":   scriptExits,
			"refused": scriptRefused,
			"shows":   scriptShows,
			"engine":  scriptEngine,
			"fits":    scriptFits,
		},
	})
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code: got %d, want %d", got, want)
	}
}

// scriptRefused runs the command in this process, as scriptShows does, since there are many command lines to try.
func scriptRefused(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: refused [ARGUMENT...]")
	}
	var stdout, stderr bytes.Buffer
	code := Run(context.Background(), testApp(), args, strings.NewReader(""), &stdout, &stderr)
	_, _ = ts.Stderr().Write(stderr.Bytes())
	if code != exitUsage || stdout.Len() > 0 || !strings.HasPrefix(stderr.String(), "fanout: ") || strings.Count(stderr.String(), "\n") > 2 {
		ts.Fatalf("got exit code %d, standard output %q, standard error\n%s\nwant code %d, nothing, and an error with at most a hint",
			code, &stdout, &stderr, exitUsage)
	}
}

func scriptShows(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("usage: shows [ARGUMENT...]")
	}
	var stderr bytes.Buffer
	if code := Run(context.Background(), testApp(), args, strings.NewReader(""), ts.Stdout(), &stderr); code != exitOK || stderr.Len() > 0 {
		ts.Fatalf("got exit code %d and standard error\n%s\nwant code %d and nothing", code, &stderr, exitOK)
	}
}

func scriptEngine(ts *testscript.TestScript, neg bool, args []string) {
	deadLetters := 0
	if neg || len(args) > 1 {
		ts.Fatalf("usage: engine [DEADLETTERS | hostile]")
	}
	isHostile := slices.Equal(args, []string{"hostile"})
	if len(args) == 1 && !isHostile {
		var err error
		deadLetters, err = strconv.Atoi(args[0])
		ts.Check(err)
	}
	t := ts.Value(testing.TB(nil)).(testing.TB)
	engine, endpoint := localEngine(t)
	bury(t, engine, 0, lamps(deadLetters, 5), func(int) string { return "a" })
	if isHostile {
		plantHostile(t, engine)
	}
	ts.Setenv("ENDPOINT", endpoint)
}

func scriptFits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: fits")
	}
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 120 {
			ts.Fatalf("got a line of %d characters, want them to fit a terminal: %s", n, line)
		}
	}
}
