package transport

import (
	"syscall"
	"unsafe"
)

const sendFlags = syscall.MSG_DONTWAIT | syscall.MSG_NOSIGNAL

// send writes as much of frames as the kernel accepts without waiting.
func send(fd int32, frames [][]byte) (int, error) {
	for {
		var n uintptr
		var errno syscall.Errno
		if len(frames) == 1 {
			n, _, errno = syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(frames[0]))),
				uintptr(len(frames[0])), sendFlags, 0, 0)
		} else {
			n, errno = sendMany(fd, frames)
		}
		switch errno {
		case 0:
			return int(n), nil
		case syscall.EAGAIN:
			return 0, nil
		case syscall.EINTR:
			continue
		}
		return 0, errno
	}
}

func sendMany(fd int32, frames [][]byte) (uintptr, syscall.Errno) {
	var vectors [64]syscall.Iovec
	k := 0
	for _, frame := range frames[:min(len(frames), len(vectors))] {
		vectors[k].Base = unsafe.SliceData(frame)
		vectors[k].SetLen(len(frame))
		k++
	}
	message := syscall.Msghdr{Iov: &vectors[0]}
	setIovlen(&message, k)
	n, _, errno := syscall.RawSyscall(syscall.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&message)), sendFlags)
	return n, errno
}

// read reads once. The descriptor must be non-blocking.
func read(fd int32, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno == 0 {
			return int(n), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}

// sendQueue returns how many bytes a TCP socket has accepted that the client's
// kernel has not acknowledged. It falls whenever bytes arrive there, while the
// kernel accepts more bytes only after a third of its buffer is free: on a slow
// line, that takes longer than the write timeout.
func sendQueue(fd int32) (bytes int, known bool) {
	var n int32
	_, _, errno := syscall.RawSyscall(syscall.SYS_IOCTL, uintptr(fd), syscall.TIOCOUTQ, uintptr(unsafe.Pointer(&n)))
	return int(n), errno == 0
}
