package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/device-fanout/fanout/internal/opened"
)

const (
	logSuffix   = ".log"
	doneSuffix  = ".done"
	asideFolder = "aside"
	doneBytes   = 8 // of an entry in a list of done records: the offset and a check sum
)

// logFile is a segment's log.
type logFile interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Close() error
	Stat() (os.FileInfo, error)
}

func openFile(path string, flags int) (logFile, error) { return os.OpenFile(path, flags, 0o600) }

// segment is one log with its list of done records. Its fields are guarded by the Spool's mu.
type segment struct {
	number  uint32
	open    func(path string, flags int) (logFile, error)
	log     logFile
	found   os.FileInfo // of log, once somebody has looked
	size    int64
	waiting int  // records that are not done with
	doubt   bool // a write to its log could not be undone yet
	kept    bool // it has damaged bytes that stand nowhere else, and stays
	gaps    []gap
	sealed  bool // nothing is appended any more

	done     logFile // opened at the first record that is done with
	listed   int64   // bytes of it that are written
	unlisted []byte  // entries that are not
	unsynced bool
	rewrite  bool // a sync has failed: the system may take for written what is not there
}

// gap is a piece of a log that some process could not read. What it did after that says nothing about the records in there.
type gap struct{ from, to uint32 }

// inGap tells whether some process could not read all of the record at offset.
func (g *segment) inGap(offset uint32, size int) bool {
	return slices.ContainsFunc(g.gaps, func(p gap) bool { return offset < p.to && p.from < offset+uint32(size) })
}

// inPlace returns an error unless its log is the file at path.
func (g *segment) inPlace(path string) (err error) {
	if g.found == nil {
		if g.found, err = g.log.Stat(); err != nil {
			return err
		}
	}
	return opened.Same(path, g.found)
}

func (g *segment) path(dir, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%010d%s", g.number, suffix))
}

// finish notes that the record at offset is done with.
func (g *segment) finish(offset uint32) {
	g.waiting--
	g.unlisted = g.appendDone(g.unlisted, offset)
}

func (g *segment) appendDone(out []byte, offset uint32) []byte {
	out = binary.BigEndian.AppendUint32(out, offset)
	return binary.BigEndian.AppendUint32(out, g.doneSum(offset))
}

func (g *segment) doneSum(offset uint32) uint32 {
	var text [8]byte
	binary.BigEndian.PutUint32(text[:], g.number)
	binary.BigEndian.PutUint32(text[4:], offset)
	return crc32.Checksum(text[:], castagnoli)
}

// noteGap notes in the list of done records, as two entries whose check sums are inverted, what cannot be read.
func (g *segment) noteGap(p gap) {
	if slices.Contains(g.gaps, p) {
		return
	}
	g.gaps = append(g.gaps, p)
	for _, offset := range []uint32{p.from, p.to} {
		g.unlisted = binary.BigEndian.AppendUint32(g.unlisted, offset)
		g.unlisted = binary.BigEndian.AppendUint32(g.unlisted, ^g.doneSum(offset))
	}
}

// flush writes the entries that are not yet in the file. It may be tried again after an error.
func (g *segment) flush(dir string) error {
	if len(g.unlisted) == 0 {
		return nil
	}
	if g.done == nil {
		f, err := g.open(g.path(dir, doneSuffix), os.O_RDWR|os.O_CREATE)
		if err != nil {
			return err
		}
		g.done = f
	}
	if _, err := g.done.WriteAt(g.unlisted, g.listed); err != nil {
		return err
	}
	g.listed += int64(len(g.unlisted))
	g.unlisted = g.unlisted[:0]
	g.unsynced = true
	return nil
}

func (g *segment) syncDone() error {
	if g.done == nil || !g.unsynced {
		return nil
	}
	if g.rewrite { // so that the next sync has everything to write
		list := make([]byte, g.listed)
		if _, err := g.done.ReadAt(list, 0); err != nil {
			return err
		}
		if _, err := g.done.WriteAt(list, 0); err != nil {
			return err
		}
	}
	err := g.done.Sync()
	g.rewrite = err != nil
	g.unsynced = err != nil
	return err
}

// readDone reads the list of done records, with the gaps, and makes room for more behind what of it is whole.
func (g *segment) readDone(dir string) (map[uint32]bool, error) {
	data, err := os.ReadFile(g.path(dir, doneSuffix))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	g.listed = int64(len(data)) / doneBytes * doneBytes
	offsets := make(map[uint32]bool, len(data)/doneBytes)
	var bounds []uint32 // of gaps
	for ; len(data) >= doneBytes; data = data[doneBytes:] {
		offset := binary.BigEndian.Uint32(data)
		switch sum := g.doneSum(offset); binary.BigEndian.Uint32(data[4:]) {
		case sum:
			offsets[offset] = true
		case ^sum:
			if bounds = append(bounds, offset); len(bounds) == 2 {
				g.gaps = append(g.gaps, gap{bounds[0], bounds[1]})
				bounds = nil
			}
		} // else it is damaged: the record comes again
	}
	return offsets, nil
}

func (g *segment) close() error {
	var faults []error
	if g.log != nil {
		faults = append(faults, g.log.Close())
	}
	if g.done != nil {
		faults = append(faults, g.done.Close())
	}
	g.log, g.done = nil, nil
	return errors.Join(faults...)
}

// remove deletes the segment: the log first, because a list without a log means nothing, and a log without its list brings
// back all that is done with: so where the log can't be deleted, the list is completed. Another file of its name is left alone: the folder was
// emptied, and another spool has begun anew in it.
func (g *segment) remove(dir string) error {
	log := g.path(dir, logSuffix)
	if found, err := os.Lstat(log); err == nil && found.Mode().IsRegular() && g.inPlace(log) != nil {
		return g.close()
	}
	closed := g.close()
	err := os.Remove(log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return errors.Join(closed, err, g.flush(dir), g.syncDone(), g.close())
	}
	if err = os.Remove(g.path(dir, doneSuffix)); errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(closed, err)
}
