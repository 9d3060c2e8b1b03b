// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vdpa

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"
)

const (
	familyName  = "vdpa"
	answerRoom  = 32768 // what the kernel puts into one datagram of a dump at most
	maxMessages = 65536 // of one answer
	headLen     = 16
	genlLen     = 20

	flagRequest  = 1
	flagAck      = 4
	flagDumpIntr = 0x10
	flagCapped   = 0x100
	flagTLVs     = 0x200
	flagDump     = 0x300

	typeError   = 2
	typeDone    = 3
	typeMin     = 16 // of families, and the number of the one that knows them
	getFamily   = 3
	familyID    = 1
	familyByKey = 2
	ackSentence = 1
	attrType    = 0x3fff

	solNetlink = 270
	capAck     = 10
	extAck     = 11
)

// native is the byte order of netlink: this machine's.
var native binary.ByteOrder = func() binary.ByteOrder {
	n := uint16(1)
	if *(*byte)(unsafe.Pointer(&n)) == 1 {
		return binary.LittleEndian
	}
	return binary.BigEndian
}()

// Conn is a generic netlink socket. Receive gives one datagram of the kernel's: nothing of other processes, and an error
// when it is larger than the buffer.
type Conn interface {
	Send(b []byte) error
	Receive(b []byte, deadline time.Time) (int, error)
	Close() error
}

type socket struct{ fd int }

func dial() (Conn, error) {
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_GENERIC)
	if err != nil {
		return nil, err
	}
	// With them an error is short and has a sentence; without them it has a number.
	_ = syscall.SetsockoptInt(fd, solNetlink, capAck, 1)
	_ = syscall.SetsockoptInt(fd, solNetlink, extAck, 1)
	return &socket{fd}, nil
}

func (s *socket) Close() error { return syscall.Close(s.fd) }

func (s *socket) Send(b []byte) error {
	for {
		err := syscall.Sendto(s.fd, b, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK})
		if err != syscall.EINTR {
			return err
		}
	}
}

func (s *socket) Receive(b []byte, deadline time.Time) (int, error) {
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return 0, os.ErrDeadlineExceeded
		}
		tv := syscall.NsecToTimeval(int64(left) + int64(time.Microsecond))
		if err := syscall.SetsockoptTimeval(s.fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &tv); err != nil {
			return 0, err
		}
		n, _, flags, from, err := syscall.Recvmsg(s.fd, b, nil, 0)
		sender, netlink := from.(*syscall.SockaddrNetlink)
		switch {
		case err == syscall.EINTR || err == syscall.EAGAIN:
			continue
		case err != nil:
			return 0, err
		case netlink && sender.Pid != 0: // anybody may send to a netlink socket
			continue
		case flags&syscall.MSG_TRUNC != 0:
			return 0, syscall.EMSGSIZE
		}
		return n, nil
	}
}

// Error is a call that failed: errors.Is(err, syscall.ENODEV) and the like for the errno value.
type Error struct {
	Op    string        // "add vnet0"
	Errno syscall.Errno // what the kernel says
	Text  string        // what the kernel says in words, "" where it says none
	Hint  string        // what to try, or ""
}

func (e *Error) Error() string {
	s := "vdpa: " + e.Op + ": " + e.Errno.Error()
	if e.Errno == notSupp {
		s = "vdpa: " + e.Op + ": not supported (ENOTSUPP)"
	}
	if e.Text != "" {
		s += ": " + e.Text
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Errno }

// notSupp is a number of the kernel's own that gets out all the same.
const notSupp = syscall.Errno(524)

// Is takes ENOTSUPP for ENOTSUP.
func (e *Error) Is(target error) bool { return e.Errno == notSupp && target == syscall.ENOTSUP }

func failed(op string, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Op: op, Errno: syscall.ETIMEDOUT, Hint: "no answer of the kernel in time"}
	case errors.As(err, &errno):
		return &Error{Op: op, Errno: errno}
	}
	return fmt.Errorf("vdpa: %s: %w", op, err)
}

// wrong is an answer that breaks the rules of netlink.
func wrong(format string, args ...any) error {
	return fmt.Errorf("vdpa: netlink: "+format+": %w", append(args, syscall.EPROTO)...)
}

// request is a message in the making.
type request struct {
	b            []byte
	warningsFail bool // where the kernel says that it did nothing, and no error
}

func newRequest(cmd byte, dump bool) *request {
	b := make([]byte, genlLen)
	flags := uint16(flagRequest | flagAck)
	if dump {
		flags |= flagDump
	}
	native.PutUint16(b[6:], flags)
	b[16], b[17] = cmd, 1
	return &request{b: b}
}

func (r *request) put(attr uint16, data []byte) {
	var head [4]byte
	native.PutUint16(head[:], uint16(4+len(data)))
	native.PutUint16(head[2:], attr)
	r.b = append(append(r.b, head[:]...), data...)
	for len(r.b)%4 != 0 {
		r.b = append(r.b, 0)
	}
}

func (r *request) putText(attr uint16, text string) { r.put(attr, append([]byte(text), 0)) }

func (r *request) put16(attr uint16, n int) {
	var b [2]byte
	native.PutUint16(b[:], uint16(n))
	r.put(attr, b[:])
}

func (r *request) put32(attr uint16, n uint32) {
	var b [4]byte
	native.PutUint32(b[:], n)
	r.put(attr, b[:])
}

func (r *request) put64(attr uint16, n uint64) {
	var b [8]byte
	native.PutUint64(b[:], n)
	r.put(attr, b[:])
}

type attr struct {
	kind uint16
	data []byte
}

func (a attr) text() (string, error) {
	end := bytes.IndexByte(a.data, 0)
	if end < 0 || end > 255 {
		return "", wrong("the string of attribute %d has no end within 256 bytes", a.kind)
	}
	return string(a.data[:end]), nil
}

// number is of that many bytes; one of two may have one.
func (a attr) number(width int) (uint64, error) {
	if len(a.data) != width && (width != 2 || len(a.data) != 1) {
		return 0, wrong("attribute %d has %d bytes, not %d", a.kind, len(a.data), width)
	}
	switch len(a.data) {
	case 1:
		return uint64(a.data[0]), nil
	case 2:
		return uint64(native.Uint16(a.data)), nil
	case 4:
		return uint64(native.Uint32(a.data)), nil
	}
	return native.Uint64(a.data), nil
}

func padded(n int) int { return (n + 3) &^ 3 }

func parse(b []byte) (attrs []attr, err error) {
	for len(b) >= 4 {
		n := int(native.Uint16(b))
		if n < 4 || n > len(b) {
			return nil, wrong("an attribute says %d bytes, and %d are left", n, len(b))
		}
		attrs = append(attrs, attr{native.Uint16(b[2:]) & attrType, b[4:n]})
		if n = padded(n); n > len(b) {
			n = len(b)
		}
		b = b[n:]
	}
	return attrs, nil
}

// session is one socket, for one call.
type session struct {
	conn   Conn
	seq    uint32
	family uint16

	timeout time.Duration
}

// begin opens a socket, and finds the family.
func (m *Manager) begin(op string) (*session, error) {
	open := m.Dial
	if open == nil {
		open = dial
	}
	conn, err := open()
	if err != nil {
		return nil, failed(op, err)
	}
	timeout := m.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	s := &session{conn: conn, timeout: timeout}
	r := newRequest(getFamily, false)
	r.putText(familyByKey, familyName)
	err = s.transact(op, r, typeMin, func(attrs []attr) error {
		for _, a := range attrs {
			if a.kind == familyID {
				n, err := a.number(2)
				if err != nil {
					return err
				}
				s.family = uint16(n)
			}
		}
		return nil
	})
	if err == nil && s.family < typeMin {
		err = wrong("the family %q has no number", familyName)
	}
	if err != nil {
		conn.Close()
		var e *Error
		if errors.As(err, &e) && e.Errno == syscall.ENOENT {
			e.Hint = "this kernel has no vDPA: load the module vdpa, and call from the initial network namespace"
		}
		return nil, err
	}
	return s, nil
}

// ask is one request of the family; every answer to it is taken.
func (s *session) ask(op string, r *request, take func([]attr) error) error {
	return s.transact(op, r, s.family, take)
}

func (s *session) transact(op string, r *request, kind uint16, take func([]attr) error) error {
	s.seq++
	native.PutUint32(r.b, uint32(len(r.b)))
	native.PutUint16(r.b[4:], kind)
	native.PutUint32(r.b[8:], s.seq)
	if err := s.conn.Send(r.b); err != nil {
		return failed(op, err)
	}
	// The kernel works while it is told, which may take long: what it answers is there then.
	end := time.Now().Add(s.timeout)
	a := answers{op: op, seq: s.seq, take: take, warningsFail: r.warningsFail}
	buf := make([]byte, answerRoom)
	for !a.over {
		n, err := s.conn.Receive(buf, end)
		if err != nil {
			return failed(op, err)
		}
		if err := a.datagram(buf[:n]); err != nil {
			return err
		}
	}
	if a.err == nil && a.changed {
		return &Error{Op: op, Errno: syscall.EAGAIN, Hint: "the list changed while it was read; ask again"}
	}
	return a.err
}

// answers are those to one request.
type answers struct {
	op       string
	seq      uint32
	take     func([]attr) error
	messages int
	err      error // the first of take's
	changed  bool
	over     bool

	warningsFail bool
}

func (a *answers) datagram(b []byte) error {
	for !a.over && len(b) >= headLen {
		n := int(native.Uint32(b))
		if n < headLen || n > len(b) {
			return wrong("a message says %d bytes, and %d are left", n, len(b))
		}
		if a.messages++; a.messages > maxMessages {
			return wrong("more than %d messages", maxMessages)
		}
		if native.Uint32(b[8:]) == a.seq { // others are of a call that was given up
			if err := a.message(native.Uint16(b[4:]), native.Uint16(b[6:]), b[headLen:n]); err != nil {
				return err
			}
		}
		if n = padded(n); n > len(b) {
			n = len(b)
		}
		b = b[n:]
	}
	return nil
}

func (a *answers) message(kind, flags uint16, b []byte) error {
	a.changed = a.changed || flags&flagDumpIntr != 0
	if kind == typeError || kind == typeDone {
		return a.last(flags, b)
	}
	if kind < typeMin || len(b) < genlLen-headLen || a.take == nil || a.err != nil {
		return nil
	}
	attrs, err := parse(b[genlLen-headLen:])
	if err == nil {
		err = a.take(attrs)
	}
	a.err = err
	return nil
}

// last is an error, or that there is no more.
func (a *answers) last(flags uint16, b []byte) error {
	if len(b) < 4 {
		return wrong("a last message of %d bytes", len(b))
	}
	a.over = true
	code, text := int32(native.Uint32(b)), sentence(flags, b)
	if code >= 0 && a.warningsFail && text != "" {
		code = -int32(syscall.EOPNOTSUPP)
	}
	if code >= 0 {
		return nil
	}
	return &Error{Op: a.op, Errno: syscall.Errno(-code), Text: text}
}

func sentence(flags uint16, b []byte) string {
	if flags&flagTLVs == 0 || len(b) < 4+headLen {
		return ""
	}
	skip := 4 + headLen
	if flags&flagCapped == 0 {
		if skip = 4 + padded(int(native.Uint32(b[4:]))); skip < 4+headLen || skip > len(b) {
			return ""
		}
	}
	attrs, err := parse(b[skip:])
	if err != nil {
		return ""
	}
	for _, a := range attrs {
		if a.kind == ackSentence {
			text, _ := a.text()
			return text
		}
	}
	return ""
}
