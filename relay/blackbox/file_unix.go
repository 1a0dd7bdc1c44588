//go:build unix

package blackbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

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
	if err := unix.Flock(int(f.handle.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%s: another process uses it: each relay needs a file of its own: %w", f.handle.Name(), err)
	}
	info, err := f.handle.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a regular file", f.handle.Name())
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s: others may read it (mode %04o): remove it, or give it mode 0600", f.handle.Name(), info.Mode().Perm())
	}
	isNew := info.Size() == 0
	size := want.size()
	if !isNew && info.Size() != size {
		return fmt.Errorf("%s has %d bytes in place of %d: remove it, or set the size that it was made with", f.handle.Name(), info.Size(), size)
	}
	if isNew {
		if err := allocate(f.handle, size); err != nil {
			return fmt.Errorf("%s: reserving %d bytes: %w", f.handle.Name(), size, err)
		}
	}
	if f.memory, err = unix.Mmap(int(f.handle.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return fmt.Errorf("%s: mapping it: %w", f.handle.Name(), err)
	}
	if isNew {
		want.write(f.memory)
	}
	got, err := parseHeader(f.memory)
	if err != nil || got.segment != want.segment || got.segments != want.segments {
		return fmt.Errorf("%s was not made by this version: remove it", f.handle.Name())
	}
	f.boot = got.boot + 1
	binary.NativeEndian.PutUint32(f.memory[bootOffset:], f.boot)
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

// allocate writes the bytes of a new file: to write into a mapped file on a full
// disk ends the process.
func allocate(f *os.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return errors.Join(err, f.Truncate(0))
		}
	}
	return nil
}

// isLocked reports whether a relay uses the file.
func isLocked(f *os.File) bool {
	err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	return errors.Is(err, unix.EWOULDBLOCK) // otherwise closing the file releases the lock
}
