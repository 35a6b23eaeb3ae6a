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

// findLots gives the services that park devices the record of them, where o says that it is. The func that it returns closes them.
func (g *globals) findLots(ctx context.Context, cfg *console.Config, o serviceOptions) func() {
	if o.data == "" && o.database == "" {
		return func() {}
	}
	var lots []*existingLot
	for i := range cfg.Services {
		s := &cfg.Services[i]
		if !s.Parks {
			continue
		}
		lot := &existingLot{service: s.Name, o: o}
		if _, err := lot.open(ctx); err != nil {
			fmt.Fprintf(g.err, "%s: parked devices of %s can't be shown yet: %s\n", g.app.Name, s.Name, printable(err.Error()))
		}
		lots = append(lots, lot)
		s.Lot = lot
	}
	if len(lots) == 0 {
		fmt.Fprintf(g.err, "no service of %s parks devices: --data and --database have nothing to show\n", cfg.Environment)
	}
	return func() {
		for _, lot := range lots {
			_ = lot.close() // nothing was left to write
		}
	}
}

// existingLot is the record of parked devices that a service keeps in its database. It is opened when somebody looks, and again
// after it could not be; it makes neither a file nor a table.
type existingLot struct {
	service string
	o       serviceOptions

	mu  sync.Mutex
	db  *database.DB
	lot *parkingdb.Lot
}

func (l *existingLot) open(ctx context.Context) (*parkingdb.Lot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lot != nil {
		return l.lot, nil
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
	lot, err := parkingdb.Existing(ctx, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	l.db, l.lot = db, lot
	return lot, nil
}

// Find implements [parking.Lot].
func (l *existingLot) Find(ctx context.Context, service string, devices ...string) ([]parking.Device, error) {
	lot, err := l.open(ctx)
	if err != nil {
		return nil, err
	}
	return lot.Find(ctx, service, devices...)
}

// Swap implements [parking.Lot].
func (l *existingLot) Swap(ctx context.Context, old, next parking.Device) (bool, error) {
	lot, err := l.open(ctx)
	if err != nil {
		return false, err
	}
	return lot.Swap(ctx, old, next)
}

func (l *existingLot) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.db == nil {
		return nil
	}
	return l.db.Close()
}
