// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"os"
	"runtime"

	"github.com/libvh/libvh/go/internal/raw"
)

type DirtyInfo = raw.DirtyInfo

// Dirty is a dirty log: which pages of guest memory were written. Its calls may come from several goroutines.
type Dirty struct {
	life life
	p    *raw.Dirty
}

// NewDirty has a bit for each DirtyPage bytes of guest addresses below end, in a memfd.
func NewDirty(end uint64) (*Dirty, error) {
	return madeDirty(func(out **raw.Dirty) error { return raw.DirtyNew(end, out) })
}

// OpenDirty is the log in a file that somebody else made.
func OpenDirty(f *os.File, offset, length uint64) (d *Dirty, err error) {
	err = withFd(f, func(fd int32) error {
		d, err = madeDirty(func(out **raw.Dirty) error { return raw.DirtyOpen(fd, offset, length, out) })
		return err
	})
	return d, err
}

func madeDirty(create func(**raw.Dirty) error) (*Dirty, error) {
	p, err := made(create)
	if err != nil {
		return nil, err
	}
	d := &Dirty{p: p}
	runtime.SetFinalizer(d, forgotten[*Dirty])
	return d, nil
}

// Close un-maps it. Who logs into it keeps it until told otherwise.
func (d *Dirty) Close() error {
	runtime.SetFinalizer(d, nil)
	if d.life.end() {
		raw.DirtyFree(d.p)
	}
	return nil
}

func (d *Dirty) use(call func() error) error {
	if err := d.life.enter(); err != nil {
		return err
	}
	defer d.life.leave()
	defer runtime.KeepAlive(d)
	return call()
}

// with is a call about a log, or about none.
func (d *Dirty) with(call func(*raw.Dirty) error) error {
	if d == nil {
		return call(nil)
	}
	return d.use(func() error { return call(d.p) })
}

// Mark says that a range was written.
func (d *Dirty) Mark(gpa GPA, length uint64) error {
	return d.use(func() error { return raw.DirtyMark(d.p, gpa, length) })
}

// Take tells guest addresses of pages that were written since they were taken last, from one on; ascending. When pages is
// full there may be more.
func (d *Dirty) Take(from GPA, pages []GPA) (n int, err error) {
	err = d.use(func() error {
		n, err = raw.DirtyTake(d.p, from, pages)
		return err
	})
	return n, err
}

// File is a duplicate of the file that it is in.
func (d *Dirty) File() (*os.File, error) {
	var fd int32
	if err := d.use(func() error { return raw.DirtyDupFD(d.p, &fd) }); err != nil {
		return nil, err
	}
	return fileOf(fd, "dirty log"), nil
}

// Info says where it is, how far it goes, and whether something was lost.
func (d *Dirty) Info() (info DirtyInfo, err error) {
	err = d.use(func() error { return raw.DirtyGetInfo(d.p, &info) })
	return info, err
}

// SetDirty has the device log which pages of the session's memory it writes; nil: no more.
func (d *Driver) SetDirty(ctx context.Context, log *Dirty) error {
	return d.wait(ctx, func() error {
		return log.with(func(p *raw.Dirty) error { return raw.DriverSetDirty(d.s.p, p) })
	})
}

// SetDirty logs what the device of a stand-alone queue writes; with QueueLogUsed the ring too, under the guest address used.
// A nil log: no more.
func (q *Queue) SetDirty(log *Dirty, flags uint32, used GPA) error {
	return q.call(func() error {
		return log.with(func(p *raw.Dirty) error { return raw.QueueSetDirty(q.p, p, flags, used) })
	})
}

// Mark says that the device wrote into this piece of guest memory, which the length that it pushes does not tell.
func (q *Queue) Mark(view []byte) error {
	return q.call(func() error { return raw.QueueMark(q.p, Addr(view), uint64(len(view))) })
}

// SetLogBase is the file of the dirty log. Driver.SetDirty does all that is to be done.
func (m *Master) SetLogBase(ctx context.Context, f *os.File, offset, length uint64) error {
	return withFd(f, func(fd int32) error {
		return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSetLogBase(p, fd, offset, length) })
	})
}

// SetLogFd is signalled when the back-end has set bits in the dirty log.
func (m *Master) SetLogFd(ctx context.Context, eventfd *os.File) error {
	return withFd(eventfd, func(fd int32) error {
		return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSetLogFD(p, fd) })
	})
}
