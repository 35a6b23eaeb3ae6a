// Package docs_test checks the documentation against the repository: what a page names must exist.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository, as seen from here.
const root = ".."

// pages gives every page that is checked, by its path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	read := func(path string) {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		texts[path] = string(text)
	}
	read("README.md")
	read("CONTRIBUTING.md")
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			read(filepath.Join("docs", path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

var (
	fence    = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	code     = regexp.MustCompile("`([^`\n]+)`")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	testName = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`)
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w*)\(`)
	filePath = regexp.MustCompile(`^[\w.*-]+(?:/[\w.*-]+)+/?$`)
	heading  = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

// withoutFences is a page without its blocks of code: these are what a reader writes, not what is here.
func withoutFences(text string) string { return fence.ReplaceAllString(text, "") }

func TestDocs_TestsThatAreNamedExist(t *testing.T) {
	t.Parallel()
	there := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "cdk.out" || d.Name() == ".git"):
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		for _, found := range testFunc.FindAllSubmatch(text, -1) {
			there[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for page, text := range pages(t) {
		for _, name := range testName.FindAllString(withoutFences(text), -1) {
			if !there[name] {
				t.Errorf("%s: there is no test %s", page, name)
			}
		}
	}
}

func TestDocs_PathsThatAreNamedExist(t *testing.T) {
	t.Parallel()
	top, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	folders := []string{"examples", "internal"}
	for _, entry := range top {
		if entry.IsDir() {
			folders = append(folders, entry.Name())
		}
	}
	for page, text := range pages(t) {
		for _, found := range code.FindAllStringSubmatch(withoutFences(text), -1) {
			path := strings.TrimSuffix(found[1], "/")
			first, _, _ := strings.Cut(path, "/")
			if !filePath.MatchString(path) || !slices.Contains(folders, first) {
				continue
			}
			if matches, err := filepath.Glob(filepath.Join(root, path)); err != nil || len(matches) == 0 {
				t.Errorf("%s: there is no %s", page, path)
			}
		}
	}
}

func TestDocs_LinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	texts := pages(t)
	for page, text := range texts {
		for _, found := range link.FindAllStringSubmatch(withoutFences(text), -1) {
			target, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			to := page
			if target != "" {
				to = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s: the link %s leads nowhere: %v", page, found[1], err)
			} else if anchor != "" && !slices.Contains(anchors(texts[to]), anchor) {
				t.Errorf("%s: the link %s leads to no heading of %s", page, found[1], to)
			}
		}
	}
}

// anchors are what GitHub calls the headings of a page.
func anchors(text string) []string {
	var names []string
	for _, found := range heading.FindAllStringSubmatch(withoutFences(text), -1) {
		name := strings.Map(func(c rune) rune {
			switch {
			case c == ' ':
				return '-'
			case c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z':
				return c
			}
			return -1
		}, strings.ToLower(found[1]))
		names = append(names, name)
	}
	return names
}

// The program in the README is one that compiles and is tested.
func TestDocs_ProgramOfTheREADMEIsTheTestedOne(t *testing.T) {
	t.Parallel()
	program, err := os.ReadFile("examples/quickstart/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(pages(t)["README.md"], "```go\n"+string(program)+"```\n") {
		t.Error("README.md: its program is not docs/examples/quickstart/main.go, word for word")
	}
}

// Pictures are for a page that loads quickly.
func TestDocs_PicturesAreSmall(t *testing.T) {
	t.Parallel()
	pictures, err := filepath.Glob("images/*")
	if err != nil || len(pictures) == 0 {
		t.Fatalf("got %v (%v), want pictures", pictures, err)
	}
	for _, path := range pictures {
		if info, err := os.Stat(path); err != nil || info.Size() > 250<<10 {
			t.Errorf("%s: want a file of at most 250 KB (%v)", path, err)
		}
	}
}

var quoted = regexp.MustCompile("(?ms)^<!-- from (\\S+) -->\n```go\n(.*?)^```$")

// Code that a page takes from a file stands there word for word, and is tested there.
func TestDocs_QuotedCodeIsThatOfItsFile(t *testing.T) {
	t.Parallel()
	for page, text := range pages(t) {
		for _, found := range quoted.FindAllStringSubmatch(text, -1) {
			file, err := os.ReadFile(filepath.Join(root, found[1]))
			if err != nil || !strings.Contains(string(file), found[2]) {
				t.Errorf("%s: its code is not in %s as it stands there (%v)", page, found[1], err)
			}
		}
	}
}
