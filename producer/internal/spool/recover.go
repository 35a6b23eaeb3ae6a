package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// recover reads every segment. Memory is needed for one segment at a time and sixteen bytes for each waiting record.
func (s *Spool) recover() (State, error) {
	numbers, err := s.find()
	if err != nil {
		return State{}, err
	}
	r := recovery{keys: map[string]*Waiting{}}
	for _, number := range numbers {
		seg := &segment{number: number, sealed: true}
		if err := s.recoverSegment(seg, &r); err != nil {
			return State{}, err
		}
		s.last = number
	}
	for _, seg := range s.inOrder() {
		s.removeIfDone(seg)
	}
	return r.state(), nil
}

// find returns the numbers of the segments in their order, and removes lists that have lost their log.
func (s *Spool) find() ([]uint32, error) {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint32
	logs := map[string]bool{}
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), logSuffix); ok {
			number, err := strconv.ParseUint(name, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("%s: the name is no segment's: move it elsewhere", filepath.Join(s.dir, f.Name()))
			}
			numbers = append(numbers, uint32(number))
			logs[name] = true
		}
	}
	for _, f := range files {
		if name, ok := strings.CutSuffix(f.Name(), doneSuffix); ok && !logs[name] {
			if err := os.Remove(filepath.Join(s.dir, f.Name())); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// recovery collects what is found.
type recovery struct {
	keys    map[string]*Waiting
	last    int64
	damaged []Damage
}

func (s *Spool) recoverSegment(seg *segment, r *recovery) error {
	log, err := os.OpenFile(seg.path(s.dir, logSuffix), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	seg.log = log
	s.segments[seg.number] = seg
	data, err := io.ReadAll(log)
	if err != nil {
		return fmt.Errorf("read %s: %w", seg.path(s.dir, logSuffix), err)
	}
	seg.size = int64(len(data))
	s.bytes.Add(seg.size)
	done, err := seg.readDone(s.dir)
	if err != nil {
		return err
	}
	var faults []error
	scan(data, func(offset int, record Record, size int) {
		r.last = max(r.last, record.Sequence)
		w := r.keys[record.Key]
		if w == nil {
			w = &Waiting{Key: strings.Clone(record.Key)}
			r.keys[w.Key] = w
		}
		ref := Ref{seg.number, uint32(offset)}
		if !done[ref.offset] {
			seg.waiting++
			w.Refs = append(w.Refs, ref)
			w.Sequences = append(w.Sequences, record.Sequence)
			w.Bytes += int64(size)
			return
		}
		for _, earlier := range w.Refs { // of the same key: done with too, only their entries were lost
			s.segments[earlier.segment].finish(earlier.offset)
		}
		w.Refs, w.Sequences, w.Bytes = nil, nil, 0
	}, func(offset, size int) {
		d := Damage{
			File: seg.path(s.dir, logSuffix), Offset: int64(offset), Bytes: size,
			Torn: offset+size == len(data) && halfWritten(data[offset:]),
		}
		isNew, err := s.setAside(seg, &d, data[offset:offset+size])
		faults = append(faults, err)
		if isNew {
			r.damaged = append(r.damaged, d)
		}
	})
	return errors.Join(faults...)
}

func (r *recovery) state() State {
	st := State{LastSequence: r.last, Damaged: r.damaged}
	for _, w := range r.keys {
		if len(w.Refs) > 0 {
			st.Waiting = append(st.Waiting, *w)
		}
	}
	slices.SortFunc(st.Waiting, func(a, b Waiting) int { return a.Refs[0].compare(b.Refs[0]) })
	return st
}

func (a Ref) compare(b Ref) int {
	return cmp.Or(cmp.Compare(a.segment, b.segment), cmp.Compare(a.offset, b.offset))
}

// DamagedError comes from Read for a record that was whole when it was written.
type DamagedError struct{ Damage }

func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s: no whole record at offset %d", e.File, e.Offset)
}

// read reads the record at offset.
func (s *Spool) read(seg *segment, offset uint32) (Record, error) {
	data := make([]byte, 1024)
	n, err := seg.log.ReadAt(data, int64(offset))
	if err != nil && !errors.Is(err, io.EOF) {
		return Record{}, err
	}
	data = data[:n]
	if length, ok := payloadLength(data); ok && headerBytes+length > n {
		data = make([]byte, headerBytes+length)
		if n, err = seg.log.ReadAt(data, int64(offset)); err != nil && !errors.Is(err, io.EOF) {
			return Record{}, err
		}
		data = data[:n]
	}
	r, size := parse(data)
	if size > 0 {
		return r, nil
	}
	d := Damage{File: seg.path(s.dir, logSuffix), Offset: int64(offset), Bytes: len(data)}
	if _, err := s.setAside(seg, &d, data); err != nil {
		return Record{}, err
	}
	return Record{}, &DamagedError{d}
}

// setAside keeps the bytes of a damaged piece, and tells whether they were not kept yet.
func (s *Spool) setAside(seg *segment, d *Damage, piece []byte) (isNew bool, err error) {
	d.Aside = filepath.Join(s.dir, asideFolder, fmt.Sprintf("%010d-%d.damaged", seg.number, d.Offset))
	f, err := os.OpenFile(d.Aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = f.Write(piece)
	return true, errors.Join(err, f.Sync(), f.Close())
}

// SetAside appends a line to a file in the folder aside, and returns once it is on disk.
func (s *Spool) SetAside(name string, line []byte) (path string, err error) {
	path = filepath.Join(s.dir, asideFolder, name)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return path, err
	}
	_, err = f.Write(append(line, '\n'))
	return path, errors.Join(err, f.Sync(), f.Close())
}
