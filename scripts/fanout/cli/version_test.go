package cli

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestVersion_FromTheBuild(t *testing.T) {
	t.Parallel()
	main := debug.Module{Path: "example.com/acme/platform", Version: "v1.2.3"}
	commit := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef0123"}, {Key: "vcs.modified", Value: "true"}}
	about := " (" + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH
	with := func(fanout string) string { return " (fanout " + fanout + ", " + about[2:] }
	for name, test := range map[string]struct {
		app   App
		build *debug.BuildInfo
		want  string
	}{
		"of another module":         {App{Name: "acme"}, &debug.BuildInfo{Main: main, Deps: []*debug.Module{{Path: modulePath, Version: "v0.9.0"}}}, "acme v1.2.3" + with("v0.9.0") + ")"},
		"on a checkout":             {App{Name: "acme"}, &debug.BuildInfo{Main: main, Deps: []*debug.Module{{Path: modulePath, Version: "v0.0.0", Replace: &debug.Module{Path: "../.."}}}}, "acme v1.2.3" + with("replaced by ../..") + ")"},
		"of this module":            {App{Name: "fanout"}, &debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "v0.9.0"}}, "fanout v0.9.0" + about + ")"},
		"from a changed tree":       {App{Name: "fanout"}, &debug.BuildInfo{Main: debug.Module{Path: modulePath, Version: "(devel)"}, Settings: commit}, "fanout (devel)" + about + ", commit 0123456789abcdef0123 with changes)"},
		"the app says its own":      {App{Name: "acme", Version: "7"}, &debug.BuildInfo{Main: main, Deps: []*debug.Module{{Path: modulePath, Version: "v0.9.0"}}}, "acme 7" + with("v0.9.0") + ")"},
		"without build information": {App{Name: "acme"}, nil, "acme (devel)" + about + ")"},
	} {
		if got := versionOf(test.app, test.build).String(); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}
