package evidence

import (
	"strconv"
	"testing"
	"time"
)

// story tells an Evidence what happened, with seconds as its time.
type story struct {
	Evidence
	t *testing.T
}

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(second float64) time.Time {
	return began.Add(time.Duration(second * float64(time.Second)))
}

func (s *story) failed(id string, from, to float64) { s.Failed(id, "bell", at(from), at(to)) }
func (s *story) another(eventType string, second float64) {
	s.Handled(eventType, at(second), at(second))
}

func (s *story) want(id string, shows bool) {
	s.t.Helper()
	if got := s.Shows(id); got != shows {
		s.t.Errorf("%s: shows %t, want %t", id, got, shows)
	}
}

func TestShows(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(*story){
		"nothing": func(s *story) { s.want("a", false) },
		"others before it failed": func(s *story) {
			s.another("bell", 0)
			s.failed("a", 1, 2)
			s.failed("a", 3, 4)
			s.want("a", false)
		},
		"others of its type, and it failed again": func(s *story) {
			s.failed("a", 1, 2)
			s.another("bell", 3)
			s.want("a", false) // it may be well by now
			s.failed("a", 4, 5)
			s.want("a", true)
		},
		"at one time": func(s *story) { // clocks are coarse
			s.failed("a", 1, 1)
			s.another("bell", 1)
			s.failed("a", 1, 1)
			s.want("a", true)
		},
		"others while the attempt went on": func(s *story) { // which may have begun in an outage
			s.failed("a", 1, 2)
			s.failed("a", 3, 30)
			s.another("bell", 20)
			s.want("a", false)
			s.failed("a", 31, 32)
			s.want("a", true)
		},
		"others, of which one while the attempt went on": func(s *story) {
			s.failed("a", 1, 2)
			s.another("bell", 3)
			s.another("bell", 20)
			s.failed("a", 4, 30)
			s.want("a", true)
		},
		"another that began before it failed": func(s *story) { // and may have done its work before the outage
			s.failed("a", 1, 2)
			s.Handled("bell", at(1), at(3))
			s.failed("a", 4, 5)
			s.want("a", false)
		},
		"a check that began before it failed": func(s *story) {
			s.failed("a", 1, 2)
			s.Passed(at(1.5), at(3))
			s.failed("a", 4, 5)
			s.want("a", false)
			s.Passed(at(6), at(7))
			s.failed("a", 8, 9)
			s.want("a", true)
		},
		"others of another type": func(s *story) {
			s.failed("a", 1, 2)
			s.another("lamp", 3)
			s.failed("a", 4, 5)
			s.want("a", false)
		},
		"a check": func(s *story) {
			s.failed("a", 1, 2)
			s.Passed(at(2.5), at(3))
			s.failed("a", 4, 5)
			s.want("a", true)
		},
		"a check before it failed": func(s *story) {
			s.Passed(at(0), at(0))
			s.failed("a", 1, 2)
			s.failed("a", 4, 5)
			s.want("a", false)
		},
		"a doubt": func(s *story) {
			s.failed("a", 1, 2)
			s.another("bell", 3)
			s.failed("a", 4, 5)
			s.Doubt()
			s.want("a", false)
			s.failed("a", 6, 7)
			s.want("a", false)
			s.another("bell", 8)
			s.failed("a", 9, 10)
			s.want("a", true)
		},
		"forgotten": func(s *story) {
			s.failed("a", 1, 2)
			s.another("bell", 3)
			s.failed("a", 4, 5)
			s.Forget("a")
			s.want("a", false)
			s.failed("a", 6, 7)
			s.want("a", false)
		},
		"each by itself": func(s *story) {
			s.failed("a", 1, 2)
			s.another("bell", 3)
			s.failed("b", 4, 5)
			s.failed("a", 6, 7)
			s.failed("b", 6, 7)
			s.want("a", true)
			s.want("b", false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(&story{t: t})
		})
	}
}

func TestFresh(t *testing.T) {
	t.Parallel()
	s := &story{t: t}
	if s.failed("a", 1, 2); s.Fresh("a") {
		t.Error("nothing was handled: got fresh, want not")
	}
	s.another("bell", 3)
	if !s.Fresh("a") {
		t.Error("handled after it failed: got not fresh, want fresh")
	}
	if s.failed("a", 4, 5); s.Fresh("a") {
		t.Error("handled before it failed again: got fresh, want not")
	}
	s.another("bell", 6)
	if s.Doubt(); s.Fresh("a") || s.Fresh("b") {
		t.Error("doubted, or never failed: got fresh, want not")
	}
}

func TestFirst(t *testing.T) {
	t.Parallel()
	s := &story{t: t}
	s.failed("a", 1, 2)
	s.failed("a", 3, 4)
	s.Doubt()
	if first, ok := s.First("a"); !ok || !first.Equal(at(2)) {
		t.Errorf("got %v, %t, want the second second", first, ok)
	}
	if _, ok := s.First("b"); ok {
		t.Error("b never failed: got a time, want none")
	}
}

// Memory is bounded, and what is forgotten has no evidence.
func TestBounds(t *testing.T) {
	t.Parallel()
	s := &story{t: t}
	s.failed("a", 0, 0)
	s.another("bell", 1)
	s.failed("a", 2, 2)
	s.want("a", true)
	for i := range MaxEvents + 10 {
		id := strconv.Itoa(i)
		s.Failed(id, id, at(3), at(4))
		s.Handled(id, at(5), at(5))
	}
	s.want("a", false)
	s.failed("0", 6, 7)
	s.want("0", false)
	if len(s.failing) != MaxEvents || s.order.Len() != MaxEvents || len(s.shown)+len(s.open) != MaxEvents || len(s.handled) > MaxTypes {
		t.Errorf("got %d failing, %d in order, %d shown, %d open, %d types handled", len(s.failing), s.order.Len(), len(s.shown), len(s.open), len(s.handled))
	}
	for id := range s.failing {
		s.Forget(id)
	}
	if len(s.failing) != 0 || s.order.Len() != 0 || len(s.shown) != 0 || len(s.open) != 0 {
		t.Errorf("after all are forgotten: got %d failing, %d in order, %d shown, %d open", len(s.failing), s.order.Len(), len(s.shown), len(s.open))
	}
}
