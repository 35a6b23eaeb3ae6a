package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/consumers/parking/parkingdb"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/console"
)

// findStores opens the parking stores of the services that park devices, if o says where they are. The returned func closes them.
func (g *globals) findStores(ctx context.Context, cfg *console.Config, o serviceOptions) func() {
	if o.data == "" && o.database == "" {
		return func() {}
	}
	var stores []*existingStore
	for i := range cfg.Services {
		s := &cfg.Services[i]
		if !s.Parks {
			continue
		}
		store := &existingStore{service: s.Name, o: o}
		if _, err := store.open(ctx); err != nil {
			fmt.Fprintf(g.err, "%s: parked devices of %s can't be shown yet: %s\n", g.app.Name, s.Name, errorLine(err))
		}
		stores = append(stores, store)
		s.Store = store
	}
	if len(stores) == 0 {
		fmt.Fprintf(g.err, "no service of %s parks devices: --data and --database have nothing to show\n", cfg.Environment)
	}
	return func() {
		for _, store := range stores {
			_ = store.close() // nothing was left to write
		}
	}
}

// existingStore is the parking store that a service keeps in its database. It is opened at its first use, or at the next one after
// that failed; it creates neither a file nor a table.
type existingStore struct {
	service string
	o       serviceOptions

	mu    sync.Mutex
	db    *database.DB
	store *parkingdb.Store
}

func (s *existingStore) open(ctx context.Context) (*parkingdb.Store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store != nil {
		return s.store, nil
	}
	target := s.o.url(s.service + "-parking")
	if err := database.Existing(target); err != nil {
		return nil, err
	}
	db, err := database.Open(ctx, target)
	if err != nil {
		return nil, err
	}
	store, err := parkingdb.Existing(ctx, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.db, s.store = db, store
	return store, nil
}

// Find implements [parking.Store].
func (s *existingStore) Find(ctx context.Context, service string, devices ...string) ([]parking.Device, error) {
	store, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	return store.Find(ctx, service, devices...)
}

// Swap implements [parking.Store].
func (s *existingStore) Swap(ctx context.Context, old, next parking.Device) (bool, error) {
	store, err := s.open(ctx)
	if err != nil {
		return false, err
	}
	return store.Swap(ctx, old, next)
}

func (s *existingStore) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	return s.db.Close()
}
