package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// modulePath is the module of this package.
const modulePath = "github.com/device-fanout/fanout"

// unknownVersion is the version of a build that nothing says the version of, such as a test's.
const unknownVersion = "(devel)"

// versionInfo is what is known of the program's build.
type versionInfo struct {
	Name     string `json:"name"`
	Version  string `json:"version"`            // of the program's module
	Fanout   string `json:"fanout"`             // of this module
	Go       string `json:"go"`                 // version of Go
	Platform string `json:"platform"`           // operating system and architecture
	Revision string `json:"revision,omitempty"` // the commit, if Go has noted it
	Modified bool   `json:"modified,omitempty"` // whether there were changes beyond that commit
}

// versionOf reads the build information of a program, which is nil if it has none.
func versionOf(app App, build *debug.BuildInfo) versionInfo {
	v := versionInfo{
		Name: app.Name, Version: unknownVersion, Fanout: unknownVersion, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	if build != nil {
		v.Version = cmp.Or(build.Main.Version, v.Version)
		for _, m := range append(build.Deps, &build.Main) {
			if m.Path != modulePath {
				continue
			}
			v.Fanout = cmp.Or(m.Version, v.Fanout)
			if m.Replace != nil {
				v.Fanout = "replaced by " + m.Replace.Path
				if m.Replace.Version != "" && m.Replace.Version != unknownVersion {
					v.Fanout += " " + m.Replace.Version
				}
			}
		}
		for _, s := range build.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	v.Version = cmp.Or(app.Version, v.Version)
	return v
}

// String is the version in a line, without the line's end.
func (v versionInfo) String() string {
	details := []string{v.Go, v.Platform}
	if v.Version != v.Fanout {
		details = append([]string{"fanout " + v.Fanout}, details...)
	}
	if v.Revision != "" && !strings.Contains(v.Version, v.Revision[:min(len(v.Revision), 12)]) {
		commit := "commit " + v.Revision
		if v.Modified {
			commit += " with changes"
		}
		details = append(details, commit)
	}
	return fmt.Sprintf("%s %s (%s)", v.Name, v.Version, strings.Join(details, ", "))
}

// version is that of this program.
func (g *globals) version() versionInfo {
	build, _ := debug.ReadBuildInfo()
	return versionOf(g.app, build)
}

func newVersion(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program, and what it was built with",
		Long: `Shows the version of this program, that of the fanout module in it, and the version of Go. They come from the build
information that Go puts into every program: a tag of the module, or the commit that it was built from.`,
		Args: exactly(0, "none"),
		RunE: func(*cobra.Command, []string) error {
			v := g.version()
			if asJSON {
				return json.NewEncoder(g.out).Encode(v)
			}
			_, err := fmt.Fprintln(g.out, v)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
