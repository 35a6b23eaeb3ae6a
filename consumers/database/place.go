package database

import (
	"fmt"
	"os"

	"github.com/device-fanout/fanout/consumers/failure"
	"github.com/device-fanout/fanout/internal/opened"
)

// place is the files of a SQLite database, as the file system knew them when it was opened. SQLite keeps them open and goes on writing to them
// also when they were deleted, renamed or replaced, or their volume is no longer mounted: what is committed then is lost with the process.
type place struct {
	path      string // absolute
	file, log os.FileInfo
}

// placeOf is called once the database is open, so that its write-ahead log is there too, where it has one.
func placeOf(path string) (p place, err error) {
	p.path = path
	if p.file, err = os.Stat(path); err == nil {
		p.log, _ = os.Stat(path + logSuffix)
	}
	return p, err
}

const logSuffix = "-wal"

// check returns nil if a restart would find what is committed now. Otherwise the database is unavailable: nothing is wrong with any event, and
// each is to be handled again.
func (p place) check() error {
	err := opened.Same(p.path, p.file)
	if err == nil && p.log != nil {
		err = opened.Same(p.path+logSuffix, p.log)
	}
	if err == nil {
		return nil
	}
	return &failure.UnavailableError{Err: fmt.Errorf("database: its file is not the one that was opened, and what is written would be lost with this "+
		"process; put it back, or restart: %w", err)}
}
