// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/libvh/libvh/go/internal/raw"
)

type (
	DriverOpts = raw.DriverOpts // options of NewDriver and NewDriverOver
	DriverRing = raw.DriverRing // where a ring is
)

// A session is what the library has of a Driver. Its back-end knows it, because it must not outlive that; whoever is inside of
// the back-end's handle may touch it.
type session struct {
	p     *raw.Driver
	blk   *blkSession
	net   *netSession
	life  life
	sleep *waiter
}

type blkSession struct {
	p    *raw.Blk
	life life
}

func (s *blkSession) free() {
	if s != nil && s.life.end() {
		raw.BlkFree(s.p)
	}
}

type netSession struct {
	p    *raw.Net
	life life
}

func (s *netSession) free() {
	if s != nil && s.life.end() {
		raw.NetFree(s.p)
	}
}

type sessions struct{ all []*session }

// lent are Drivers whose memory was handed out: a slice of it does not keep them from being collected.
var lent sync.Map // of *session: *Driver

func (s *session) free() {
	lent.Delete(s)
	if s.life.end() {
		s.blk.free()
		s.net.free()
		s.sleep.close()
		raw.DriverFree(s.p)
	}
}

func (ss *sessions) freeAll() {
	for _, s := range ss.all {
		s.free()
	}
	ss.all = nil
}

func (ss *sessions) drop(gone *session) {
	for i, s := range ss.all {
		if s == gone {
			ss.all = append(ss.all[:i], ss.all[i+1:]...)
			return
		}
	}
}

// Driver takes a back-end from open to running queues. It uses that one's connection and ends with it.
type Driver struct {
	b         *Backend
	s         *session
	spin      time.Duration // of a wait, before it sleeps
	sleepless bool
}

// NewDriver negotiates and allocates rings; nil options are the defaults.
func NewDriver(ctx context.Context, what Drivable, opts *DriverOpts) (*Driver, error) {
	return newDriver(ctx, what, nil, opts)
}

// NewDriverOver negotiates and shares memory of the caller's; rings that somebody else drives come from SetRing.
func NewDriverOver(ctx context.Context, what Drivable, mem *Memory, opts *DriverOpts) (*Driver, error) {
	if mem == nil {
		return nil, missing("memory")
	}
	return newDriver(ctx, what, mem, opts)
}

func newDriver(ctx context.Context, what Drivable, mem *Memory, opts *DriverOpts) (*Driver, error) {
	var b *Backend
	if what != nil {
		b = what.drives()
	}
	if b == nil {
		return nil, missing("back-end")
	}
	d := &Driver{b: b, s: &session{}}
	if opts != nil {
		d.sleepless = opts.PollUS == PollAlways
		d.spin = time.Duration(opts.PollUS) * time.Microsecond
	}
	if d.sleepless {
		d.spin = between
	}
	err := b.wait(ctx, func() error {
		var over *raw.Mem
		if mem != nil { // in the order in which a callback comes to both
			if err := mem.enter(ctx); err != nil {
				return err
			}
			defer mem.leave()
			over = mem.p
		}
		p, err := made(func(out **raw.Driver) error {
			return b.with(func(p *raw.Backend) error { return raw.DriverNew(opts, p, over, out) })
		})
		if err != nil {
			return err
		}
		d.s.p = p
		b.sessions.all = append(b.sessions.all, d.s)
		fd, err := raw.DriverFD(p).Get()
		if err == nil {
			d.s.sleep, err = newWaiter(int(fd))
		}
		return err
	})
	if err != nil {
		if d.s.p != nil {
			d.Close()
		}
		return nil, err
	}
	runtime.SetFinalizer(d, forgotten[*Driver])
	return d, nil
}

// Close stops what runs, and ends a Blk or Net of it. Memory of Alloc is no memory any more.
func (d *Driver) Close() error {
	runtime.SetFinalizer(d, nil)
	defer runtime.KeepAlive(d) // and so its back-end, whose end would end the requests in flight
	err := d.b.do(func() error {
		d.b.last(func() {
			d.b.sessions.drop(d.s)
			d.s.free()
		})
		return nil
	})
	if err == os.ErrClosed { // with the back-end
		return nil
	}
	return err
}

// wait is a call that waits for the back-end.
func (d *Driver) wait(ctx context.Context, call func() error) error {
	defer runtime.KeepAlive(d)
	return d.b.wait(ctx, func() error { return d.s.use(call) })
}

// do is one that does not.
func (d *Driver) do(call func() error) error {
	defer runtime.KeepAlive(d)
	return d.b.do(func() error { return d.s.use(call) })
}

func (s *session) use(call func() error) error {
	if err := s.life.enter(); err != nil {
		return err
	}
	defer s.life.leave()
	return call()
}

// Start shares memory, starts and enables every queue.
func (d *Driver) Start(ctx context.Context) error {
	return d.wait(ctx, func() error { return raw.DriverStart(d.s.p) })
}

// Stop stops every queue; requests in flight complete first, for which they have half a minute: see StopWithin.
func (d *Driver) Stop(ctx context.Context) error { return d.StopWithin(ctx, 30*time.Second) }

// StopWithin is Stop with a limit for requests in flight. EBUSY: they did not complete; the session runs on.
func (d *Driver) StopWithin(ctx context.Context, limit time.Duration) error {
	for end := time.Now().Add(limit); ; {
		left := time.Until(end)
		part := left
		if part > look { // a session whose back-end may come back is not ended by the end of a connection, nor is its wait
			part = look
		}
		err := d.stop(ctx, 0, part)
		if left <= look || !errors.Is(err, syscall.EBUSY) {
			return err
		}
	}
}

// Drop is Stop without requests in flight: nobody completes them any more, and a queue that had some begins anew.
func (d *Driver) Drop(ctx context.Context) error { return d.stop(ctx, DriverStopDrop, 0) }

func (d *Driver) stop(ctx context.Context, flags uint32, limit time.Duration) error {
	ms := uint32(1) // 0 stands for more
	if limit > time.Millisecond {
		ms = uint32(limit / time.Millisecond)
	}
	return d.wait(ctx, func() error { return raw.DriverStop(d.s.p, flags, ms) })
}

// Features are the bits that both sides have.
func (d *Driver) Features() (features uint64, err error) {
	err = d.do(func() error { return raw.DriverFeatures(d.s.p, &features) })
	return features, err
}

// Alloc is zeroed memory that the device sees, good until the Driver or its Master is closed: buffers for Queue.Submit and
// Blk.Submit. A Driver that has given some is never closed for you.
func (d *Driver) Alloc(ctx context.Context, length int) ([]byte, error) {
	return d.alloc(ctx, length, func() { lent.Store(d.s, d) })
}

func (d *Driver) alloc(ctx context.Context, length int, done func()) ([]byte, error) {
	var addr uint64
	err := d.wait(ctx, func() error {
		err := raw.DriverAlloc(d.s.p, uint64(length), &addr)
		if err == nil {
			done()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(raw.At(addr)), length), nil
}

// Queue is a queue of the session. It ends with the Driver.
func (d *Driver) Queue(index int) (*Queue, error) {
	var p *raw.Queue
	if err := d.do(func() error { return raw.DriverQueue(d.s.p, u32(index), &p) }); err != nil {
		return nil, err
	}
	return borrowed(p, &d.s.life, d), nil
}

// Snapshot pins the session's guest memory.
func (d *Driver) Snapshot() (*Snapshot, error) {
	return newSnapshot(func(out **raw.Snapshot) error {
		return d.do(func() error { return raw.DriverDupSnapshot(d.s.p, out) })
	})
}
