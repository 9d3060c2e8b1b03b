// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/libvh/libvh/go/internal/raw"
)

// RawRequest is any vhost-user message.
type RawRequest struct {
	ID      uint32
	Reply   uint32 // ReplyTable, ReplyNone, ReplyAck or ReplyOwn
	Payload []byte
	Files   []*os.File
}

// RawReply is what came back.
type RawReply struct {
	ID, Flags uint32
	Payload   []byte
	Files     []*os.File // the caller's to close
}

// Ticket names a reply that is expected; 0 is none.
type Ticket uint64

// PeerRequest is a request that the other side makes, good during the callback.
type PeerRequest struct {
	ID      uint32
	Payload []byte
	Token   uint64 // for Answer, 0 when no answer is wanted
	fds     []int32
}

// BackendRequest is one of a back-end, FrontendRequest one of a front-end.
type (
	BackendRequest  = PeerRequest
	FrontendRequest = PeerRequest
)

// Files are duplicates of what came with it.
func (r *PeerRequest) Files() ([]*os.File, error) {
	files := make([]*os.File, 0, len(r.fds))
	for _, fd := range r.fds {
		dup, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_DUPFD_CLOEXEC, 0)
		if errno != 0 {
			closeAll(files)
			return nil, os.NewSyscallError("fcntl", errno)
		}
		files = append(files, fileOf(int32(dup), "vhost-user"))
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// asked lets request see one for the time of the call.
func asked(c *caught, req *raw.MsgRequest, request func(*PeerRequest) error) int32 {
	r := PeerRequest{ID: req.Request, Token: req.Token,
		Payload: unsafe.Slice((*byte)(raw.At(req.Payload)), int(req.PayloadSize)),
		fds:     unsafe.Slice((*int32)(raw.At(req.Fds)), int(req.NFds))}
	defer func() { r.Payload, r.fds = nil, nil }()
	return c.run(func() error { return request(&r) })
}

// replied waits for what finish gives, with the goroutine parked. When ctx is done the reply is still expected.
func replied(ctx context.Context, sleep *waiter, dispatch func() (bool, error), finish func() (*RawReply, error)) (*RawReply, error) {
	for {
		more, failed := dispatch()
		reply, err := finish()
		if !errors.Is(err, syscall.EINPROGRESS) {
			return reply, err
		}
		if failed != nil {
			return nil, failed
		}
		if !more {
			// The call of another goroutine may have received the reply.
			if err := pause(ctx, sleep, look); err != nil {
				return nil, err
			}
		}
	}
}

// pause parks until there may be news, at most for the limit (0: none). One goroutine only can wait for the socket; another
// one looks from time to time.
func pause(ctx context.Context, sleep *waiter, limit time.Duration) error {
	err := sleep.wait(ctx, limit)
	if !errors.Is(err, syscall.EBUSY) {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(look):
		return nil
	}
}

// replyOf makes room for any reply.
func replyOf(finish func(payload []byte, fds []int32, header *raw.MsgReply) error) (*RawReply, error) {
	var header raw.MsgReply
	payload, fds := make([]byte, MsgMaxPayload), make([]int32, MsgMaxFds)
	if err := finish(payload, fds, &header); err != nil {
		return nil, err
	}
	reply := &RawReply{ID: header.Request, Flags: header.Flags, Payload: payload[:header.PayloadSize]}
	for _, fd := range fds[:header.NFds] {
		reply.Files = append(reply.Files, fileOf(fd, "vhost-user"))
	}
	return reply, nil
}

// Submit sends a message and does not wait.
func (m *Master) Submit(r *RawRequest) (ticket Ticket, err error) {
	err = withFds(r.Files, func(fds []int32) error {
		return m.do(func() error {
			t, err := raw.MasterSubmit(m.p, &raw.Msg{Request: r.ID, Reply: r.Reply}, r.Payload, fds)
			ticket = Ticket(t)
			return err
		})
	})
	return ticket, err
}

// Finish waits for a reply, with the goroutine parked. When ctx is done the reply is still expected: ask again.
func (m *Master) Finish(ctx context.Context, ticket Ticket) (*RawReply, error) {
	return replied(ctx, m.sleep, m.Dispatch, func() (*RawReply, error) {
		return replyOf(func(payload []byte, fds []int32, header *raw.MsgReply) error {
			return m.do(func() error { return raw.MasterFinish(m.p, uint64(ticket), payload, fds, header) })
		})
	})
}

// Answer a BackendRequest whose callback returned ErrLater. Payload and files go with a request that has a reply of its
// own.
func (m *Master) Answer(token uint64, answer error, payload []byte, files []*os.File) error {
	return withFds(files, func(fds []int32) error {
		return m.do(func() error { return raw.MasterAnswer(m.p, token, code(answer), payload, fds) })
	})
}

// Submit sends a request of the back-end's and does not wait. EAGAIN: no ring is started.
func (s *Slave) Submit(r *RawRequest) (ticket Ticket, err error) {
	err = withFds(r.Files, func(fds []int32) error {
		return s.do(func() error {
			t, err := raw.SlaveSubmit(s.p, &raw.Msg{Request: r.ID, Reply: r.Reply}, r.Payload, fds)
			ticket = Ticket(t)
			return err
		})
	})
	return ticket, err
}

// Finish waits for a reply, with the goroutine parked; Serve may go on meanwhile. When ctx is done the reply is still
// expected: ask again.
func (s *Slave) Finish(ctx context.Context, ticket Ticket) (*RawReply, error) {
	return replied(ctx, s.sleep, s.Dispatch, func() (*RawReply, error) {
		return replyOf(func(payload []byte, fds []int32, header *raw.MsgReply) error {
			return s.do(func() error { return raw.SlaveFinish(s.p, uint64(ticket), payload, fds, header) })
		})
	})
}

// Answer a FrontendRequest whose callback returned ErrLater. Payload and a file go with a request that has a reply of its
// own.
func (s *Slave) Answer(token uint64, answer error, payload []byte, files []*os.File) error {
	return withFds(files, func(fds []int32) error {
		return s.do(func() error { return raw.SlaveAnswer(s.p, token, code(answer), payload, fds) })
	})
}
