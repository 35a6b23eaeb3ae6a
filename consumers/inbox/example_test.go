package inbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite"

	"github.com/device-fanout/fanout/consumers/inbox"
	"github.com/device-fanout/fanout/events"
	"github.com/device-fanout/fanout/events/device"
)

// A handler with a database of its own, by plain database/sql.
func ExampleFirst() {
	folder, err := os.MkdirTemp("", "inbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	db, err := sql.Open("sqlite", filepath.Join(folder, "bills.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	ctx := context.Background()
	for _, statement := range []string{inbox.Schema(inbox.SQLite), `CREATE TABLE bills (cents INTEGER)`} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			log.Fatal(err)
		}
	}

	bill := func(event events.Event, cents int) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // nothing to roll back after the commit
		first, err := inbox.First(ctx, tx, "billing", event)
		if err != nil || !first {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO bills (cents) VALUES ($1)`, cents); err != nil {
			return err
		}
		return tx.Commit()
	}
	event := events.New("meter-1", device.ReadingMeasured{Quantity: "energy", Value: 17.5})
	for range 3 { // delivered three times
		if err := bill(event, 250); err != nil {
			log.Fatal(err)
		}
	}

	var total int
	if err := db.QueryRowContext(ctx, `SELECT sum(cents) FROM bills`).Scan(&total); err != nil {
		log.Fatal(err)
	}
	fmt.Println(total)
	// Output: 250
}
