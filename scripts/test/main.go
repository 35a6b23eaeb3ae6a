// Command test runs go test with the arguments that it is given and shows what go test would show. At the end it lists what was
// skipped, by the reason that the tests give, which says how to run them: go test keeps that to itself unless it is asked for every line.
//
//	go run ./scripts/test -race ./...
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

func main() {
	cmd := exec.Command("go", append([]string{"test", "-json"}, os.Args[1:]...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "test:", err)
		os.Exit(1)
	}
	skipped := show(out, os.Stdout)
	err = cmd.Wait()
	report(os.Stdout, skipped)
	if err != nil {
		os.Exit(1)
	}
}

// event is what go test -json writes; see go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// key is a test, or a package if test is empty.
type key struct{ pkg, test string }

// show copies to w what somebody has to see: a line for each package, and all that tests have said that failed. It returns the skipped
// tests by their reason.
func show(r io.Reader, w io.Writer) map[string][]key {
	said := map[key][]string{} // by tests that have not ended, and by packages
	skipped := map[string][]key{}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		var e event
		if json.Unmarshal([]byte(line), &e) != nil {
			_, _ = io.WriteString(w, line)
		}
		k := key{e.Package, e.Test}
		switch {
		case e.Action == "build-output":
			_, _ = io.WriteString(w, e.Output)
		case e.Action == "output" && e.Test == "" && aPackage.MatchString(e.Output):
			_, _ = io.WriteString(w, e.Output)
		case e.Action == "output":
			said[k] = append(said[k], e.Output)
		case e.Action == "skip" && e.Test != "":
			why := reason(said[k])
			skipped[why] = append(skipped[why], k)
			delete(said, k)
		case e.Action == "pass" && e.Test != "":
			delete(said, k)
		case e.Action == "fail":
			_, _ = io.WriteString(w, strings.Join(said[k], ""))
			delete(said, k)
			if e.Test == "" { // what its tests were doing when it ended
				rest := slices.SortedFunc(maps.Keys(said), func(a, b key) int { return cmp.Compare(a.test, b.test) })
				for _, other := range rest {
					if other.pkg == e.Package {
						_, _ = io.WriteString(w, strings.Join(said[other], ""))
						delete(said, other)
					}
				}
			}
		}
		if err != nil {
			return skipped
		}
	}
}

var (
	aPackage = regexp.MustCompile(`^(ok|\?|FAIL) *\t`)
	// place is what testing puts in front of a reason.
	place = regexp.MustCompile(`^ *[\w.-]+\.go:\d+: `)
)

// reason is why a test was skipped, of what it has said.
func reason(said []string) string {
	for _, line := range slices.Backward(said) {
		if place.MatchString(line) {
			return strings.TrimSpace(place.ReplaceAllString(line, ""))
		}
	}
	return "no reason given"
}

// report lists the skipped tests: their number for each reason, and the first of them.
func report(w io.Writer, skipped map[string][]key) {
	total := 0
	for _, tests := range skipped {
		total += len(tests)
	}
	if total == 0 {
		return
	}
	fmt.Fprintf(w, "\nskipped: %d tests\n", total)
	reasons := slices.SortedFunc(maps.Keys(skipped), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(skipped[b]), len(skipped[a])), cmp.Compare(a, b))
	})
	for _, why := range reasons {
		tests := skipped[why]
		fmt.Fprintf(w, "%5d  %s\n", len(tests), why)
		names := map[string]bool{}
		for _, k := range tests {
			top, _, _ := strings.Cut(k.test, "/")
			names[k.pkg[strings.LastIndexByte(k.pkg, '/')+1:]+"."+top] = true
		}
		some := slices.Sorted(maps.Keys(names))
		more := ""
		if len(some) > 3 {
			more = fmt.Sprintf(" and %d more", len(some)-3)
		}
		fmt.Fprintf(w, "       %s%s\n", strings.Join(some[:min(3, len(some))], ", "), more)
	}
}
