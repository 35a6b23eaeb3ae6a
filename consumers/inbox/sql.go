package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// DB is the part of a database that [SQL] needs. [*sql.DB] has it, and so has the DB of package database. Each statement
// is committed by itself.
type DB interface{ Tx }

// SQL is [Claims] and [Marks] in the tables of this package, for handlers whose effects are elsewhere. It is safe for
// concurrent use. Claims end by the clocks of the machines that the service runs on: a lease should be longer than these
// may differ.
type SQL struct {
	db  DB
	now func() time.Time
}

// NewSQL returns the claims and marks in db, whose tables [Create] makes.
func NewSQL(db DB) *SQL { return &SQL{db: db, now: time.Now} }

const (
	claim = `INSERT INTO inbox (service, event_id, state, owner, until, updated_at) VALUES ($1, $2, 'in_progress', $3, $4, $5)
	ON CONFLICT (service, event_id) DO UPDATE SET owner = excluded.owner, until = excluded.until, updated_at = excluded.updated_at
	WHERE inbox.state = 'in_progress' AND (inbox.until <= excluded.updated_at OR inbox.owner = excluded.owner)`
	claimed = `SELECT state FROM inbox WHERE service = $1 AND event_id = $2`
	release = `DELETE FROM inbox WHERE service = $1 AND event_id = $2 AND state = 'in_progress' AND owner = $3`
	// claimedOld is whether an older version has the event's ID as done or in progress.
	claimedOld = claimed + ` AND (state = 'done' OR until > $3)`
	// rename is adopt in one step with the new row, which must not be lost where no transaction is.
	rename = `UPDATE inbox SET event_id = $3 WHERE service = $1 AND event_id = $2 AND state = 'done'
	AND NOT EXISTS (SELECT 1 FROM inbox AS newer WHERE newer.service = $1 AND newer.event_id = $3)`
)

// Claim implements [Claims].
func (s *SQL) Claim(ctx context.Context, key Key, owner string, lease time.Duration) (State, error) {
	now := s.now()
	n, err := exec(ctx, s.db, claim, key.Service, key.Text(), owner, stamp(now.Add(lease)), stamp(now))
	switch {
	case err != nil:
		return "", err
	case n == 1:
		return s.unlessOld(ctx, key, owner, lease, now)
	}
	var state State
	err = s.db.QueryRowContext(ctx, claimed, key.Service, key.Text()).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) { // released just now
		return InProgress, nil
	}
	if err != nil {
		return "", fmt.Errorf("read its state: %w", err)
	}
	return state, nil
}

// unlessOld gives up a claim where an older version has the event's ID: as done, which counts for one event only, or in progress. Each
// statement leaves behind what the next attempt can go on from.
func (s *SQL) unlessOld(ctx context.Context, key Key, owner string, lease time.Duration, now time.Time) (State, error) {
	var old State
	err := s.db.QueryRowContext(ctx, claimedOld, key.Service, key.Event.ID, stamp(now)).Scan(&old)
	if errors.Is(err, sql.ErrNoRows) {
		return Claimed, nil
	}
	if err = errors.Join(err, s.Release(ctx, key, owner)); err != nil {
		return "", err
	}
	if old == InProgress {
		return InProgress, nil
	}
	if n, err := exec(ctx, s.db, rename, key.Service, key.Event.ID, key.Text()); err != nil || n > 0 {
		return Done, err
	}
	return s.Claim(ctx, key, owner, lease) // another one has got it
}

// Finish implements [Claims].
func (s *SQL) Finish(ctx context.Context, key Key) error {
	_, err := exec(ctx, s.db, first, key.Service, key.Text(), "", stamp(s.now()))
	return err
}

// Release implements [Claims].
func (s *SQL) Release(ctx context.Context, key Key, owner string) error {
	_, err := exec(ctx, s.db, release, key.Service, key.Text(), owner)
	return err
}

// Advance implements [Marks].
func (s *SQL) Advance(ctx context.Context, m Mark) (bool, error) { return Advance(ctx, s.db, m) }
