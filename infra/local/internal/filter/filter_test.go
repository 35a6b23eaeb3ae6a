package filter_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/device-fanout/fanout/infra/local/internal/filter"
)

// attribute is "Type value"; attributes are by name.
func matches(t *testing.T, policy string, attributes map[string]string) bool {
	t.Helper()
	p, err := filter.Parse(policy, filter.Attributes)
	if err != nil {
		t.Fatalf("%s: %v", policy, err)
	}
	return p.MatchAttributes(func(name string) (string, string, bool) {
		a, ok := attributes[name]
		kind, value, _ := strings.Cut(a, " ")
		return kind, value, ok
	})
}

func TestPolicy_MatchesAttributes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy string
		yes    []string // values of attribute a, "" for none
		no     []string
	}{
		{`{"a":["x"]}`, []string{"String x", "String.label x"}, []string{"String X", "String xx", "Binary x", ""}},
		{`{"a":["x","y"]}`, []string{"String x", "String y"}, []string{"String z"}},
		{`{"a":[15]}`, []string{"Number 15", "Number 15.0", "Number 1.5e1"}, []string{"String 15", "Number 15.1", "Number x", ""}},
		{`{"a":["15"]}`, []string{"String 15"}, []string{"Number 15"}},
		{`{"a":[{"prefix":"dev."}]}`, []string{"String dev.x", "String dev."}, []string{"String de", "String xdev.", "Number 1", ""}},
		{`{"a":[{"suffix":".v1"}]}`, []string{"String x.v1"}, []string{"String x.v2", ""}},
		{`{"a":[{"equals-ignore-case":"Tennis"}]}`, []string{"String TENNIS"}, []string{"String tenni", ""}},
		{`{"a":[{"anything-but":["prod","test"]}]}`, []string{"String dev", "Number 5"}, []string{"String prod", "String test", "Binary x", ""}},
		{`{"a":[{"anything-but":"prod"}]}`, []string{"String dev"}, []string{"String prod", ""}},
		{`{"a":[{"anything-but":[1,2]}]}`, []string{"Number 3", "String 1"}, []string{"Number 1.0", ""}},
		{`{"a":[{"anything-but":{"prefix":"p"}}]}`, []string{"String dev", "Number 1"}, []string{"String prod", ""}},
		{`{"a":[null,{"anything-but":["prod"]}]}`, []string{"String dev"}, []string{""}},
		{`{"a":[{"exists":true}]}`, []string{"String x", "Binary x", "Number x", "String.Array []"}, []string{""}},
		{`{"a":[{"exists":false}]}`, []string{""}, []string{"String x", "Binary x"}},
		{`{"a":[{"numeric":[">",0,"<=",100]}]}`, []string{"Number 99", "Number 100", "Number 0.001"}, []string{"Number 0", "Number 100.1", "Number 111", "String 50", ""}},
		{`{"a":[{"numeric":["=",5]}]}`, []string{"Number 5.0"}, []string{"Number 6"}},
		{`{"a":[{"numeric":["<",5]}]}`, []string{"Number -1e9"}, []string{"Number 5"}},
		{`{"a":[{"numeric":["<=",5]}]}`, []string{"Number 5"}, []string{"Number 6"}},
		{`{"a":[{"numeric":[">=",5]}]}`, []string{"Number 5"}, []string{"Number 4.9"}},
		{`{"a":[{"cidr":"10.1.0.0/16"}]}`, []string{"String 10.1.2.3"}, []string{"String 10.2.2.3", "String x", "Number 10", ""}},
		{`{"a":["value1"]}`, []string{`String.Array ["value1","x"]`}, []string{`String.Array ["x"]`, `String.Array []`}},
		{`{"a":[true,null,7]}`, []string{`String.Array [true]`, `String.Array [null]`, `String.Array [7.0]`}, []string{`String.Array [false]`, "String true"}},
		{`{"$or":[{"a":["x"]},{"a":[{"prefix":"y"}]}]}`, []string{"String x", "String yy"}, []string{"String z", ""}},
		{`{"$or":["x"]}`, nil, []string{"String x"}},
		{`{}`, []string{"String x", ""}, nil},
	} {
		for want, values := range map[bool][]string{true: c.yes, false: c.no} {
			for _, value := range values {
				attributes := map[string]string{"a": value}
				if value == "" {
					delete(attributes, "a")
				}
				if got := matches(t, c.policy, attributes); got != want {
					t.Errorf("%s matches %q: got %t, want %t", c.policy, value, got, want)
				}
			}
		}
	}
}

func TestPolicy_AllKeysMustMatch(t *testing.T) {
	t.Parallel()
	const policy = `{"a":["x"],"b":["y"],"$or":[{"c":["1"]},{"d":["2"]}]}`
	for attributes, want := range map[string]bool{"a=x b=y c=1": true, "a=x b=y d=2": true, "a=x b=y": false, "a=x c=1": false} {
		all := map[string]string{}
		for pair := range strings.FieldsSeq(attributes) {
			name, value, _ := strings.Cut(pair, "=")
			all[name] = "String " + value
		}
		if got := matches(t, policy, all); got != want {
			t.Errorf("%s: got %t, want %t", attributes, got, want)
		}
	}
}

func TestPolicy_MatchesBodies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy  string
		yes, no []string
	}{
		{
			`{"object":{"key":[{"prefix":"auto-"},"hardcodedvalue"]}}`,
			[]string{`{"object":{"key":"auto-test"}}`, `{"object":{"key":"hardcodedvalue","x":[]}}`, `{"object":[{"key":"no"},{"key":"auto-x"}]}`},
			[]string{`{"object":{"key":"x"}}`, `{"object":"auto-"}`, `{}`},
		},
		{
			`{"headers":{"route-to":["queue1"]}}`,
			[]string{`{"headers":{"route-to":["queue1","queue2"]}}`, `{"headers":{"route-to":[["x"],["queue1"]]}}`},
			[]string{`{"headers":{"route-to":["queue2"]}}`, `{"headers":{"route-to":[]}}`},
		},
		{`{"a":{"b":[{"exists":false}]}}`, []string{`{"a":{"c":1}}`, `{"z":1}`, `{"a":{"b":[]}}`, `{"a":null}`}, []string{`{"a":{"b":1}}`, `{"a":{"b":null}}`}},
		{`{"a":[{"exists":true}]}`, []string{`{"a":{"x":1}}`, `{"a":null}`, `{"a":0}`}, []string{`{"b":1}`}},
		{`{"a.b":["x"]}`, []string{`{"a":{"b":"x"}}`, `{"a.b":"x"}`}, []string{`{"a":"x"}`}},
		{`{"a":{"b":["x"]}}`, []string{`{"a.b":"x"}`}, []string{`{"a.c":"x"}`}},
		{`{"a":[null,true,1]}`, []string{`{"a":null}`, `{"a":true}`, `{"a":1.0}`}, []string{`{"a":false}`, `{"a":"1"}`, `{}`}},
		{`{"a":{"x":[1],"y":[2]}}`, []string{`{"a":[{"x":1,"y":2}]}`}, []string{`{"a":[{"x":1},{"y":2}]}`}},
		{`{"a":{"$or":[{"x":[1]},{"y":[2]}]}}`, []string{`{"a":{"y":2}}`}, []string{`{"a":{"x":2}}`}},
	} {
		p, err := filter.Parse(c.policy, filter.Body)
		if err != nil {
			t.Fatalf("%s: %v", c.policy, err)
		}
		for want, bodies := range map[bool][]string{true: c.yes, false: c.no} {
			for _, body := range bodies {
				m, ok := filter.ParseBody(body)
				if !ok {
					t.Fatalf("%s is no body", body)
				}
				if got := p.MatchBody(m); got != want {
					t.Errorf("%s matches %s: got %t, want %t", c.policy, body, got, want)
				}
			}
		}
	}
	for _, body := range []string{"", "x", "[]", `"x"`, "null", "{}{}", "{", `{"a":"x"}}`, `{"a":"x"}]`, "{} x"} {
		if _, ok := filter.ParseBody(body); ok {
			t.Errorf("%q is taken for an object", body)
		}
	}
}

func TestParse_Refuses(t *testing.T) {
	t.Parallel()
	values := func(n int) string {
		return strings.TrimSuffix(strings.Repeat(`"x",`, n), ",")
	}
	for _, c := range []struct {
		scope        filter.Scope
		policy, want string
	}{
		{filter.Attributes, `{"key":[]}`, "Empty arrays are not allowed"},
		{filter.Attributes, `{"key":[["v"]]}`, "Match value must be String, number, true, false, or null"},
		{filter.Attributes, `{"key":[{"x":1}]}`, "Unrecognized match type x"},
		{filter.Attributes, `{"key":[{"wildcard":"x*"}]}`, "Unrecognized match type wildcard"},
		{filter.Attributes, `{"key":[{"prefix":"a","suffix":"b"}]}`, "Only one key allowed in match expression"},
		{filter.Attributes, `{"key":"v"}`, `"key" must be an object or an array`},
		{filter.Attributes, `{"key":[{"suffix":1}]}`, "suffix match pattern must be a string"},
		{filter.Attributes, `{"key":[{"prefix":["a"]}]}`, "prefix match pattern must be a string"},
		{filter.Attributes, `{"key":[{"exists":"x"}]}`, "exists match pattern must be either true or false."},
		{filter.Attributes, `{"key":[{"numeric":[]}]}`, "Invalid member in numeric match: ]"},
		{filter.Attributes, `{"key":[{"numeric":["x",1]}]}`, "Unrecognized numeric range operator: x"},
		{filter.Attributes, `{"key":[{"numeric":["=","x"]}]}`, "Value of equals must be numeric"},
		{filter.Attributes, `{"key":[{"numeric":[">=","x"]}]}`, "Value of >= must be numeric"},
		{filter.Attributes, `{"key":[{"numeric":[">",1,"<","30"]}]}`, "Bad value in numeric range: 30"},
		{filter.Attributes, `{"key":[{"numeric":[">",1,"x",30]}]}`, "Bad numeric range operator: x"},
		{filter.Attributes, `{"key":[{"numeric":[">",30,"<",10]}]}`, "Bottom must be less than top"},
		{filter.Attributes, `{"key":[{"numeric":["<",1,"<",2]}]}`, "Too many elements in numeric expression"},
		{filter.Attributes, `{"key":[{"numeric":[">",1,"<",2,3]}]}`, "Too many terms in numeric range expression"},
		{filter.Attributes, `{"key":[{"anything-but":{"suffix":"x"}}]}`, "Unsupported anything-but pattern: suffix"},
		{filter.Attributes, `{"key":[{"anything-but":[]}]}`, "Empty arrays are not allowed"},
		{filter.Attributes, `{"key":[{"anything-but":[true]}]}`, "not supported"},
		{filter.Attributes, `{"key":[{"cidr":"10.0.0.0"}]}`, "Malformed CIDR, one '/' required"},
		{filter.Attributes, `{"key":[{"cidr":"10.0.0.0/x"}]}`, "Malformed CIDR, mask bits must be an integer"},
		{filter.Attributes, `{"key":[{"cidr":"10.0.0/8"}]}`, "Nonstandard IP address: 10.0.0"},
		{filter.Attributes, `{"key":[2e9]}`, "between"},
		{filter.Attributes, `{"key":{"nested":["x"]}}`, "Filter policy scope MessageAttributes does not support nested filter policy"},
		{filter.Attributes, `{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1],"f":[1]}`, "Filter policy can not have more than 5 keys"},
		{filter.Body, `{"p":{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1],"f":[1]}}`, "Filter policy can not have more than 5 keys"},
		{filter.Attributes, `{"key":[` + values(151) + `]}`, "Filter policy is too complex"},
		{filter.Body, `{"a":{"b":[` + values(76) + `]}}`, "Filter policy is too complex"},
		{filter.Body, `{"$or":[{"a":[` + values(76) + `]},{"b":[` + values(76) + `]}]}`, "Filter policy is too complex"},
		{filter.Attributes, `[]`, "failed to parse JSON."},
		{filter.Attributes, `{"a":`, "failed to parse JSON."},
		{filter.Attributes, `{}{}`, "failed to parse JSON."},
		{filter.Attributes, ``, "failed to parse JSON."},
	} {
		_, err := filter.Parse(c.policy, c.scope)
		refused, ok := errors.AsType[*filter.Error](err)
		if !ok || !strings.Contains(refused.Reason, c.want) {
			t.Errorf("%.60s: got error %v, want %s", c.policy, err, c.want)
		}
	}
}

func TestParse_TakesWhatIsAtTheLimit(t *testing.T) {
	t.Parallel()
	values := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprint(i))
		}
		return strings.Join(all, ",")
	}
	for policy, scope := range map[string]filter.Scope{
		`{"key":[` + values(150) + `]}`:                                                   filter.Attributes,
		`{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1]}`:                                       filter.Attributes,
		`{"a":{"b":[` + values(75) + `]}}`:                                                filter.Body,
		`{"$or":[{"a":[` + values(75) + `]},{"b":[` + values(75) + `]}]}`:                 filter.Body,
		`{"p":{"a":[1],"b":[1],"c":[1],"d":[1],"e":[1]}}`:                                 filter.Body,
		`{"a":[{"anything-but":[1,"x"]},{"numeric":["<=",-5]},{"cidr":"2001:db8::/32"}]}`: filter.Attributes,
	} {
		if _, err := filter.Parse(policy, scope); err != nil {
			t.Errorf("%.60s: %v", policy, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, policy := range []string{
		`{"type":["device.power.changed.v1",{"prefix":"device."}],"source":[{"anything-but":["a",1]}]}`,
		`{"a":{"b":[{"numeric":[">",0,"<=",100]},{"exists":false},null,true]},"$or":[{"c":[{"cidr":"::/0"}]},{"d":[1]}]}`,
		`{"a.b":[{"suffix":"x"},{"equals-ignore-case":"y"}]}`, `{"key":[]}`, `[`, ``,
	} {
		f.Add(policy, `{"a":[{"b":1},{"b":null}],"a.b":"x"}`)
	}
	f.Fuzz(func(t *testing.T, policy, body string) {
		for _, scope := range []filter.Scope{filter.Attributes, filter.Body} {
			p, err := filter.Parse(policy, scope)
			if err != nil {
				if _, ok := errors.AsType[*filter.Error](err); !ok {
					t.Fatalf("the error %v has type %T", err, err)
				}
				continue
			}
			if scope == filter.Attributes {
				p.MatchAttributes(func(string) (string, string, bool) { return "String.Array", body, true })
				p.MatchAttributes(func(string) (string, string, bool) { return "", "", false })
			} else if m, ok := filter.ParseBody(body); ok {
				p.MatchBody(m)
			}
		}
	})
}

func BenchmarkPolicy_MatchAttributes(b *testing.B) {
	p, err := filter.Parse(`{"type":["device.power.changed.v1","device.contact.changed.v1",{"prefix":"device.motion."}]}`, filter.Attributes)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.MatchAttributes(func(string) (string, string, bool) { return "String", "device.motion.changed.v1", true })
	}
}
