// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"os"
	"runtime"

	"github.com/libvh/libvh/go/internal/raw"
)

type (
	MasterOpts  = raw.MasterOpts
	MasterStats = raw.MasterStats
	VringAddr   = raw.VringAddr
)

// Master is a vhost-user front-end. Calls may come from several goroutines, one at a time is let in. A context that is
// done while a call waits for the back-end ends the connection, because a late reply must not be taken for the next
// one; the error is then both the context's and ECANCELED. MasterOpts.TimeoutMS limits each wait too.
type Master struct {
	*Backend
	p     *raw.Master
	sleep *waiter
}

// Dial connects to a back-end that listens; at a path or another address.
func Dial(ctx context.Context, path string) (*Master, error) {
	m, err := NewMaster(nil, nil)
	if err != nil {
		return nil, err
	}
	if err := m.Connect(ctx, path); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// NewMaster is a front-end without a connection; nil options are the defaults. Handler is asked for what the back-end
// asks and the library does not answer itself: a func(*BackendRequest) error, or what implements any of BackendAsked,
// IotlbAnswerer, ShmemMapper, HostNotifier, ObjectKeeper and FsCache. It may return ErrLater, and call Submit and Answer. Nil: refuse.
func NewMaster(opts *MasterOpts, handler any) (*Master, error) {
	m := &Master{Backend: newBackend(&caught{})}
	p, err := made(func(out **raw.Master) error { return raw.MasterNew(opts, masterOps(m.caught, handler), out) })
	if err != nil {
		return nil, err
	}
	m.p = p
	m.of = func(out **raw.Backend) error { return raw.MasterBackend(p, out) }
	m.interrupt = m.cancel
	fd, err := raw.MasterFD(m.p).Get()
	if err == nil {
		m.sleep, err = newWaiter(fd)
	}
	if err != nil {
		raw.MasterFree(m.p)
		return nil, err
	}
	runtime.SetFinalizer(m, forgotten[*Master])
	return m, nil
}

// masterOps: a wait goes on after a signal, of which Go programs get some for reasons of their own; ended by one, it would
// lose the reply.
func masterOps(c *caught, handler any) *raw.MasterOps {
	ops := &raw.MasterOps{Waiting: func() int32 { return 0 }}
	request, _ := handler.(func(*BackendRequest) error)
	if h, ok := handler.(BackendAsked); ok {
		request = h.BackendRequest
	}
	if request != nil {
		ops.BackendRequest = func(req *raw.MsgRequest) int32 { return asked(c, req, request) }
	}
	channelOps(c, ops, handler)
	return ops
}

// Close ends a call that waits, its Drivers, and the connection.
func (m *Master) Close() error {
	runtime.SetFinalizer(m, nil)
	m.sleep.close()
	return m.shut(m.cancel, func() {
		m.sessions.freeAll()
		raw.MasterFree(m.p)
	})
}

func (m *Master) drives() *Backend {
	if m == nil {
		return nil
	}
	return m.Backend
}

// cancel ends a call that waits, and the connection with it.
func (m *Master) cancel() {
	if m.life.enter() == nil {
		raw.MasterCancel(m.p)
		m.life.leave()
	}
}

// Connect to a back-end that listens.
func (m *Master) Connect(ctx context.Context, path string) error {
	if err := plain(path); err != nil {
		return err
	}
	return m.wait(ctx, func() error { return raw.MasterConnect(m.p, path) })
}

// Listen for a back-end that connects.
func (m *Master) Listen(path string) error {
	if err := plain(path); err != nil {
		return err
	}
	return m.do(func() error { return raw.MasterListen(m.p, path) })
}

// Accept waits for it.
func (m *Master) Accept(ctx context.Context) error {
	return m.wait(ctx, func() error { return raw.MasterAccept(m.p) })
}

// Adopt uses a connected unix stream socket, which is duplicated.
func (m *Master) Adopt(socket *os.File) error {
	return withFd(socket, func(fd int32) error {
		return m.do(func() error { return raw.MasterAdopt(m.p, fd) })
	})
}

// Socketpair connects to a back-end that will be given the other end.
func (m *Master) Socketpair() (*os.File, error) {
	var fd int32
	if err := m.do(func() error { return raw.MasterSocketpair(m.p, &fd) }); err != nil {
		return nil, err
	}
	return fileOf(fd, "vhost-user"), nil
}

// Disconnect closes the connection; what is expected on it fails.
func (m *Master) Disconnect() error { return m.do(func() error { return raw.MasterDisconnect(m.p) }) }

// Dispatch sends and receives what can be, and never blocks. More: there is more to do at once.
func (m *Master) Dispatch() (more bool, err error) {
	err = m.do(func() error {
		n, err := raw.MasterDispatch(m.p).Get()
		more = n > 0
		if said := m.caught.takeErr(); said != nil {
			return said
		}
		return err
	})
	return more, err
}

// Wait parks the goroutine until Dispatch has something to do.
func (m *Master) Wait(ctx context.Context) error { return m.sleep.wait(ctx, 0) }

// NextEvent takes the oldest pending event; ok is false when there is none.
func (m *Master) NextEvent() (event Event, ok bool, err error) {
	err = m.do(func() error {
		n, err := raw.MasterNextEvent(m.p, &event).Get()
		ok = n > 0
		return err
	})
	return event, ok, err
}

// Stop makes every further call return ESHUTDOWN, also one that waits.
func (m *Master) Stop() error {
	if m.busy() {
		m.cancel()
	}
	defer m.sleep.wake()
	return m.do(func() error { return raw.MasterStop(m.p) })
}

// Stats are counters.
func (m *Master) Stats() (stats MasterStats, err error) {
	err = m.do(func() error { return raw.MasterGetStats(m.p, &stats) })
	return stats, err
}

// SetLogger sends log lines to line, nil: nowhere. Level: LogError to LogDebug.
func (m *Master) SetLogger(level uint32, line func(level uint32, text string)) error {
	return m.do(func() error { return raw.MasterSetLogger(m.p, logOps(m.caught, level, line)) })
}

// SetTrace shows message every message; nil: off.
func (m *Master) SetTrace(message func(*Message)) error {
	return m.do(func() error { return raw.MasterSetTrace(m.p, traceOps(m.caught, message)) })
}
