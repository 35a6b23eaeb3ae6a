package consumers

// memory knows the last few thousand messages that are done with but may come again. The zero value is empty.
type memory struct {
	known map[string]bool
	order []string
}

// memorySize bounds a memory. A forgotten message would be handled once more, which every handler must bear anyway.
const memorySize = 10_000

func (d *memory) has(id string) bool { return d.known[id] }

func (d *memory) add(id string) {
	if d.known[id] {
		return
	}
	if d.known == nil {
		d.known = map[string]bool{}
	}
	if len(d.order) == memorySize {
		delete(d.known, d.order[0])
		d.order = d.order[1:]
	}
	d.known[id] = true
	d.order = append(d.order, id)
}
