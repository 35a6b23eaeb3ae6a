package inbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/device-fanout/fanout/consumers"
	"github.com/device-fanout/fanout/events"
	awsx "github.com/device-fanout/fanout/internal/aws"
)

// Handler handles an event; consumers.Handler is the same.
type Handler = func(ctx context.Context, event events.Event) error

// State is what becomes of an attempt to claim an event.
type State string

// The states of an event.
const (
	Claimed    State = "claimed"     // it is the caller's now
	InProgress State = "in_progress" // somebody else has claimed it, and that claim has not ended yet
	Done       State = "done"        // it was handled
)

// Key names an event of a service.
type Key struct {
	Service string
	Event   events.Identity
}

// Text is the key within its service as one text, which column event_id has: ID, device ID and source with spaces between. No ID of an event
// is such a text by itself.
func (k Key) Text() string {
	return word(k.Event.ID) + " " + word(k.Event.Subject) + " " + k.Event.Source
}

// word is s as it is, or in quotes if one could not tell where it ends: no event on the wire has a space in its ID.
func word(s string) string {
	if strings.ContainsAny(s, ` "`) {
		return strconv.Quote(s)
	}
	return s
}

func (k Key) check() error {
	switch {
	case k.Service == "":
		return errNoService
	case k.Event.ID == "":
		return fmt.Errorf("inbox: event ID of an event for service %q is empty, want the event's ID", k.Service)
	case k.Event.Subject == "":
		return fmt.Errorf("inbox: device ID of event %q for service %q is empty, want the device's ID", k.Event.ID, k.Service)
	}
	return nil
}

// Claims remembers which events are in progress and which are done. It is what [Once] needs; implement it where there is
// no SQL database, for instance with SET NX of Redis or a conditional put of DynamoDB. Package inboxtest has tests for
// implementations.
type Claims interface {
	// Claim gives the event to owner for that long, unless it is done or another owner's claim has not ended yet. It must
	// find that out and write it in one step that no other Claim can come between.
	Claim(ctx context.Context, key Key, owner string, lease time.Duration) (State, error)
	// Finish says that the event was handled, whoever has claimed it. It may be called again.
	Finish(ctx context.Context, key Key) error
	// Release ends the claim of owner, if it still has it, so that the event can be claimed at once.
	Release(ctx context.Context, key Key, owner string) error
}

// retryClaim is after how long an event that is in progress elsewhere is looked at again, at the earliest. Each look costs
// a delivery, of which a queue allows few, so it is never less than half of the lease.
const retryClaim = 10 * time.Second

// ErrInProgress is what a handler of [Once] returns for an event that somebody else is handling just now, as the cause of
// a consumers.RetryAfter: the event comes again after half of the lease, or ten seconds if that is longer, rather than go
// to the dead-letter queue. So a claim that a process left behind when it died costs two or three deliveries.
var ErrInProgress = errors.New("inbox: event is in progress elsewhere")

// DefaultLease is how long a claim of [Once] lasts. It is longer than the time that a consumer gives a handler by default.
const DefaultLease = time.Minute

// finishTimeout bounds what is written after the handler, whose context may have ended.
const finishTimeout = 5 * time.Second

// Once wraps a handler that has no SQL transaction to call [First] in, so that it is called once per event: not for an
// event that is done, and not while somebody else is handling it. Lease is how long a claim lasts when its process dies;
// zero means DefaultLease. The handler's context ends when its claim does.
//
// Handler and claim cannot be committed together here. When the process dies between the two, or the claim cannot be
// finished, the event is handled again after the lease. So what the handler does should bear that, rare as it is;
// event.Identity().Key() makes a good idempotency key for whomever it calls.
//
// A repeat is a duplicate whatever it says; [Claims] don't compare it with the first one, as First does.
//
// In a function of package lambda keep the lease below the queue's visibility timeout less the function's timeout: an event
// whose function died comes again after the visibility timeout, and its claim has then ended. A longer one uses up
// deliveries, of which the queue allows only so many: the event may go to the dead-letter queue unhandled.
func Once(claims Claims, service string, lease time.Duration, handle Handler) Handler {
	if lease <= 0 {
		lease = DefaultLease
	}
	return func(ctx context.Context, event events.Event) (err error) {
		key, owner := Key{service, event.Identity()}, rand.Text()
		if err := key.check(); err != nil {
			return err
		}
		working, cancel := context.WithTimeout(ctx, lease) // it began before the claim, so it ends before it
		defer cancel()
		state, err := claims.Claim(ctx, key, owner, lease)
		switch {
		case err != nil:
			return fmt.Errorf("inbox: claim event %q for service %q: %w", event.ID, service, err)
		case state == Done:
			return nil
		case state != Claimed:
			err := fmt.Errorf("%w: event %q of service %q", ErrInProgress, event.ID, service)
			return consumers.RetryAfter(max(retryClaim, lease/2), err)
		}
		finished := false
		defer func() {
			if finished {
				return
			}
			after, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
			defer cancel()
			if failed := claims.Release(after, key, owner); failed != nil && err != nil {
				err = errors.Join(err, fmt.Errorf("inbox: release event %q for service %q: %w", event.ID, service, failed))
			}
		}()
		if err := handle(working, event); err != nil {
			return err
		}
		finished = true // released or not: what it did is done
		if err := finish(ctx, claims, key); err != nil {
			return fmt.Errorf("inbox: finish event %q for service %q: %w", event.ID, service, err)
		}
		return nil
	}
}

// finish tries for a while, also when ctx has ended: the event was handled, and to forget it means to do it again.
func finish(ctx context.Context, claims Claims, key Key) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	for failures := 1; ; failures++ {
		err := claims.Finish(ctx, key)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(awsx.Backoff{First: 50 * time.Millisecond}.After(failures)):
		case <-ctx.Done():
			return err
		}
	}
}
