package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/device-fanout/fanout/internal/opened"
)

// Trouble with the disk under an open spool. What is written to a file that has no name any more is lost with the process, and no write says
// so: hence each Append looks where its folder and its file are before it returns.

// probeEvery is how often Check tries whether a disk on which an Append has failed takes anything again.
const probeEvery = time.Second

// place is what the spool has opened, as the file system knows it.
type place struct {
	folder os.FileInfo // never changes
	lock   os.FileInfo
	held   *os.File // the folder, open so that no other one gets its number; nil where it can't be read
}

func (s *Spool) lockPath() string { return filepath.Join(s.dir, lockFile) }

// locate notes what was opened.
func (s *Spool) locate() (err error) {
	s.place.held, _ = os.Open(s.dir)
	if s.place.folder, err = os.Stat(s.dir); err != nil {
		return err
	}
	s.place.lock, err = s.lock.Stat()
	return err
}

// elsewhere returns an error when the folder is not where it was opened. What stands at its path then belongs to somebody else.
func (s *Spool) elsewhere() error {
	switch folder, err := os.Stat(s.dir); {
	case err != nil:
		return fmt.Errorf("the folder that was opened is gone, and with it what waits in it when this process ends: put it back: %w", err)
	case !os.SameFile(folder, s.place.folder):
		return fmt.Errorf("%s is not the folder that was opened: put that one back, or start anew", s.dir)
	}
	return nil
}

// inPlace returns an error when a restart would not find what is appended: the folder was deleted or renamed, its volume is no longer
// mounted, or it is another one. It takes a folder that was emptied for its own again, unless another process has it. The caller holds
// writing.
func (s *Spool) inPlace() error {
	if err := s.elsewhere(); err != nil {
		return err
	}
	if opened.Same(s.lockPath(), s.place.lock) != nil {
		if err := s.takeAgain(); err != nil {
			return err
		}
	}
	if err := s.owned(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active == nil {
		return nil
	}
	path := s.active.path(s.dir, logSuffix)
	err := s.active.inPlace(path)
	if err == nil {
		return nil
	}
	s.leave(s.active) // what comes next gets a file that can be found
	return fmt.Errorf("%s is gone, and with it what waits in it when this process ends: %w", path, err)
}

// owned returns an error when another process has taken the folder since. It can where the file system gives up locks by itself, as NFS does for a
// host that it could not hear for a while. The other one has written its name into the lock before it has read any segment: what was appended
// before this process found its own name there is known to it. The caller holds writing.
func (s *Spool) owned() error {
	if s.owner == "" {
		return nil
	}
	switch text, err := os.ReadFile(s.lockPath()); { // opening a file asks an NFS server, where looking at it may not
	case errors.Is(err, os.ErrNotExist): // it is taken anew before the next
	case err != nil:
		return err
	case string(text) != s.owner:
		return fmt.Errorf("the lock was lost: %w", lockedBy(s.lockPath()))
	}
	return nil
}

// takeAgain takes a folder whose lock was deleted.
func (s *Spool) takeAgain() error {
	if err := makeFolder(filepath.Join(s.dir, asideFolder)); err != nil { // before the lock, which can be taken once only
		return err
	}
	lock, owner, err := lockFolder(s.dir)
	if err != nil {
		return err
	}
	found, err := lock.Stat() // not at its path, where it may be gone again
	if err != nil {
		return errors.Join(err, lock.Close())
	}
	s.opts.Failed(fmt.Errorf("files of %s were deleted; what waited in them goes out, but is lost when this process ends", s.dir))
	old := s.lock
	s.lock, s.owner, s.place.lock = lock, owner, found
	return old.Close()
}

// Check tells why nothing can be appended now, or nil if it can. It looks at the folder and, after an Append has failed, tries once a second
// whether the disk takes anything again. While an Append is under way it answers what was known before.
func (s *Spool) Check() error {
	if !s.writing.TryLock() {
		return s.known()
	}
	defer s.writing.Unlock()
	if s.broken != nil && s.doubt == nil { // closed
		return s.broken
	}
	err := s.settle()
	if err == nil {
		err = s.inPlace()
	}
	if before := s.known(); err == nil && before != nil {
		if err = before; time.Since(s.probed) >= probeEvery {
			s.probed = time.Now()
			err = s.probe()
		}
	}
	s.note(err)
	return err
}

// probe tells whether the disk takes a page, or as much as the last Append wrote. The caller holds writing.
func (s *Spool) probe() error {
	path := filepath.Join(s.dir, "probe")
	f, err := s.opts.open(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, max(4096, len(s.buffer))), 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), os.Remove(path))
}

// note keeps why nothing can be appended, or nil.
func (s *Spool) note(err error) { s.trouble.Store(&err) }

func (s *Spool) known() error {
	if err := s.trouble.Load(); err != nil {
		return *err
	}
	return nil
}
