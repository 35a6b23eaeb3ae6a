package wire

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/device-fanout/fanout/infra/local/queue"
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
}

func newStatusQueue(s queue.Status) statusQueue {
	return statusQueue{
		Name: s.Name, FIFO: s.FIFO, Visible: s.Visible, InFlight: s.InFlight, Delayed: s.Delayed,
		OldestAgeSeconds: s.OldestAge.Round(time.Millisecond).Seconds(),
		LockedGroups:     s.LockedGroups, Waiting: s.Waiting,
	}
}

func (h *Handler) servePage(path string) *Response {
	switch path {
	case pageHealth:
		return &Response{Status: http.StatusOK, ContentType: "text/plain; charset=utf-8", Body: []byte("ok\n")}
	case pageStatus:
		page := statusPage{
			Queues: []statusQueue{}, Requests: h.Requests(), Entries: h.Entries(), Faults: make(map[string]int64),
		}
		for _, s := range h.Queues.Status() {
			page.Queues = append(page.Queues, newStatusQueue(s))
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
