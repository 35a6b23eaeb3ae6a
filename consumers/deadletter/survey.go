package deadletter

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
)

// Group sums up the failures with one fingerprint.
type Group struct {
	Service     string    `json:"service"`
	Fingerprint string    `json:"fingerprint"`
	Class       Class     `json:"class"` // of the last to fail
	Code        string    `json:"code"`
	Type        string    `json:"type"`
	Count       int       `json:"count"`
	Devices     int       `json:"devices"`
	LastHour    int       `json:"last_hour"` // those that failed within the last hour
	Redriven    int       `json:"redriven"`  // those that were redriven before
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
	Example     string    `json:"example"` // the first line of an error

	devices map[string]bool
}

// Survey sums up what one look at a dead-letter queue shows.
type Survey struct {
	Service  string    `json:"service"`
	Queue    string    `json:"queue"`
	Delivery bool      `json:"delivery,omitempty"` // see [Source]
	Depth    Depth     `json:"depth"`              // before the scan
	Seen     int       `json:"seen"`               // messages seen
	Matched  int       `json:"matched"`            // those of them that the filter selects
	Foreign  int       `json:"foreign,omitempty"`  // the selected that name another queue, see [Redrive]
	Devices  int       `json:"devices"`            // of the selected
	LastHour int       `json:"last_hour"`          // the selected that failed within the last hour
	Oldest   time.Time `json:"oldest,omitzero"`    // first failure of the selected
	Groups   []*Group  `json:"groups"`             // largest first
}

// Unseen is how many messages could not be seen: those behind the first ten of their device, and those that another reader holds.
func (s *Survey) Unseen() int { return max(0, s.Depth.Total()-s.Seen) }

// Look scans a dead-letter queue and groups what filter selects by fingerprint. It also calls visit, which may be nil, for each selected
// message. See [Scan] for what it can't see.
func Look(ctx context.Context, api interface {
	QueueAPI
	DepthAPI
}, from Source, filter Filter, visit func(*Message),
) (*Survey, error) {
	s := &Survey{Service: from.Service, Queue: from.Name(), Delivery: from.Delivery, Groups: []*Group{}}
	var err error
	if s.Depth, err = ReadDepth(ctx, api, from.URL); err != nil {
		return nil, err
	}
	now := time.Now()
	groups, devices := map[string]*Group{}, map[string]bool{}
	err = Scan(ctx, api, from, func(m *Message) bool {
		s.Seen++
		if filter.Matches(m, now) {
			s.Matched++
			devices[m.DeviceID] = true
			if from.Queue != "" && from.Foreign(m) != "" {
				s.Foreign++
			}
			s.add(groups, m, now)
			if visit != nil {
				visit(m)
			}
		}
		return filter.Limit == 0 || s.Matched < filter.Limit
	})
	s.Devices = len(devices)
	slices.SortFunc(s.Groups, func(a, b *Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return s, err
}

func (s *Survey) add(groups map[string]*Group, m *Message, now time.Time) {
	r := m.Record
	g := groups[r.Fingerprint]
	if g == nil {
		line, _, _ := strings.Cut(r.Error, "\n")
		g = &Group{
			Service: s.Service, Fingerprint: r.Fingerprint, Class: r.Class, Code: r.Code, Type: m.Type, First: r.FailedAt, Example: line,
			devices: map[string]bool{},
		}
		groups[r.Fingerprint] = g
		s.Groups = append(s.Groups, g)
	}
	g.Count++
	g.devices[m.DeviceID] = true
	g.Devices = len(g.devices)
	if r.Redrives > 0 {
		g.Redriven++
	}
	if now.Sub(r.FailedAt) <= time.Hour {
		g.LastHour++
		s.LastHour++
	}
	if r.FailedAt.Before(g.First) {
		g.First = r.FailedAt
	}
	if r.FailedAt.After(g.Last) {
		g.Last, g.Class = r.FailedAt, r.Class
	}
	if s.Oldest.IsZero() || r.FailedAt.Before(s.Oldest) {
		s.Oldest = r.FailedAt
	}
}
