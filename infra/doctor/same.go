package doctor

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// same tells whether two values of an attribute mean the same: JSON is compared by what it says, where numbers may be text and the order in
// lists does not count, as in a filter policy or a list of ARNs.
func same(a, b string) bool {
	return a == b || canonical(a) == canonical(b)
}

func canonical(text string) string {
	if !strings.HasPrefix(strings.TrimSpace(text), "{") {
		return text
	}
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		return text
	}
	return object(plain(value))
}

// plain makes text of numbers and truth values, and sorts lists.
func plain(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, member := range value {
			value[key] = plain(member)
		}
		return value
	case []any:
		list := make([]any, len(value))
		for i, member := range value {
			list[i] = plain(member)
		}
		slices.SortFunc(list, func(a, b any) int { return cmp.Compare(object(a), object(b)) })
		return list
	case nil:
		return nil
	default:
		return fmt.Sprint(value)
	}
}
