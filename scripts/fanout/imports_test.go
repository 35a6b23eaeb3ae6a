package main

import (
	"os/exec"
	"strings"
	"testing"
)

// Who builds on a package gets what that package needs, and no more: the CDK comes with the stacks alone, event types with package
// device alone, and a topology can be read without the AWS SDK.
func TestImports_BringNothingUnasked(t *testing.T) {
	t.Parallel()
	const module = "github.com/device-fanout/fanout/"
	cdk, types, sdk := "github.com/aws/aws-cdk-go/", module+"events/device", "github.com/aws/aws-sdk-go"
	unwanted := map[string][]string{
		"events":             {cdk, types, sdk, module + "infra", module + "producer", module + "consumers"},
		"producer":           {cdk, types},
		"producer/gateway":   {cdk, types},
		"consumers":          {cdk, types},
		"consumers/lambda":   {cdk, types},
		"infra/topology":     {cdk, types, sdk},
		"infra/provision":    {cdk, types},
		"infra/local":        {cdk, types},
		"infra/doctor":       {cdk, types},
		"infra/stacks":       {types},
		"scripts/fanout/cli": {cdk, types, module + "infra/declaration"},
		"scripts/fanout":     {cdk},
	}
	args := []string{"list", "-f", "{{.ImportPath}} {{join .Deps \" \"}}"}
	for pkg := range unwanted {
		args = append(args, module+pkg)
	}
	out, err := exec.Command("go", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		pkg, dependencies, _ := strings.Cut(line, " ")
		for dependency := range strings.FieldsSeq(dependencies) {
			for _, path := range unwanted[strings.TrimPrefix(pkg, module)] {
				if strings.HasPrefix(dependency, path) {
					t.Errorf("%s imports %s, want nothing below %s", pkg, dependency, path)
				}
			}
		}
	}
	if got := strings.Count(string(out), "\n"); got != len(unwanted) {
		t.Errorf("got %d packages, want %d:\n%s", got, len(unwanted), out)
	}
}

func TestImports_OnlyTheStacksNeedTheCDK(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}} {{.Imports}}", "github.com/device-fanout/fanout/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if pkg, imported, _ := strings.Cut(line, " "); strings.Contains(imported, "aws-cdk-go") && !strings.HasSuffix(pkg, "/infra/stacks") {
			t.Errorf("%s imports the CDK, want only infra/stacks to", pkg)
		}
	}
}
