// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"errors"
	"os"
	"runtime"
	"syscall"

	"github.com/libvh/libvh/go/internal/raw"
)

type (
	SlaveOpts  = raw.SlaveOpts
	SlaveStats = raw.SlaveStats
	Event      = raw.Event
	Reconnect  = raw.Reconnect
)

// Slave is a vhost-user back-end: a device behind a unix socket. Calls may come from several goroutines, one at a time
// is let in; its queues may be driven meanwhile.
type Slave struct {
	*handle
	p     *raw.Slave
	dev   *Device
	sleep *waiter
}

// Listen is a back-end at an address: a path, "unix:" and a path, "@name", "fd:3", "systemd:name". It does nothing before
// Serve.
func Listen(path string, dev *Device) (*Slave, error) {
	s, err := NewSlave(dev, nil)
	if err != nil {
		return nil, err
	}
	if err := s.Listen(path); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// NewSlave is a back-end without a socket; nil options are the defaults.
func NewSlave(dev *Device, opts *SlaveOpts) (*Slave, error) { return NewSlaveAsked(dev, opts, nil) }

// NewSlaveAsked is a back-end whose user answers what neither the library nor the device does: messages that are not in
// the protocol, and those of SlaveOpts.MoreProtocolFeatures. Request may return ErrLater, and call Submit and Answer.
func NewSlaveAsked(dev *Device, opts *SlaveOpts, request func(*FrontendRequest) error) (*Slave, error) {
	if dev == nil {
		return nil, missing("device")
	}
	s := &Slave{handle: newHandle(dev.caught), dev: dev}
	err := dev.attach(s.handle, func() (err error) {
		s.p, err = made(func(out **raw.Slave) error { return raw.SlaveNew(opts, dev.p, slaveOps(dev.caught, request), out) })
		return err
	})
	if err != nil {
		return nil, err
	}
	fd, err := raw.SlaveFD(s.p).Get()
	if err == nil {
		s.sleep, err = newWaiter(fd)
	}
	if err != nil {
		raw.SlaveFree(s.p)
		return nil, err
	}
	runtime.SetFinalizer(s, forgotten[*Slave])
	return s, nil
}

func slaveOps(c *caught, request func(*FrontendRequest) error) *raw.SlaveOps {
	if request == nil {
		return nil
	}
	return &raw.SlaveOps{Request: func(req *raw.MsgRequest) int32 { return asked(c, req, request) }}
}

// Close ends the connection and removes the socket. Serve returns os.ErrClosed. Views of requests end: it waits for
// Queue.Each, and who calls Pop himself has to be done.
func (s *Slave) Close() error {
	runtime.SetFinalizer(s, nil)
	s.sleep.close()
	return s.shut(nil, func() { raw.SlaveFree(s.p) })
}

// Listen on a socket: a path or another address. A stale socket there is replaced, anything else stays and is an error.
func (s *Slave) Listen(path string) error {
	if err := plain(path); err != nil {
		return err
	}
	return s.do(func() error { return raw.SlaveListen(s.p, path) })
}

// Connect to a front-end that listens. With a policy: while it is served, and again after each end; events tell of it.
func (s *Slave) Connect(path string, policy *Reconnect) error {
	if err := plain(path); err != nil {
		return err
	}
	return s.do(func() error { return raw.SlaveConnect(s.p, path, policy) })
}

// Adopt uses a unix stream socket that is open already, listening or connected. It is duplicated.
func (s *Slave) Adopt(socket *os.File) error {
	return withFd(socket, func(fd int32) error {
		return s.do(func() error { return raw.SlaveAdopt(s.p, fd) })
	})
}

// Serve dispatches until ctx is done, Close or Stop comes, or a callback of the device returns an error. The connection
// survives it: Serve may be called again. It installs the memory guard; who wants none calls Wait and Dispatch himself.
func (s *Slave) Serve(ctx context.Context) error {
	_ = InstallMemoryGuard()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := s.Dispatch()
		if err == nil && !more {
			err = pause(ctx, s.sleep, 0) // Finish waits there as well
		}
		if err != nil {
			return err
		}
	}
}

// Wait parks the goroutine until Dispatch has something to do.
func (s *Slave) Wait(ctx context.Context) error { return s.sleep.wait(ctx, 0) }

// Dispatch does what is to be done and never blocks. More: there is more to do at once.
func (s *Slave) Dispatch() (more bool, err error) {
	err = s.do(func() error {
		n, err := raw.SlaveDispatch(s.p).Get()
		more = n > 0
		if said := s.caught.takeErr(); said != nil {
			return said
		}
		return err
	})
	return more, err
}

// NextEvent takes the oldest pending event; ok is false when there is none.
func (s *Slave) NextEvent() (event Event, ok bool, err error) {
	err = s.do(func() error {
		n, err := raw.SlaveNextEvent(s.p, &event).Get()
		ok = n > 0
		return err
	})
	return event, ok, err
}

// Queue is a queue of the device. It ends with the Slave.
func (s *Slave) Queue(index int) (*Queue, error) {
	var p *raw.Queue
	if err := s.do(func() error { return raw.SlaveQueue(s.p, u32(index), &p) }); err != nil {
		return nil, err
	}
	return borrowed(p, &s.life, s), nil
}

// Snapshot pins the guest memory that the front-end shares now.
func (s *Slave) Snapshot() (*Snapshot, error) {
	return newSnapshot(func(out **raw.Snapshot) error {
		return s.do(func() error { return raw.SlaveDupSnapshot(s.p, out) })
	})
}

// SlaveState is what a successor needs to go on where a Slave stood. The files are its owner's to close.
type SlaveState struct {
	Data  []byte
	Files []*os.File
}

// Close closes the files.
func (st *SlaveState) Close() {
	for _, f := range st.Files {
		f.Close()
	}
}

// Pause takes nothing new, and serves until nothing is owed or in flight, or ctx is done: then it is still asked for.
func (s *Slave) Pause(ctx context.Context) error {
	for {
		err := s.do(func() error { return raw.SlavePause(s.p) })
		if !errors.Is(err, syscall.EINPROGRESS) {
			return err
		}
		more, err := s.Dispatch()
		if err == nil && !more {
			err = pause(ctx, s.sleep, 0)
		}
		if err != nil {
			return err
		}
	}
}

// Resume goes on after Pause, also after Export when the successor did not come up.
func (s *Slave) Resume() error { return s.do(func() error { return raw.SlaveResume(s.p) }) }

// Export is the state of a Slave that is paused. When the successor serves, close this one.
func (s *Slave) Export() (*SlaveState, error) {
	st := &SlaveState{}
	err := s.do(func() error {
		var n uint32
		size, err := raw.SlaveExport(s.p, nil, nil, &n)
		if err != nil {
			return err
		}
		st.Data = make([]byte, size)
		fds := make([]int32, n)
		if _, err := raw.SlaveExport(s.p, st.Data, fds, &n); err != nil {
			return err
		}
		for _, fd := range fds {
			st.Files = append(st.Files, fileOf(fd, "slave state"))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return st, nil
}

// Import goes on where another Slave stood, however its state came here. This one is new; the files stay the caller's.
func (s *Slave) Import(st *SlaveState) error {
	return withFds(st.Files, func(fds []int32) error {
		return s.do(func() error { return raw.SlaveImport(s.p, st.Data, fds) })
	})
}

// Disconnect ends the connection and goes on listening.
func (s *Slave) Disconnect() error { return s.do(func() error { return raw.SlaveDisconnect(s.p) }) }

// Stats are counters.
func (s *Slave) Stats() (stats SlaveStats, err error) {
	err = s.do(func() error { return raw.SlaveGetStats(s.p, &stats) })
	return stats, err
}

// Wake makes Wait return, as if something had come.
func (s *Slave) Wake() error { return s.do(func() error { return raw.SlaveWake(s.p) }) }

// Stop makes every further call return ESHUTDOWN, also one that waits.
func (s *Slave) Stop() error {
	defer s.sleep.wake()
	return s.do(func() error { return raw.SlaveStop(s.p) })
}

// SetLogger sends log lines to line, nil: nowhere. Level: LogError to LogDebug.
func (s *Slave) SetLogger(level uint32, line func(level uint32, text string)) error {
	return s.do(func() error { return raw.SlaveSetLogger(s.p, logOps(s.caught, level, line)) })
}

// SetTrace shows message every message; nil: off.
func (s *Slave) SetTrace(message func(*Message)) error {
	return s.do(func() error { return raw.SlaveSetTrace(s.p, traceOps(s.caught, message)) })
}
