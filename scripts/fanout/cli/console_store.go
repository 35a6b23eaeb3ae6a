package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/device-fanout/fanout/consumers/database"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/consumers/parking/parkingdb"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/console"
)

// findStores gives the services that park devices the record of them, where o says that it is. The func that it returns closes them.
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
			fmt.Fprintf(g.err, "%s: parked devices of %s can't be shown yet: %s\n", g.app.Name, s.Name, printable(err.Error()))
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

// existingStore is the record of parked devices that a service keeps in its database. It is opened when somebody looks, and again
// after it could not be; it makes neither a file nor a table.
type existingStore struct {
	service string
	o       serviceOptions

	mu    sync.Mutex
	db    *database.DB
	store *parkingdb.Store
}

func (l *existingStore) open(ctx context.Context) (*parkingdb.Store, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.store != nil {
		return l.store, nil
	}
	target := l.o.url(l.service + "-parking")
	if l.o.database == "" {
		if _, err := os.Stat(target); err != nil {
			return nil, err
		}
	}
	db, err := database.Open(ctx, target)
	if err != nil {
		return nil, err
	}
	store, err := parkingdb.Existing(ctx, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	l.db, l.store = db, store
	return store, nil
}

// Find implements [parking.Store].
func (l *existingStore) Find(ctx context.Context, service string, devices ...string) ([]parking.Device, error) {
	store, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	return store.Find(ctx, service, devices...)
}

// Swap implements [parking.Store].
func (l *existingStore) Swap(ctx context.Context, old, next parking.Device) (bool, error) {
	store, err := l.open(ctx)
	if err != nil {
		return false, err
	}
	return store.Swap(ctx, old, next)
}

func (l *existingStore) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.db == nil {
		return nil
	}
	return l.db.Close()
}
