package database_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/device-fanout/fanout/consumers/database"
)

func ExampleOpen() {
	_, err := database.Open(context.Background(), "mysql://root:secret@db.example/lights")
	var open *database.OpenError
	if errors.As(err, &open) {
		fmt.Println(open.Target)
		fmt.Println(open.Err)
		fmt.Println(open.Hint)
	}
	// Output:
	// mysql://root:xxxxx@db.example/lights
	// unknown kind of database mysql
	// want sqlite:PATH, a path such as data/x.db, postgres://USER@HOST:5432/DATABASE, settings such as host=HOST dbname=DATABASE, or the JSON that Secrets Manager keeps for RDS
}

func ExampleDB_Write() {
	folder, err := os.MkdirTemp("", "database")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	ctx := context.Background()
	db, err := database.Open(ctx, "sqlite:"+filepath.Join(folder, "lights.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	err = db.Migrate(ctx, "lights", `CREATE TABLE lights (device_id TEXT PRIMARY KEY, lit INTEGER NOT NULL)`)
	if err != nil {
		log.Fatal(err)
	}

	put := func(device string, fail error) error {
		return db.Write(ctx, func(ctx context.Context, tx database.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO lights (device_id, lit) VALUES ($1, $2)`, device, 1)
			return errors.Join(err, fail)
		})
	}
	fmt.Println(put("hall/lamp", nil))
	fmt.Println(put("attic/lamp", errors.New("second thoughts"))) // leaves nothing behind

	var count int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM lights`).Scan(&count); err != nil {
		log.Fatal(err)
	}
	fmt.Println(count)
	// Output:
	// <nil>
	// second thoughts
	// 1
}
