package console

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/consumers/parking"
)

// flow is one service in the picture.
type flow struct {
	Service
	Gauge gauge
	DLQ   []dlqView
}

type dlqView struct {
	Name     string
	Delivery bool
	Gauge    gauge
	Seen     *survey // nil if there was none yet
}

type overviewView struct {
	Flows   []flow
	Groups  []groupView
	Dead    int
	Devices devicesView
	Err     error
}

type groupView struct {
	*deadletter.Group
	Queue string
	Parks bool // its devices are released as a whole
}

// picture is the fan-out as it is now, with a survey of each dead-letter queue that holds anything.
func (c *Console) picture(ctx context.Context) overviewView {
	var v overviewView
	var wait sync.WaitGroup
	wait.Go(func() { v.Devices.addBlocked(c.blocked.get(ctx)) })
	v.Err = c.depths.refresh(ctx)
	wait.Wait()
	for _, s := range c.cfg.Services {
		f := flow{Service: s, Gauge: c.depths.gauge(s.QueueURL)}
		for _, from := range s.DLQs {
			d := dlqView{Name: from.Name(), Delivery: from.Delivery, Gauge: c.depths.gauge(from.URL), Seen: c.surveys[from.URL].last()}
			if d.Gauge.Total() > 0 && !c.working(from) {
				seen, err := c.surveys[from.URL].get(ctx, false)
				v.Err = cmp.Or(v.Err, err)
				d.Seen = seen
			}
			v.Dead += d.Gauge.Total()
			if d.Seen != nil && d.Gauge.Total() > 0 {
				for _, g := range d.Seen.Groups {
					v.Groups = append(v.Groups, groupView{g, from.Name(), s.Parks && !from.Delivery})
				}
			}
			f.DLQ = append(f.DLQ, d)
		}
		v.Flows = append(v.Flows, f)
		v.Devices.findParked(ctx, s, func(url string) *survey { return c.surveys[url].last() })
	}
	slices.SortStableFunc(v.Groups, func(a, b groupView) int { return cmp.Compare(b.Count, a.Count) })
	return v
}

// working tells whether a job of this console works on the queue.
func (c *Console) working(from deadletter.Source) bool {
	for _, j := range c.jobViews() {
		if j.Running && j.Queue == from.Name() {
			return true
		}
	}
	return false
}

func (c *Console) overview(w http.ResponseWriter, r *http.Request) {
	c.show(w, http.StatusOK, "overview.html", "Overview", c.picture(r.Context()))
}

// live is the part of the overview that is fetched again and again.
func (c *Console) live(w http.ResponseWriter, r *http.Request) {
	c.show(w, http.StatusOK, "live", "", c.picture(r.Context()))
}

// selection reads a filter from a query or form.
func selection(values url.Values) (deadletter.Filter, error) {
	get := func(name string) string { return strings.TrimSpace(values.Get(name)) }
	f := deadletter.Filter{
		Device: get("device"), Type: get("type"), Code: get("code"), Class: deadletter.Class(get("class")), Fingerprint: get("fingerprint"), Text: get("text"),
	}
	var faults []error
	for name, d := range map[string]*time.Duration{"older": &f.OlderThan, "newer": &f.NewerThan} {
		if text := get(name); text != "" {
			var err error
			if *d, err = time.ParseDuration(text); err != nil {
				faults = append(faults, fmt.Errorf("%s than: got %q, want a duration such as 10m", name, text))
			}
		}
	}
	if text := get("limit"); text != "" {
		var err error
		if f.Limit, err = strconv.Atoi(text); err != nil {
			faults = append(faults, fmt.Errorf("limit: got %q, want a number", text))
		}
	}
	return f, errors.Join(append(faults, f.Validate())...)
}

// words is a selection for people, and query for links.
func words(f deadletter.Filter, messageID string) string {
	var parts []string
	add := func(name, value string) {
		if value != "" && value != "0s" && value != "0" {
			parts = append(parts, name+" "+value)
		}
	}
	add("one event,", messageID)
	add("device", f.Device)
	add("type", f.Type)
	add("code", f.Code)
	add("class", string(f.Class))
	add("fingerprint", f.Fingerprint)
	add("text", f.Text)
	add("older than", f.OlderThan.String())
	add("newer than", f.NewerThan.String())
	add("at most", strconv.Itoa(f.Limit))
	return cmp.Or(strings.Join(parts, ", "), "everything")
}

type queueView struct {
	Service  Service
	From     deadletter.Source
	Gauge    gauge
	Seen     *survey
	Messages []*deadletter.Message
	Total    int // messages that match
	Filter   url.Values
	Query    template.URL
	Classes  []deadletter.Class
	Err      error
}

const messagesShown = 100

func (c *Console) queue(w http.ResponseWriter, r *http.Request) {
	s, from, ok := c.source(r.PathValue("queue"))
	if !ok {
		c.fail(w, http.StatusNotFound, fmt.Errorf("there is no dead-letter queue %s in %s", r.PathValue("queue"), c.cfg.Environment))
		return
	}
	query := r.URL.Query()
	anew := query.Has("look")
	query.Del("look")
	v := queueView{Service: s, From: from, Filter: query, Classes: failure.Classes()}
	filter, err := selection(query)
	v.Query = template.URL(query.Encode()) //nolint:gosec // Encode escapes it
	v.Err = errors.Join(err, c.depths.refresh(r.Context()))
	v.Gauge = c.depths.gauge(from.URL)
	if v.Seen = c.surveys[from.URL].last(); !c.working(from) {
		seen, err := c.surveys[from.URL].get(r.Context(), anew)
		v.Err = errors.Join(v.Err, err)
		if seen != nil {
			v.Seen = seen
		}
	}
	if v.Seen != nil && err == nil {
		for _, l := range v.Seen.Messages {
			if filter.Matches(l, time.Now()) {
				if v.Total++; len(v.Messages) < messagesShown {
					v.Messages = append(v.Messages, l)
				}
			}
		}
	}
	status := http.StatusOK
	if err != nil {
		status = http.StatusBadRequest
	}
	c.show(w, status, "queue.html", from.Name(), v)
}

type messageView struct {
	Service Service
	From    deadletter.Source
	Message *deadletter.Message
}

func (c *Console) message(w http.ResponseWriter, r *http.Request) {
	s, from, ok := c.source(r.PathValue("queue"))
	id := r.PathValue("message")
	if ok {
		if m := c.surveys[from.URL].last().find(id); m != nil {
			c.show(w, http.StatusOK, "message.html", cmp.Or(m.EventID, id), messageView{s, from, m})
			return
		}
	}
	c.show(w, http.StatusNotFound, "gone.html", "Not here any more", r.PathValue("queue"))
}

type planView struct {
	Service Service
	From    deadletter.Source
	Action  string
	What    string
	Query   url.Values
	Survey  *deadletter.Survey
	Unseen  int
	Task    deadletter.MoveTask
	Message *deadletter.Message
	Release []parking.Device // as a whole, before the messages of other devices are redriven
}

func (c *Console) plan(w http.ResponseWriter, r *http.Request) {
	s, from, action, ok := c.target(w, r)
	if !ok {
		return
	}
	query := r.URL.Query()
	filter, err := selection(query)
	if err != nil {
		c.fail(w, http.StatusBadRequest, err)
		return
	}
	v := planView{Service: s, From: from, Action: action, Query: query, What: words(filter, query.Get("letter"))}
	if releases(s, from, action) {
		if v.Release, err = parkedOf(r.Context(), s, filter, query.Get("letter")); err != nil {
			c.fail(w, http.StatusConflict, err)
			return
		}
	}
	if id := query.Get("letter"); id != "" {
		// One event: the last survey has it, and the job looks for it in the queue.
		v.Survey = &deadletter.Survey{Service: s.Name}
		if v.Message = c.surveys[from.URL].last().find(id); v.Message != nil {
			v.Survey.Matched, v.Survey.Devices = 1, 1
			if from.Foreign(v.Message) != "" {
				v.Survey.Foreign = 1
			}
		}
	} else if v.Survey, err = deadletter.Look(r.Context(), c.api, from, filter, nil); err != nil {
		c.fail(w, http.StatusBadGateway, err)
		return
	} else if filter.Limit == 0 || v.Survey.Matched < filter.Limit {
		v.Unseen = v.Survey.Unseen()
	}
	if !from.Delivery {
		v.Task, _ = deadletter.LastMove(r.Context(), c.api, from) // without the permission to ask there is nothing to tell
	}
	c.show(w, http.StatusOK, "plan.html", "Plan", v)
}

// target is what a plan or a job is about.
func (c *Console) target(w http.ResponseWriter, r *http.Request) (Service, deadletter.Source, string, bool) {
	s, from, ok := c.source(r.PathValue("queue"))
	action := r.PathValue("action")
	switch {
	case !ok:
		c.fail(w, http.StatusNotFound, fmt.Errorf("there is no dead-letter queue %s in %s", r.PathValue("queue"), c.cfg.Environment))
	case action != actRedrive && action != actDrop:
		c.fail(w, http.StatusNotFound, fmt.Errorf("got %q, want redrive or drop", action))
	case releases(s, from, action) && s.Store == nil:
		c.fail(w, http.StatusConflict, fmt.Errorf("%s parks devices: a redriven event of a parked device would follow to the dead-letter queue again; "+
			"to release the device instead, start the console with --data or --database as `fanout consume %s` has it", s.Name, s.Name))
	default:
		return s, from, action, true
	}
	return s, from, action, false
}

func (c *Console) act(w http.ResponseWriter, r *http.Request) {
	s, from, action, ok := c.target(w, r)
	if !ok {
		return
	}
	filter, err := selection(r.PostForm)
	if err != nil {
		c.fail(w, http.StatusBadRequest, err)
		return
	}
	cfg := deadletter.Config{Filter: filter, Lanes: 2 * deadletter.DefaultLanes}
	id := r.PostForm.Get("letter")
	if id != "" {
		cfg.Filter.Limit = 1
		cfg.Select = func(l *deadletter.Message) bool { return l.MessageID == id || l.Record.Rotation.Origin == id }
	}
	var release []parking.Device
	if releases(s, from, action) {
		if release, err = parkedOf(r.Context(), s, filter, id); err != nil {
			c.fail(w, http.StatusConflict, err)
			return
		}
	}
	if task, err := deadletter.LastMove(r.Context(), c.api, from); err == nil && task.Running() {
		c.fail(w, http.StatusConflict, fmt.Errorf("%w: %d of about %d messages moved", deadletter.ErrMoving, task.Moved, task.ToMove))
		return
	}
	planned, _ := strconv.Atoi(r.PostForm.Get("planned"))
	j, err := c.begin(action, s, from, release, cfg, words(filter, id), planned)
	if err != nil {
		c.fail(w, http.StatusConflict, err)
		return
	}
	http.Redirect(w, r, fmt.Sprintf("/jobs/%d", j.id), http.StatusSeeOther)
}

func (c *Console) job(w http.ResponseWriter, r *http.Request) {
	j := c.jobOf(r.PathValue("id"))
	if j == nil {
		c.fail(w, http.StatusNotFound, fmt.Errorf("there is no job %s; the console forgets old ones", r.PathValue("id")))
		return
	}
	name := "job.html"
	if r.URL.Query().Has("part") {
		name = "jobpart"
	}
	c.show(w, http.StatusOK, name, j.action+" of "+j.from.Name(), j.view())
}

func (c *Console) stopJob(w http.ResponseWriter, r *http.Request) {
	if j := c.jobOf(r.PathValue("id")); j != nil {
		j.cancel()
	}
	http.Redirect(w, r, "/jobs/"+r.PathValue("id"), http.StatusSeeOther)
}

// ago is an age for people.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero():
		return "–"
	case d < 2*time.Second:
		return "just now"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	}
	return fmt.Sprintf("%d days ago", d/(24*time.Hour))
}

// until says when something is to happen; a time that is zero is open.
func until(now, t time.Time) string {
	d := t.Sub(now)
	switch {
	case t.IsZero():
		return "open"
	case d < 2*time.Second:
		return "now"
	case d < 2*time.Minute:
		return fmt.Sprintf("in %d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("in %d min", d/time.Minute)
	}
	return fmt.Sprintf("in %d h", d/time.Hour)
}

func clockTime(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// pretty is a body with its JSON indented, if it is JSON.
func pretty(body string) string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(body), "", "  ") != nil {
		return body
	}
	return b.String()
}

// spark is the points of a line of depths in a box of 100 by 24.
func spark(line []int) string {
	if len(line) < 2 {
		return ""
	}
	top := max(slices.Max(line), 1)
	var b strings.Builder
	for i, n := range line {
		fmt.Fprintf(&b, "%.1f,%.1f ", 100*float64(i)/float64(len(line)-1), 22-20*float64(n)/float64(top))
	}
	return b.String()
}
