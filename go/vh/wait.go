// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// A waiter parks goroutines in the netpoller until an fd of the library is readable. It has a duplicate, so that closing
// it wakes the goroutine and leaves the library's fd alone.
type waiter struct {
	file *os.File
	conn syscall.RawConn
	busy atomic.Bool
	over atomic.Bool // nothing is to be waited for any more
	shut atomic.Bool
}

func newWaiter(fd int) (*waiter, error) {
	dup, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("fcntl", errno)
	}
	if err := syscall.SetNonblock(int(dup), true); err != nil {
		syscall.Close(int(dup))
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(dup, "libvh")
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &waiter{file: file, conn: conn}, nil
}

// waiterFor waits for any of several.
func waiterFor(fds ...int) (*waiter, error) {
	set, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	defer syscall.Close(set)
	for _, fd := range fds {
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
		if err := syscall.EpollCtl(set, syscall.EPOLL_CTL_ADD, fd, &event); err != nil {
			return nil, os.NewSyscallError("epoll_ctl", err)
		}
	}
	return newWaiter(set)
}

func (w *waiter) close() {
	if w != nil {
		w.shut.Store(true)
		w.file.Close()
	}
}

// wake ends the waiting for good.
func (w *waiter) wake() {
	w.over.Store(true)
	w.file.SetReadDeadline(time.Unix(1, 0))
}

// readable asks the kernel: the netpoller tells edges, and an edge may have been seen before.
func readable(fd uintptr) bool {
	poll := struct {
		fd              int32
		events, revents int16
	}{int32(fd), 1 /* POLLIN */, 0}
	var now syscall.Timespec
	n, _, _ := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
	return n == 1
}

// wait parks until the fd is readable, ctx is done, the waiter is closed, or the time is over (0: no limit) or it is woken;
// these two are no errors.
func (w *waiter) wait(ctx context.Context, limit time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !w.busy.CompareAndSwap(false, true) {
		return inUse()
	}
	defer w.busy.Store(false)
	var until time.Time
	if limit > 0 {
		until = time.Now().Add(limit)
	}
	if w.file.SetReadDeadline(until) != nil { // it says so in another word
		return os.ErrClosed
	}
	if w.over.Load() {
		return nil
	}
	stop := onDone(ctx, func() { w.file.SetReadDeadline(time.Unix(1, 0)) })
	err := w.conn.Read(readable)
	if stop() {
		return ctx.Err()
	}
	if w.shut.Load() {
		return os.ErrClosed
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return err
}

// onDone calls f when ctx is done. stop ends that, waits for f, and tells whether it was called.
func onDone(ctx context.Context, f func()) (stop func() bool) {
	if ctx.Done() == nil {
		return func() bool { return false }
	}
	finished, result := make(chan struct{}), make(chan bool, 1)
	go func() {
		select {
		case <-ctx.Done():
			f()
			result <- true
		case <-finished:
			result <- false
		}
	}()
	return func() bool {
		close(finished)
		return <-result
	}
}
