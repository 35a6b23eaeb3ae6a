package wire

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/device-fanout/fanout/infra/local/internal/queue"
)

// Pages that are not AWS's: a sign of life, and what the queues hold.
const (
	pagePrefix = "/_fanout/"
	pageHealth = pagePrefix + "health"
	pageStatus = pagePrefix + "status"
)

type statusPage struct {
	Queues   []statusQueue    `json:"queues"`
	Requests map[string]int64 `json:"requests"`
	Entries  map[string]int64 `json:"entries"`
	Billed   map[string]int64 `json:"billed"`
	Faults   map[string]int64 `json:"faults"`
}

type statusQueue struct {
	Name             string  `json:"name"`
	FIFO             bool    `json:"fifo"`
	Visible          int     `json:"visible"`
	InFlight         int     `json:"in_flight"`
	Delayed          int     `json:"delayed"`
	OldestAgeSeconds float64 `json:"oldest_age_seconds"`
	LockedGroups     int     `json:"locked_groups"`
	Waiting          int     `json:"waiting"`

	Locked []statusGroup `json:"locked,omitempty"` // the first ones, longest locked first
}

type statusGroup struct {
	Group     string    `json:"group"`
	MessageID string    `json:"message_id"`
	Since     time.Time `json:"since"`
	Behind    int       `json:"behind"`
}

func newStatusQueue(s queue.Status, locked []queue.LockedGroup) statusQueue {
	page := statusQueue{
		Name: s.Name, FIFO: s.FIFO, Visible: s.Visible, InFlight: s.InFlight, Delayed: s.Delayed,
		OldestAgeSeconds: s.OldestAge.Round(time.Millisecond).Seconds(),
		LockedGroups:     s.LockedGroups, Waiting: s.Waiting,
	}
	for _, g := range locked {
		page.Locked = append(page.Locked, statusGroup{g.GroupID, g.MessageID, g.Since.UTC(), g.Behind})
	}
	return page
}

func (h *Handler) servePage(path string) *Response {
	switch path {
	case pageHealth:
		return &Response{Status: http.StatusOK, ContentType: "text/plain; charset=utf-8", Body: []byte("ok\n")}
	case pageStatus:
		page := statusPage{
			Queues: []statusQueue{}, Requests: h.Requests(), Entries: h.Entries(), Billed: h.Billed(),
			Faults: make(map[string]int64),
		}
		for _, s := range h.Queues.Status() {
			var locked []queue.LockedGroup
			if q, err := h.Queues.Queue(s.Name); err == nil {
				locked, _ = q.LockedGroups() // a queue that was deleted just now has none
			}
			page.Queues = append(page.Queues, newStatusQueue(s, locked))
		}
		for kind, count := range h.Faults.Injected() {
			page.Faults[kind.String()] = count
		}
		body, err := json.MarshalIndent(page, "", "  ")
		if err != nil {
			return &Response{Status: http.StatusInternalServerError, ContentType: "text/plain", Body: []byte(err.Error())}
		}
		return &Response{Status: http.StatusOK, ContentType: "application/json", Body: append(body, '\n')}
	default:
		return &Response{
			Status: http.StatusNotFound, ContentType: "text/plain; charset=utf-8",
			Body: []byte("no such page; there are " + pageHealth + " and " + pageStatus + "\n"),
		}
	}
}
