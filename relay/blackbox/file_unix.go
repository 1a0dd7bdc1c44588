//go:build unix

package blackbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A file is a mapped ring.
type file struct {
	boot   uint32
	handle *os.File
	memory []byte
}

// openFile maps the ring of a path. If there is no file, or if it is empty, it
// is created.
func openFile(path string, want fileHeader) (*file, error) {
	handle, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	f := &file{handle: handle}
	if err := f.init(want); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *file) init(want fileHeader) error {
	if err := f.lock(); err != nil {
		return err
	}
	size, err := f.check(want)
	if err != nil {
		return err
	}
	if size < want.size() {
		if err := f.create(want); err != nil {
			return fmt.Errorf("%s: reserving %d bytes: %w", f.handle.Name(), want.size(), err)
		}
	}
	if f.memory, err = unix.Mmap(int(f.handle.Fd()), 0, int(want.size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("%s: mapping it: %w", f.handle.Name(), err)
	}
	got, err := parseHeader(f.memory)
	if err != nil || got.segment != want.segment || got.segments != want.segments {
		return fmt.Errorf("%s was not made by this version: remove it", f.handle.Name())
	}
	f.boot = got.boot + 1
	binary.NativeEndian.PutUint32(f.memory[bootOffset:], f.boot)
	return nil
}

// lockTime is how long the lock is waited for: a relay that ends, or a reader
// that looks whether there is one, releases it soon.
const lockTime = 500 * time.Millisecond

func (f *file) lock() error {
	const every = 10 * time.Millisecond
	for range lockTime / every {
		err := unix.Flock(int(f.handle.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("%s: locking it: %w", f.handle.Name(), err)
		}
		time.Sleep(every)
	}
	return fmt.Errorf("%s: another process uses it: each relay needs a file of its own: %w", f.handle.Name(), unix.EWOULDBLOCK)
}

// check returns the size of the file, if it may be used. It is less than wanted
// if the file is new, or the process ended that created it.
func (f *file) check(want fileHeader) (size int64, err error) {
	info, err := f.handle.Stat()
	if err != nil {
		return 0, err
	}
	size = info.Size()
	switch {
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%s is not a regular file", f.handle.Name())
	case info.Mode().Perm()&0o077 != 0:
		return 0, fmt.Errorf("%s: others may read it (mode %04o): remove it, or give it mode 0600", f.handle.Name(), info.Mode().Perm())
	case size > want.size(), size < want.size() && !f.isBegun(want, size):
		return 0, fmt.Errorf("%s has %d bytes in place of %d: remove it, or set the size that it was made with", f.handle.Name(), size, want.size())
	}
	return size, nil
}

// isBegun reports whether the file has the beginning of the header that is
// wanted, as far as its size goes.
func (f *file) isBegun(want fileHeader, size int64) bool {
	page := make([]byte, pageSize)
	want.write(page)
	got := make([]byte, min(size, int64(bootOffset)))
	if _, err := f.handle.ReadAt(got, 0); err != nil {
		return false
	}
	return bytes.HasPrefix(page, got)
}

// create writes the bytes of a new file: to write into a mapped file on a full
// disk ends the use of it. The header comes first, and shows who has begun.
func (f *file) create(want fileHeader) error {
	block := make([]byte, 1<<20)
	want.write(block)
	for at := int64(0); at < want.size(); at += int64(len(block)) {
		if _, err := f.handle.WriteAt(block[:min(int64(len(block)), want.size()-at)], at); err != nil {
			return errors.Join(err, f.handle.Truncate(0))
		}
		clear(block[:pageSize])
	}
	return nil
}

// segments returns the memory of the ring.
func (f *file) segments() []byte { return f.memory[pageSize:] }

func (f *file) close() (err error) {
	if f.memory != nil {
		err = unix.Munmap(f.memory)
		f.memory = nil
	}
	return errors.Join(err, f.handle.Close())
}

// isLocked reports whether a relay uses the file.
func isLocked(f *os.File) bool {
	err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	return errors.Is(err, unix.EWOULDBLOCK) // otherwise closing the file releases the lock
}
