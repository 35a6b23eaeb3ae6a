package console

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/parking"
)

const (
	jobsKept   = 20
	jobFaults  = 5
	actRedrive = "redrive"
	actDrop    = "drop"
)

// job is one redrive or drop that was started here.
type job struct {
	id      int
	action  string
	from    deadletter.Source
	what    string // the selection in words
	planned int
	start   time.Time
	file    string // of dropped dead letters
	cancel  context.CancelFunc

	mu     sync.Mutex
	moved  int
	faults []string
	end    time.Time
	sum    deadletter.Summary
	err    error
}

// jobView is a job at one time.
type jobView struct {
	ID             int
	Action, What   string
	Queue, To      string
	File           string
	Planned, Moved int
	Percent        int
	Rate           int
	Running, OK    bool
	Start, End     time.Time
	Summary        deadletter.Summary
	Faults         []string
	Err            error
}

func (j *job) view() jobView {
	j.mu.Lock()
	defer j.mu.Unlock()
	v := jobView{
		ID: j.id, Action: j.action, What: j.what, Queue: j.from.Name(), To: j.from.Queue, File: j.file, Planned: max(j.planned, j.moved),
		Moved: j.moved, Running: j.end.IsZero(), Start: j.start, End: j.end, Summary: j.sum, Faults: j.faults, Err: j.err,
	}
	v.OK = !v.Running && v.Err == nil && v.Summary.Failed+v.Summary.Broken == 0
	took := time.Since(j.start)
	if !v.Running {
		took, v.Planned = j.end.Sub(j.start), max(v.Summary.Matched, v.Moved)
	}
	v.Percent = 100
	if v.Planned > 0 {
		v.Percent = 100 * v.Moved / v.Planned
	}
	v.Rate = int(float64(v.Moved) / max(took.Seconds(), 0.1))
	return v
}

// begin starts a job. Two at once of one dead-letter queue would be in each other's way.
func (c *Console) begin(action string, s Service, from deadletter.Source, release []parking.Device, cfg deadletter.Config, what string, planned int) (*job, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range c.jobs {
		if j.from.URL == from.URL && j.view().Running {
			return nil, fmt.Errorf("a %s of %s is under way already", j.action, from.Name())
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	j := &job{id: 1, action: action, from: from, what: what, planned: planned, start: time.Now(), cancel: cancel}
	if len(c.jobs) > 0 {
		j.id = c.jobs[len(c.jobs)-1].id + 1
	}
	if c.cfg.Journal != nil {
		journal, err := c.cfg.Journal(from)
		if err != nil {
			cancel()
			return nil, err
		}
		cfg.Journal = journal
	}
	var archive *deadletter.Archive
	if action == actDrop {
		j.file = filepath.Join(c.cfg.Folder, fmt.Sprintf("%s-%s-%d.ndjson", from.Name(), j.start.UTC().Format("20060102T150405Z"), j.id))
		var err error
		if archive, err = deadletter.CreateArchive(j.file); err != nil {
			cancel()
			if cfg.Journal != nil {
				err = errors.Join(err, cfg.Journal.Close())
			}
			return nil, err
		}
	}
	cfg.Report = func(o deadletter.Outcome) {
		j.mu.Lock()
		defer j.mu.Unlock()
		if o.Err == nil {
			j.moved++
		} else if len(j.faults) < jobFaults {
			j.faults = append(j.faults, o.Err.Error())
		}
	}
	c.jobs = append(c.jobs[max(0, len(c.jobs)-jobsKept+1):], j)
	c.wait.Go(func() {
		defer cancel()
		var sum deadletter.Summary
		var err error
		if action == actDrop {
			sum, err = deadletter.Drop(ctx, c.api, from, archive, cfg)
			err = errors.Join(err, archive.Close())
		} else {
			if releases(s, from, action) {
				err = c.release(ctx, j, s, release)
				cfg.Select = parking.Unparked(ctx, s.Store, s.Name)
			}
			var fault error
			sum, fault = deadletter.Redrive(ctx, c.api, from, cfg)
			err = errors.Join(err, fault)
		}
		if cfg.Journal != nil {
			err = errors.Join(err, cfg.Journal.Close())
		}
		c.surveys[from.URL].forget()
		j.mu.Lock()
		defer j.mu.Unlock()
		j.sum, j.err, j.end = sum, err, time.Now()
	})
	return j, nil
}

// releases tells whether the action brings back devices that are parked, each with all of its dead letters.
func releases(s Service, from deadletter.Source, action string) bool {
	return action == actRedrive && s.Parks && !from.Delivery
}

// parkedOf finds the devices that a selection releases.
func parkedOf(ctx context.Context, s Service, filter deadletter.Filter, messageID string) ([]parking.Device, error) {
	var chosen []string
	if filter.Device != "" {
		chosen = []string{filter.Device}
	}
	filter.Device = ""
	if filter != (deadletter.Filter{}) || messageID != "" {
		return nil, fmt.Errorf("%s parks devices, which are released as a whole: they can be selected by device alone", s.Name)
	}
	return s.Store.Find(ctx, s.Name, chosen...)
}

// release brings parked devices back. One that fails does not stop the others.
func (c *Console) release(ctx context.Context, j *job, s Service, devices []parking.Device) error {
	failed := 0
	for _, d := range devices {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := parking.Release(ctx, s.Store, c.api, parking.Queues{Service: s.Name, URL: s.QueueURL, DLQURL: j.from.URL}, d.ID)
		if errors.Is(err, parking.ErrNotParked) { // somebody else has released it
			err = nil
		}
		j.mu.Lock()
		j.moved += n
		if err != nil {
			if failed++; len(j.faults) < jobFaults {
				j.faults = append(j.faults, err.Error())
			}
		}
		j.mu.Unlock()
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d devices were not released", failed, len(devices))
	}
	return nil
}

// jobViews are the jobs, the last first.
func (c *Console) jobViews() []jobView {
	c.mu.Lock()
	defer c.mu.Unlock()
	var views []jobView
	for i := len(c.jobs) - 1; i >= 0; i-- {
		views = append(views, c.jobs[i].view())
	}
	return views
}

func (c *Console) jobOf(id string) *job {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, j := range c.jobs {
		if fmt.Sprint(j.id) == id {
			return j
		}
	}
	return nil
}
