package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/mod/module"

	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/scaffold"
)

func newInit(g *globals) *cobra.Command {
	var i scaffold.Init
	var from string
	cmd := &cobra.Command{
		Use:   "init FOLDER --module PATH",
		Short: "Write a repository of your own: event type, service, topology, CDK app, command line, CI",
		Long: `Writes a repository that builds, passes its tests, runs and can be deployed at once: a Go module with one event type, one
service, the services history and state, the topology and its environments, a CDK app, a command line of its own, CI, and a page
that says what is where. It is small, and it is yours; Fanout stays a module that it requires. FOLDER must be new or empty.

It requires the version of Fanout that this program is of. With --from it uses a checkout of Fanout on this machine instead,
by a replace line in go.mod; that is the default when it is run in a checkout.`,
		Example: `  ` + g.app.Name + ` init platform --module example.com/acme/platform
  ` + g.app.Name + ` init platform --module example.com/acme/platform --from ../fanout`,
		Args: exactly(1, "the folder of the new repository"),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := args[0]
			var err error
			if i.Replace, err = replacement(folder, from); err == nil && i.Replace == "" {
				i.Version, err = releasedVersion()
			}
			files, planErr := scaffold.PlanInit(i)
			if err := errors.Join(planErr, scaffold.CheckEmpty(folder), err); err != nil {
				return &exitError{exitUsage, err}
			}
			if err := scaffold.Write(folder, files); err != nil {
				return err
			}
			for _, f := range files {
				fmt.Fprintf(g.out, "%-8s %s\n", "new", filepath.Join(folder, f.Path))
			}
			if i.Replace == "" { // go.sum lacks the sums of this module, which it can't know itself
				tidy := exec.CommandContext(cmd.Context(), "go", "mod", "tidy")
				tidy.Dir = folder
				if text, err := tidy.CombinedOutput(); err != nil {
					fmt.Fprintf(g.err, "%s: go mod tidy: %v: %s\n", g.app.Name, err, strings.TrimSpace(string(text)))
					fmt.Fprintf(g.err, "hint: everything is written; run `go mod tidy` in %s before you build\n", folder)
				}
			}
			fmt.Fprintf(g.err, "next: cd %s; go test ./...; then see it run: go run %s up\n", folder, scaffold.CommandOf(files))
			return nil
		},
	}
	cmd.Flags().StringVar(&i.Module, "module", "", "module `PATH` of the new repository, such as example.com/acme/platform")
	cmd.Flags().StringVar(&from, "from", "", "`FOLDER` of a checkout of Fanout to use, from here or from the new repository")
	_ = cmd.MarkFlagRequired("module")
	return cmd
}

// replacement is the checkout that stands in place of a released version, as go.mod of the new repository has it, or "" for none.
func replacement(folder, from string) (string, error) {
	target, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	if from == "" {
		checkout, err := scaffold.Checkout(".")
		if err != nil || checkout == "" {
			return "", err
		}
		if relative, err := filepath.Rel(checkout, target); err == nil && filepath.IsLocal(relative) {
			return filepath.Rel(target, checkout) // it moves with the checkout that it is in
		}
		return checkout, nil
	}
	for _, checkout := range []string{from, filepath.Join(target, from)} {
		if !scaffold.IsCheckout(checkout) {
			continue
		}
		if filepath.IsAbs(from) {
			return from, nil
		}
		if checkout, err = filepath.Abs(checkout); err != nil {
			return "", err
		}
		relative, err := filepath.Rel(target, checkout)
		if !strings.HasPrefix(relative, "..") { // go.mod takes it for a path by its beginning
			relative = "." + string(os.PathSeparator) + relative
		}
		return relative, err
	}
	return "", fmt.Errorf("--from: %s is no checkout of %s; name the folder with its go.mod", from, modulePath)
}

// releasedVersion is the version of this module that the program is built with.
func releasedVersion() (string, error) {
	build, _ := debug.ReadBuildInfo()
	v := versionOf(App{}, build).Fanout
	if module.Check(modulePath, v) != nil || strings.HasSuffix(v, "+dirty") {
		return "", fmt.Errorf("this program is of no released version of Fanout, but %s; name a checkout by --from FOLDER", v)
	}
	return v, nil
}
