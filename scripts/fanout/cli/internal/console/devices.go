package console

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/consumers/parking"
)

const (
	askTimeout   = time.Second             // how long a consumer may take to answer
	findTimeout  = 3 * time.Second         // how long a database may
	blockedFor   = 1500 * time.Millisecond // how long what consumers said is good for
	answerMax    = 8 << 20                 // bytes of one consumer's answer
	devicesShown = 50
)

// ParseConsumer reads the address of a consumer, such as http://127.0.0.1:8080, to the one of its blocked devices.
func ParseConsumer(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("got %q, want the address that a consumer serves with --health-addr, such as http://127.0.0.1:8080", address)
	}
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/blocked")
	u.RawQuery, u.Fragment = "", ""
	return u.JoinPath("blocked").String(), nil
}

// blocked asks the consumers which devices can't go on when somebody wants to see it.
type blocked struct {
	addresses []string
	client    *http.Client

	turn sync.Mutex // held while asking
	at   time.Time
	seen []answer
}

// answer is what one consumer said, or why it said nothing.
type answer struct {
	Address  string
	Devices  []consumers.Blocked
	NotReady string // why it can't receive or handle events; empty if it can, or does not tell
	Err      error
}

func newBlocked(addresses []string) *blocked {
	return &blocked{addresses: addresses, client: &http.Client{Timeout: askTimeout}}
}

// get has one answer for each consumer. Several callers share one round of requests.
func (b *blocked) get(ctx context.Context) []answer {
	b.turn.Lock()
	defer b.turn.Unlock()
	if len(b.addresses) == 0 || time.Since(b.at) < blockedFor {
		return b.seen
	}
	ctx = context.WithoutCancel(ctx) // others wait for the answers too
	seen := make([]answer, len(b.addresses))
	var wait sync.WaitGroup
	for i, address := range b.addresses {
		wait.Go(func() {
			devices, err := b.ask(ctx, address)
			seen[i] = answer{Address: strings.TrimSuffix(address, "/blocked"), Devices: devices, Err: err}
			if err == nil {
				seen[i].NotReady = b.whyNotReady(ctx, seen[i].Address)
			}
		})
	}
	wait.Wait()
	b.at, b.seen = time.Now(), seen
	return seen
}

func (b *blocked) ask(ctx context.Context, address string) ([]consumers.Blocked, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	got, err := b.client.Do(r)
	if err != nil {
		if cause, ok := errors.AsType[*url.Error](err); ok {
			if cause.Timeout() {
				return nil, fmt.Errorf("it did not answer within %v", askTimeout)
			}
			err = cause.Err // the address is beside it
		}
		return nil, err
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", got.Status)
	}
	var devices []consumers.Blocked
	if err := json.NewDecoder(io.LimitReader(got.Body, answerMax)).Decode(&devices); err != nil {
		return nil, fmt.Errorf("its answer is not a list of blocked devices: %w", err)
	}
	return devices, nil
}

// whyNotReady asks a consumer why it can't receive or handle events: one whose service waits for what it depends on may have no blocked device.
func (b *blocked) whyNotReady(ctx context.Context, address string) string {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/readyz", nil)
	if err != nil {
		return ""
	}
	got, err := b.client.Do(r)
	if err != nil {
		return ""
	}
	defer got.Body.Close()
	var says struct{ Reason string }
	if got.StatusCode != http.StatusServiceUnavailable || json.NewDecoder(io.LimitReader(got.Body, answerMax)).Decode(&says) != nil {
		return ""
	}
	return says.Reason
}

// devicesView is the devices that do not go on.
type devicesView struct {
	Consumers int // how many were asked
	Silent    []answer
	NotReady  []answer
	Blocked   []consumers.Blocked // the longest first
	Parked    []parkedView        // the longest first
	Faults    []error             // of what records the parked devices
	Stores    int                 // services whose parked devices are known
	NoStore   []string            // services that park devices, with nothing that records which
}

type parkedView struct {
	parking.Device
	Queue    string // name of the dead-letter queue
	Messages int    // dead letters of it in the last survey
	More     bool   // the queue may have more of it than the survey
	Surveyed bool   // whether there is a survey
}

// BlockedShown and ParkedShown are as many of them as a page bears.
func (v devicesView) BlockedShown() []consumers.Blocked {
	return v.Blocked[:min(len(v.Blocked), devicesShown)]
}

func (v devicesView) ParkedShown() []parkedView { return v.Parked[:min(len(v.Parked), devicesShown)] }

// addBlocked adds the answers of the consumers.
func (v *devicesView) addBlocked(answers []answer) {
	v.Consumers = len(answers)
	for _, a := range answers {
		if a.Err != nil {
			v.Silent = append(v.Silent, a)
		}
		if a.NotReady != "" {
			v.NotReady = append(v.NotReady, a)
		}
		v.Blocked = append(v.Blocked, a.Devices...)
	}
	slices.SortStableFunc(v.Blocked, func(a, b consumers.Blocked) int { return a.Since.Compare(b.Since) })
}

// findParked adds the parked devices of a service, and how many dead letters of each the last survey had.
func (v *devicesView) findParked(ctx context.Context, s Service, last func(url string) *survey) {
	if !s.Parks {
		return
	}
	if s.Store == nil {
		v.NoStore = append(v.NoStore, s.Name)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	devices, err := s.Store.Find(ctx, s.Name)
	if err != nil {
		v.Faults = append(v.Faults, fmt.Errorf("parked devices of %s: %w", s.Name, err))
		return
	}
	v.Stores++
	messages := map[string]int{}
	p := parkedView{}
	for _, from := range s.DLQs {
		if from.Delivery {
			continue
		}
		p.Queue = from.Name()
		if s := last(from.URL); s != nil {
			p.Surveyed, p.More = true, s.Unseen() > 0
			for _, d := range s.Devices {
				messages[d.ID] = d.Messages
			}
		}
	}
	for _, d := range devices {
		p.Device, p.Messages = d, messages[d.ID]
		v.Parked = append(v.Parked, p)
	}
	slices.SortStableFunc(v.Parked, func(a, b parkedView) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
}
