package database

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// BenchmarkWrite measures writes per second of one row with an event's size, by that many goroutines at once: committed in
// groups, one by one, and in groups without waiting for the disk.
func BenchmarkWrite(b *testing.B) {
	const schema = `CREATE TABLE bench (position INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE,
		device_id TEXT NOT NULL, time TEXT NOT NULL, data TEXT NOT NULL)`
	insert := func(ctx context.Context, db *DB, n int) error {
		return db.Write(ctx, func(ctx context.Context, tx Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO bench (event_id, device_id, time, data) VALUES ($1, $2, $3, $4)
				ON CONFLICT (event_id) DO NOTHING`,
				fmt.Sprintf("01890000-0000-7000-8000-%012d", n), "kitchen-lamp", "2005-01-29T23:59:59.999999999Z",
				`{"on":true,"level_percent":80}`)
			return err
		})
	}
	for _, commits := range []struct {
		name, suffix string
		maxGroup     int
	}{{"grouped", "", maxGroup}, {"single", "", 1}, {"relaxed", relaxed, maxGroup}} {
		for _, writers := range []int{1, 8, 32, 128} {
			b.Run(fmt.Sprintf("%s/writers=%d", commits.name, writers), func(b *testing.B) {
				db, err := Open(b.Context(), "sqlite:"+filepath.Join(b.TempDir(), "bench.db")+commits.suffix)
				if err != nil {
					b.Fatal(err)
				}
				defer db.Close()
				if err := db.Migrate(b.Context(), "bench", schema); err != nil {
					b.Fatal(err)
				}
				db.writer.maxGroup = commits.maxGroup // nobody writes yet
				jobs := make(chan int)
				var group sync.WaitGroup
				for range writers {
					group.Go(func() {
						for n := range jobs {
							if err := insert(b.Context(), db, n); err != nil {
								b.Error(err)
							}
						}
					})
				}
				b.ReportAllocs()
				start, n := time.Now(), 0
				for b.Loop() {
					jobs <- n
					n++
				}
				close(jobs)
				group.Wait()
				b.ReportMetric(float64(n)/time.Since(start).Seconds(), "writes/s")
			})
		}
	}
}
