// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

// Package raw is the C library as it is: one function for each of its calls, by SWIG or cgo. Use package vh.
package raw

/*
#cgo pkg-config: libvh
#cgo CFLAGS: -fno-strict-aliasing
#include "vhgo.h"

static struct vh_error *go_error(uintptr_t failure)
{
	return (struct vh_error *)failure;
}

static const char *go_text(vhgo_text text)
{
	return text ? (const char *)text : "";
}

static vhgo_rc go_submit(struct vh_master *m, struct vh_msg *msg, const uint8_t *payload, const vh_fd *fds,
			 uint64_t *ticket)
{
	msg->payload = (uintptr_t)payload;
	return vhgo_rc_of(vh_master_submit(m, msg, fds, ticket));
}

static vhgo_rc go_slave_submit(struct vh_slave *s, struct vh_msg *msg, const uint8_t *payload, const vh_fd *fds,
			       uint64_t *ticket)
{
	msg->payload = (uintptr_t)payload;
	return vhgo_rc_of(vh_slave_submit(s, msg, fds, ticket));
}
*/
import "C"

import (
	"bytes"
	"syscall"
	"unsafe"
)

// largestErrno << 1 is below every address: the first page is never mapped.
const largestErrno = 2047

// Details are what the library says about a failed call.
type Details struct {
	Code    syscall.Errno
	Domain  uint32 // ErrorArgument, ErrorSystem, ErrorPeer, ...
	Queue   uint32 // queue index or ErrorNone
	Request uint32 // vhost-user message id or ErrorNone
	Site    uint32 // number of the check that refused, 0 = none
	Text    string // who did what, what to try
}

func (e *Details) Error() string {
	if e.Text == "" {
		return "vh: " + e.Code.Error()
	}
	return "vh: " + e.Text
}

// Unwrap makes errors.Is(err, syscall.EPROTO) work.
func (e *Details) Unwrap() error { return e.Code }

// Count is a number, or why there is none.
type Count struct {
	n   int
	err error
}

// Get gives both.
func (c Count) Get() (int, error) { return c.n, c.err }

// rcError takes a vhgo_rc.
func rcError(word uintptr) error {
	if word == 0 {
		return nil
	}
	return failure(word)
}

// countOf takes a vhgo_count.
func countOf(word uintptr) Count {
	if word&1 != 0 {
		return Count{n: int(word >> 1)}
	}
	return Count{err: failure(word)}
}

// textOf takes a vhgo_text.
func textOf(word uintptr) string { return C.GoString(C.go_text(C.uintptr_t(word))) }

func failure(word uintptr) error {
	if word <= largestErrno<<1 {
		return &Details{Code: syscall.Errno(word >> 1), Queue: ^uint32(0), Request: ^uint32(0)}
	}
	c := C.go_error(C.uintptr_t(word))
	defer C.free(unsafe.Pointer(c))
	e := (*Error)(unsafe.Pointer(c))
	text, _, _ := bytes.Cut(e.Text[:], []byte{0})
	return &Details{Code: syscall.Errno(-e.Code), Domain: e.Domain, Queue: e.Queue, Request: e.Request, Site: e.Site,
		Text: string(text)}
}

// first is the address of a slice's first element, nil when it has none.
func first[T any](s []T) unsafe.Pointer {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Pointer(&s[0])
}

// sliceAt is memory of the library's as a slice.
func sliceAt[T any](p unsafe.Pointer, n int) []T { return unsafe.Slice((*T)(p), n) }

// MasterSubmit sends msg with its payload and fds.
func MasterSubmit(m *Master, msg *Msg, payload []byte, fds []int32) (ticket uint64, err error) {
	c := msg.sized()
	c.PayloadSize, c.NFds = uint32(len(payload)), uint32(len(fds))
	err = rcError(uintptr(C.go_submit((*C.struct_vh_master)(unsafe.Pointer(m)),
		(*C.struct_vh_msg)(unsafe.Pointer(c)), (*C.uint8_t)(first(payload)), (*C.vh_fd)(first(fds)),
		(*C.uint64_t)(unsafe.Pointer(&ticket)))))
	return ticket, err
}

// SlaveSubmit does the same for a back-end.
func SlaveSubmit(s *Slave, msg *Msg, payload []byte, fds []int32) (ticket uint64, err error) {
	c := msg.sized()
	c.PayloadSize, c.NFds = uint32(len(payload)), uint32(len(fds))
	err = rcError(uintptr(C.go_slave_submit((*C.struct_vh_slave)(unsafe.Pointer(s)),
		(*C.struct_vh_msg)(unsafe.Pointer(c)), (*C.uint8_t)(first(payload)), (*C.vh_fd)(first(fds)),
		(*C.uint64_t)(unsafe.Pointer(&ticket)))))
	return ticket, err
}

// Memory is memory of C's, zeroed: the library may keep addresses of it. Nil when there is none.
func Memory(bytes uintptr) unsafe.Pointer { return C.calloc(1, C.size_t(bytes)) }

// Free gives Memory back.
func Free(p unsafe.Pointer) { C.free(p) }
