package core

// recentIDs are the last few thousand messages that are done with but may come again. The zero value has none.
type recentIDs struct {
	known map[string]bool
	order []string
}

// maxRecentIDs bounds recentIDs. A forgotten message would be handled once more, which every handler must bear anyway.
const maxRecentIDs = 10_000

func (r *recentIDs) has(id string) bool { return r.known[id] }

func (r *recentIDs) add(id string) {
	if r.known[id] {
		return
	}
	if r.known == nil {
		r.known = map[string]bool{}
	}
	if len(r.order) == maxRecentIDs {
		delete(r.known, r.order[0])
		r.order = r.order[1:]
	}
	r.known[id] = true
	r.order = append(r.order, id)
}

// remove forgets an ID. Its place is used up all the same.
func (r *recentIDs) remove(id string) { delete(r.known, id) }
