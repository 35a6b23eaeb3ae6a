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
		seg := &segment{number: number, open: s.opts.open, sealed: true}
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
	log, err := s.opts.open(seg.path(s.dir, logSuffix), os.O_RDWR)
	if err != nil {
		return err
	}
	seg.log = log
	s.segments[seg.number] = seg
	data, gaps, unreadable, err := readLog(log)
	if err != nil {
		return err
	}
	seg.size = int64(len(data))
	s.bytes.Add(seg.size)
	done, err := seg.readDone(s.dir)
	if err != nil {
		return err
	}
	if unreadable != nil { // another time, or for another program, it may be readable
		seg.kept = true
		s.opts.Failed(unreadable)
		for _, g := range gaps {
			seg.noteGap(g)
		}
		s.flush(seg)
		if err := seg.syncDone(); err != nil {
			s.opts.Failed(err)
		}
	}
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
			s.overtaken(earlier, r)
		}
		w.Refs, w.Sequences, w.Bytes = nil, nil, 0
	}, func(offset, size int) {
		d := Damage{
			File: seg.path(s.dir, logSuffix), Offset: int64(offset), Bytes: size,
			Torn: unreadable == nil && offset+size == len(data) && halfWritten(data[offset:]),
		}
		isNew, err := s.setAside(seg, &d, data[offset:offset+size])
		if err != nil { // the disk is full, for example; the events that go out make room
			s.opts.Failed(fmt.Errorf("set aside what is damaged in %s at offset %d: %w", d.File, offset, err))
			seg.kept, d.Aside = true, d.File
		}
		if isNew || err != nil {
			r.damaged = append(r.damaged, d)
		}
	})
	return nil
}

// overtaken ends a record in front of one of its key that is done with. One in a gap was not there for whoever was done with
// that: it is set aside, because it would come out of order.
func (s *Spool) overtaken(ref Ref, r *recovery) {
	seg := s.segments[ref.segment]
	if len(seg.gaps) > 0 {
		d := Damage{File: seg.path(s.dir, logSuffix), Offset: int64(ref.offset)}
		record, err := s.read(seg, ref.offset)
		if err == nil && seg.inGap(ref.offset, record.Size()) {
			d.Bytes = record.Size()
			_, err = s.setAside(seg, &d, appendRecord(nil, record))
			r.damaged = append(r.damaged, d)
		}
		if err != nil { // it stays where it is, for another time
			s.opts.Failed(fmt.Errorf("set aside what could not be read before in %s at offset %d: %w", d.File, d.Offset, err))
			seg.kept = true
			seg.waiting--
			return
		}
	}
	seg.finish(ref.offset)
}

// readLog reads a whole log. A page that the disk cannot read costs nothing but itself: zeros stand for it, and unreadable says why.
func readLog(log logFile) (data []byte, gaps []gap, unreadable, err error) {
	const page = 4096
	info, err := log.Stat()
	if err != nil {
		return nil, nil, nil, err
	}
	data = make([]byte, info.Size())
	n, err := log.ReadAt(data, 0)
	if err == nil || errors.Is(err, io.EOF) {
		return data[:n], nil, nil, nil
	}
	for at := 0; at < len(data); at += page {
		piece := data[at:min(at+page, len(data))]
		if _, err := log.ReadAt(piece, int64(at)); err != nil && !errors.Is(err, io.EOF) {
			clear(piece)
			gaps = append(gaps, gap{uint32(at), uint32(at + len(piece))})
			unreadable = err
		}
	}
	return data, gaps, unreadable, nil
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
	if length, ok := payloadLength(data[:n]); ok && headerBytes+length > n {
		data = make([]byte, headerBytes+length)
		n, err = seg.log.ReadAt(data, int64(offset))
	}
	data = data[:n]
	r, size := parse(data)
	switch {
	case size > 0: // an error then lies behind the record
		return r, nil
	case err != nil && !errors.Is(err, io.EOF):
		return Record{}, err
	}
	d := Damage{File: seg.path(s.dir, logSuffix), Offset: int64(offset), Bytes: len(data)}
	if _, err := s.setAside(seg, &d, data); err != nil {
		return Record{}, err
	}
	return Record{}, &DamagedError{d}
}
