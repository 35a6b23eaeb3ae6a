package policy_test

import (
	"errors"
	"testing"

	"github.com/device-fanout/fanout/infra/local/internal/policy"
)

func TestRemove_LeavesTheOthersAsTheyAre(t *testing.T) {
	t.Parallel()
	const text = `{"Version":"2012-10-17","Statement":[{"Sid":"a","Condition":{"x":[1]}},{"Sid":"b"}]}`
	for _, c := range []struct {
		text, label, want string
		err               error
	}{
		{text, "b", `{"Version":"2012-10-17","Statement":[{"Sid":"a","Condition":{"x":[1]}}]}`, nil},
		{text, "c", "", policy.ErrLabelUnknown},
		{"", "c", "", policy.ErrLabelUnknown},
		{`{"Statement":{"Sid":"a"}}`, "a", "", nil},
		{`{"Version":"1"}`, "a", "", policy.ErrLabelUnknown},
	} {
		got, err := policy.Remove(c.text, c.label)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("remove %s from %s: got %q, %v, want %q, %v", c.label, c.text, got, err, c.want, c.err)
		}
	}
}

func TestAdd_RefusesWhatIsNoPolicy(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"x", "[]", `"x"`} {
		if got, err := policy.Add(text, "id", policy.Grant{Label: "a"}); err == nil {
			t.Errorf("added to %s: %s", text, got)
		}
	}
}
