package cli

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// image is what a Dockerfile makes, as far as ours go: its final stage, and of the stage before that what it takes from there.
type image struct {
	build      string                 // the command that builds the program, with the shell's variables in it
	program    string                 // where it writes the program
	folders    map[string]fs.FileMode // that the stage before makes
	copies     [][]string             // flags, source, target
	volumes    []string
	user       string // UID:GID
	entrypoint []string
}

// parseDockerfile reads a Dockerfile. What it does not know it refuses, so that no test passes on less than the image.
func parseDockerfile(text string) (image, error) {
	im := image{folders: map[string]fs.FileMode{}}
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	final := false
	for _, line := range lines {
		instruction, rest, _ := strings.Cut(line, " ")
		rest = strings.TrimSpace(rest)
		switch {
		case instruction == "FROM":
			final = rest == "scratch"
		case instruction == "RUN" && !final:
			for command := range strings.SplitSeq(rest, "&&") {
				if err := im.run(strings.TrimSpace(command)); err != nil {
					return im, err
				}
			}
		case !final: // COPY of the sources, WORKDIR, ARG, ENV
		case instruction == "COPY":
			im.copies = append(im.copies, strings.Fields(rest))
		case instruction == "VOLUME":
			im.volumes = append(im.volumes, rest)
		case instruction == "USER":
			im.user = rest
		case instruction == "ENTRYPOINT":
			if err := json.Unmarshal([]byte(rest), &im.entrypoint); err != nil {
				return im, fmt.Errorf("ENTRYPOINT: %w", err)
			}
		default:
			return im, fmt.Errorf("final stage: got %q, which this test does not know", line)
		}
	}
	return im, nil
}

// run takes note of a command of a RUN.
func (im *image) run(command string) error {
	if at := strings.Index(command, "CGO_ENABLED="); at >= 0 && strings.Contains(command, " go build ") {
		im.build = command[at:]
		words := strings.Fields(command)
		im.program = words[slices.Index(words, "-o")+1]
		return nil
	}
	words := strings.Fields(command)
	switch {
	case words[0] == "mkdir" && len(words) == 3 && words[1] == "-p":
		im.folders[words[2]] = 0o755
	case words[0] == "mkdir" && len(words) == 4 && words[1] == "-m":
		mode, err := strconv.ParseUint(words[2], 8, 32)
		if err != nil {
			return err
		}
		im.folders[words[3]] = fs.FileMode(mode)
	case strings.HasSuffix(words[0], "scripts/licences"), words[0] == "bash": // copied below as /licences
	default:
		return fmt.Errorf("RUN: got %q, which this test does not know", command)
	}
	return nil
}

// repositoryRoot is the folder of this module.
const repositoryRoot = "../../.."

func ourImage(t *testing.T) image {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repositoryRoot, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	im, err := parseDockerfile(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return im
}

// ids are the numbers of USER.
func (im image) ids() (uid, gid int, err error) {
	user, group, _ := strings.Cut(im.user, ":")
	if uid, err = strconv.Atoi(user); err == nil {
		gid, err = strconv.Atoi(group)
	}
	return uid, gid, err
}

// assemble writes into a folder exactly what the image holds. It must run as root, who may give files away.
func (im image) assemble(t *testing.T, folder string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chmod(folder, 0o755))
	for _, words := range im.copies {
		owner := 0
		for strings.HasPrefix(words[0], "--") {
			if name, value, _ := strings.Cut(words[0], "="); name == "--chown" {
				if value != im.user {
					t.Fatalf("COPY --chown=%s: want the user of the image, %s", value, im.user)
				}
				var err error
				owner, _, err = im.ids()
				must(err)
			}
			words = words[1:]
		}
		if len(words) != 2 {
			t.Fatalf("COPY %q: want a source and a target", words)
		}
		source, target := words[0], words[1]
		into := filepath.Join(folder, filepath.FromSlash(target))
		switch {
		case source == im.program:
			writeProgram(t, into)
		case source == "/licences":
			must(os.MkdirAll(filepath.Join(into, "go"), 0o755)) // the texts are a matter of scripts/check
		case strings.HasSuffix(source, "/") && im.folders[path.Clean(source)] != 0:
			for made, mode := range im.folders {
				if name, below := strings.CutPrefix(made, source); below {
					at := filepath.Join(into, filepath.FromSlash(name))
					must(os.MkdirAll(at, 0o755))
					must(os.Chown(at, owner, owner))
					must(syscallChmod(at, mode))
				}
			}
		case strings.HasPrefix(source, "/etc/ssl/certs/"):
			text, err := os.ReadFile(source)
			if err != nil {
				t.Skipf("the certificates of the image are those of a Debian, and there are none here: %v", err)
			}
			must(os.MkdirAll(filepath.Dir(filepath.Join(into, "x")), 0o755))
			must(os.WriteFile(filepath.Join(into, path.Base(source)), text, 0o644))
		default:
			t.Fatalf("COPY %s: this test does not know where it comes from", source)
		}
	}
}

// syscallChmod is os.Chmod with a mode as the system has it.
func syscallChmod(path string, mode fs.FileMode) error {
	return exec.Command("chmod", strconv.FormatUint(uint64(mode), 8), path).Run()
}

// TestImage_IsWhatTasksAndFunctionsNeed: a static program that runs as nobody in particular, with certificates and a volume at /tmp that it
// may write to. The image of a repository of "init" is the same with another program.
func TestImage_IsWhatTasksAndFunctionsNeed(t *testing.T) {
	t.Parallel()
	im := ourImage(t)
	uid, gid, err := im.ids()
	if err != nil || uid == 0 || gid == 0 {
		t.Errorf("USER %q: want numbers, as there is no /etc/passwd, and none of root", im.user)
	}
	if !slices.Equal(im.volumes, []string{"/tmp"}) || im.folders["/image/tmp"] != 0o1777 {
		t.Errorf("volumes %q, folders %v: want /tmp with mode 1777", im.volumes, im.folders)
	}
	if !slices.Equal(im.entrypoint, []string{im.program}) {
		t.Errorf("ENTRYPOINT %q: want %s", im.entrypoint, im.program)
	}
	for _, want := range []string{"CGO_ENABLED=0", "GOOS=$TARGETOS", "GOARCH=$TARGETARCH", "-trimpath", "main.version=$VERSION"} {
		if !strings.Contains(im.build, want) {
			t.Errorf("the build is %q, want %s in it", im.build, want)
		}
	}
	ours, err := os.ReadFile(filepath.Join(repositoryRoot, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := os.ReadFile(filepath.Join(repositoryRoot, "examples", "acme", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parseDockerfile(string(theirs)); err != nil {
		t.Errorf("examples/acme: %v", err)
	}
	_, want, _ := strings.Cut(string(ours), "FROM scratch")
	_, got, _ := strings.Cut(string(theirs), "FROM scratch")
	if want = strings.ReplaceAll(want, "/fanout", "/platform"); got != want {
		t.Errorf("examples/acme: the image is\n%s\nwant\n%s", got, want)
	}
}
