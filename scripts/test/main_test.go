package main

import (
	"strings"
	"testing"
)

func TestShow_FailuresInFullAndSkippedTestsByReason(t *testing.T) {
	t.Parallel()
	input := `{"Action":"build-output","ImportPath":"x","Output":"x.go:1: no such thing\n"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"    a_test.go:3: all well\n"}
{"Action":"pass","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/a","Test":"TestSlow","Output":"=== RUN   TestSlow\n"}
{"Action":"output","Package":"m/a","Test":"TestSlow","Output":"    a_test.go:7: it is slow: run it without -short\n"}
{"Action":"output","Package":"m/a","Test":"TestSlow","Output":"--- SKIP: TestSlow (0.00s)\n"}
{"Action":"skip","Package":"m/a","Test":"TestSlow"}
{"Action":"output","Package":"m/a","Test":"TestBase/postgres","Output":"    b_test.go:7: no PostgreSQL\n"}
{"Action":"skip","Package":"m/a","Test":"TestBase/postgres"}
{"Action":"output","Package":"m/a","Test":"TestBase/again","Output":"    b_test.go:9: no PostgreSQL\n"}
{"Action":"skip","Package":"m/a","Test":"TestBase/again"}
{"Action":"output","Package":"m/a","Output":"PASS\n"}
{"Action":"output","Package":"m/a","Output":"ok  \tm/a\t0.1s\n"}
{"Action":"pass","Package":"m/a"}
{"Action":"output","Package":"m/b","Test":"TestBad","Output":"    b_test.go:5: got 1, want 2\n"}
{"Action":"fail","Package":"m/b","Test":"TestBad"}
{"Action":"output","Package":"m/b","Test":"TestHangs","Output":"panic: test timed out\n"}
{"Action":"output","Package":"m/b","Output":"FAIL\tm/b\t0.1s\n"}
{"Action":"fail","Package":"m/b"}
this is no JSON
`
	var out strings.Builder
	report(&out, show(strings.NewReader(input), &out))
	want := `x.go:1: no such thing
ok  	m/a	0.1s
    b_test.go:5: got 1, want 2
FAIL	m/b	0.1s
panic: test timed out
this is no JSON

skipped: 3 tests
    2  no PostgreSQL
       a.TestBase
    1  it is slow: run it without -short
       a.TestSlow
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}
