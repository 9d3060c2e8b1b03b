// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"errors"
	"runtime"
	"syscall"

	"github.com/libvh/libvh/go/internal/raw"
)

type (
	IotlbOpts  = raw.IotlbOpts
	IotlbEntry = raw.IotlbEntry
	IotlbMiss  = raw.IotlbMiss
	IotlbStats = raw.IotlbStats
)

// Iotlb is what I/O addresses mean, behind an IOMMU. Its calls may come from several goroutines.
type Iotlb struct {
	life life
	p    *raw.Iotlb
	mem  *Memory
}

// NewIotlb is an empty IOTLB; without a memory it is a map that is only looked up. Nil options are the defaults.
func NewIotlb(opts *IotlbOpts, mem *Memory) (t *Iotlb, err error) {
	err = withMemory(mem, func(m *raw.Mem) error {
		p, err := made(func(out **raw.Iotlb) error { return raw.IotlbNew(opts, m, out) })
		if err != nil {
			return err
		}
		t = &Iotlb{p: p, mem: mem}
		runtime.SetFinalizer(t, forgotten[*Iotlb])
		return nil
	})
	return t, err
}

// withMemory is a call about a memory, or about none.
func withMemory(m *Memory, call func(*raw.Mem) error) error {
	if m == nil {
		return call(nil)
	}
	return m.do(func() error { return call(m.p) })
}

// Close gives it up. Who uses it keeps it until told otherwise.
func (t *Iotlb) Close() error {
	runtime.SetFinalizer(t, nil)
	if t.life.end() {
		raw.IotlbFree(t.p)
	}
	return nil
}

func (t *Iotlb) use(call func() error) error {
	if err := t.life.enter(); err != nil {
		return err
	}
	defer t.life.leave()
	defer runtime.KeepAlive(t)
	return call()
}

// with is a call about an IOTLB, or about none.
func (t *Iotlb) with(call func(*raw.Iotlb) error) error {
	if t == nil {
		return call(nil)
	}
	return t.use(func() error { return call(t.p) })
}

// Update says what a range means from now on, whatever was said of it before.
func (t *Iotlb) Update(entry *IotlbEntry) error {
	return t.use(func() error { return raw.IotlbUpdate(t.p, entry) })
}

// Invalidate says that nothing is known of a range any more.
func (t *Iotlb) Invalidate(iova IOVA, length uint64) error {
	return t.use(func() error { return raw.IotlbInvalidate(t.p, iova, length) })
}

// Bytes are the pieces of a range, good as long as neither the IOTLB nor its memory changes there. EAGAIN: a byte of it is
// not known; EFAULT: it may not be accessed so.
func (t *Iotlb) Bytes(iova IOVA, length uint64, access uint32) (views [][]byte, err error) {
	err = t.use(func() error {
		room := make([]Seg, 16) // the length may be anybody's word
		n, err := raw.IotlbTranslate(t.p, iova, length, access, room)
		for errors.Is(err, syscall.ENOSPC) && len(room) <= IotlbMaxEntries {
			room = make([]Seg, 4*len(room))
			n, err = raw.IotlbTranslate(t.p, iova, length, access, room)
		}
		for i := 0; err == nil && i < n; i++ {
			views = append(views, room[i].Bytes())
		}
		return err
	})
	return views, err
}

// Entries lists what is known from an I/O address on, in order.
func (t *Iotlb) Entries(from IOVA) (entries []IotlbEntry, err error) {
	err = t.use(func() error {
		entries = make([]IotlbEntry, 16)
		for {
			n, err := raw.IotlbEntries(t.p, from, entries)
			if err != nil || n <= len(entries) {
				entries = entries[:n]
				return err
			}
			entries = make([]IotlbEntry, n)
		}
	})
	return entries, err
}

// Fd is readable when NextMiss has something. It belongs to the IOTLB.
func (t *Iotlb) Fd() (fd int, err error) {
	err = t.use(func() error {
		fd, err = raw.IotlbFD(t.p).Get()
		return err
	})
	return fd, err
}

// NextMiss is the oldest miss that nobody was told of. Answer by Update or Deny.
func (t *Iotlb) NextMiss() (miss IotlbMiss, ok bool, err error) {
	err = t.use(func() error {
		n, err := raw.IotlbNextMiss(t.p, &miss).Get()
		ok = n > 0
		return err
	})
	return miss, ok, err
}

// Deny says that nothing will be known of what was missed: the queue that waits for it breaks.
func (t *Iotlb) Deny(iova IOVA) error {
	return t.use(func() error { return raw.IotlbDeny(t.p, iova) })
}

// Stats are its counters.
func (t *Iotlb) Stats() (stats IotlbStats, err error) {
	err = t.use(func() error { return raw.IotlbGetStats(t.p, &stats) })
	return stats, err
}

// SetIotlb gives the ring and descriptors of a stand-alone queue I/O addresses, from its next start on; nil: guest addresses.
func (q *Queue) SetIotlb(t *Iotlb) error {
	return q.call(func() error {
		return t.with(func(p *raw.Iotlb) error { return raw.QueueSetIotlb(q.p, p) })
	})
}

// SetIotlb answers the back-end's misses from this map; nil: no more.
func (m *Master) SetIotlb(t *Iotlb) error {
	return m.do(func() error {
		return t.with(func(p *raw.Iotlb) error { return raw.MasterSetIotlb(m.p, p) })
	})
}

// IotlbUpdate says what a range of I/O addresses means; Addr is a user address.
func (m *Master) IotlbUpdate(ctx context.Context, entry *IotlbEntry) error {
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterIotlbUpdate(p, entry) })
}

// IotlbInvalidate says that a range means nothing any more: when it returns, requests that used it have ended.
func (m *Master) IotlbInvalidate(ctx context.Context, iova IOVA, length uint64) error {
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterIotlbInvalidate(p, iova, length) })
}
