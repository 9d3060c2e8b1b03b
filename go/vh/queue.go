// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"github.com/libvh/libvh/go/internal/raw"
)

type (
	Req        = raw.Req
	Cpl        = raw.Cpl
	QueueOpts  = raw.QueueOpts
	QueueStats = raw.QueueStats
)

// Queue is a virtqueue: device side (Pop, Push, Unpop) or driver side (Submit, Reap). One goroutine at a time drives it;
// a second one that comes meanwhile gets EBUSY. It belongs to a Slave or a Driver and ends with that, or stands alone.
type Queue struct {
	p     *raw.Queue
	life  *life
	owner any // keeps it alive
	own   bool

	mu    sync.Mutex
	sleep *waiter
	each  struct {
		busy atomic.Bool
		reqs []Req
		cpls []Cpl
	}
}

// OpenQueue is a stand-alone queue over rings in guest memory. Kick and call are eventfds, or nil.
func OpenQueue(mem *Memory, opts *QueueOpts, kick, call *os.File) (*Queue, error) {
	if mem == nil {
		return nil, missing("memory")
	}
	p, err := made(func(out **raw.Queue) error {
		return withFds([]*os.File{kick, call}, func(fds []int32) error {
			return mem.do(func() error { return raw.QueueOpen(mem.p, opts, fds[0], fds[1], out) })
		})
	})
	if err != nil {
		return nil, err
	}
	q := &Queue{p: p, life: &life{}, own: true}
	runtime.SetFinalizer(q, forgotten[*Queue])
	return q, nil
}

// borrowed is a queue of a Slave or a Driver.
func borrowed(p *raw.Queue, l *life, owner any) *Queue { return &Queue{p: p, life: l, owner: owner} }

// Close frees a stand-alone queue, with what is in flight, views of which end. Of another one it only ends the waiting.
func (q *Queue) Close() error {
	runtime.SetFinalizer(q, nil)
	if q.own && q.life.end() {
		raw.QueueFree(q.p)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sleep.close()
	q.life.forget(q.sleep)
	return nil
}

// Pop takes requests that the driver made available, at most len(reqs), 0 when there are none.
func (q *Queue) Pop(reqs []Req) (int, error) {
	if err := q.life.enter(); err != nil {
		return 0, err
	}
	n, err := raw.QueuePop(q.p, reqs)
	q.life.leave()
	return n, err
}

// Push completes requests, in any order.
func (q *Queue) Push(cpls []Cpl) error {
	if err := q.life.enter(); err != nil {
		return err
	}
	err := raw.QueuePush(q.p, cpls)
	q.life.leave()
	return err
}

// Unpop gives back the newest n requests in flight.
func (q *Queue) Unpop(n int) error {
	return q.call(func() error { return raw.QueueUnpop(q.p, u32(n)) })
}

// Request is what a driver submits. The slices are in the queue's guest memory.
type Request struct {
	Readable, Writable [][]byte
	User               uint64 // comes back in Cpl.Token
}

// Submit makes requests available to the device; how many were taken.
func (q *Queue) Submit(requests []Request) (int, error) {
	n := 0
	for i := range requests {
		n += len(requests[i].Readable) + len(requests[i].Writable)
	}
	// The library gets addresses of segments, so these can't be in memory of Go's.
	memory := raw.Memory(uintptr(n)*unsafe.Sizeof(Seg{}) + 1)
	if memory == nil {
		return 0, fmt.Errorf("vh: no memory for %d segments: %w", n, syscall.ENOMEM)
	}
	defer raw.Free(memory)
	segs := unsafe.Slice((*Seg)(memory), n)[:0]
	reqs := make([]Req, len(requests))
	for i := range requests {
		r := &requests[i]
		reqs[i] = Req{Segs: uint64(uintptr(memory)) + uint64(len(segs))*uint64(unsafe.Sizeof(Seg{})), User: r.User,
			NRd: uint32(len(r.Readable)), NWr: uint32(len(r.Writable))}
		segs = appendSegs(appendSegs(segs, r.Readable), r.Writable)
	}
	var taken int
	err := q.call(func() (err error) {
		taken, err = raw.QueueSubmit(q.p, reqs)
		return err
	})
	return taken, err
}

func appendSegs(segs []Seg, views [][]byte) []Seg {
	for _, v := range views {
		s := Seg{Len: uint64(len(v))}
		if len(v) > 0 {
			s.Addr = uint64(uintptr(unsafe.Pointer(&v[0])))
		}
		segs = append(segs, s)
	}
	return segs
}

// Reap takes completions, at most len(cpls), 0 when there are none.
func (q *Queue) Reap(cpls []Cpl) (int, error) {
	if err := q.life.enter(); err != nil {
		return 0, err
	}
	n, err := raw.QueueReap(q.p, cpls)
	q.life.leave()
	return n, err
}

// Wait parks the goroutine until Pop or Reap may have something, or the queue's state changed. It may come back early.
func (q *Queue) Wait(ctx context.Context) error {
	var w *waiter
	more := false
	err := q.call(func() (err error) {
		if w, err = q.waiter(); err != nil {
			return err
		}
		state, err := raw.QueueArm(q.p).Get()
		more = state == QueueMore
		return err
	})
	if err != nil || more {
		return err
	}
	defer runtime.KeepAlive(q)
	return w.wait(ctx, 0)
}

func (q *Queue) waiter() (*waiter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.sleep == nil {
		fd, err := raw.QueueFD(q.p).Get()
		if err != nil {
			return nil, err
		}
		if q.sleep, err = newWaiter(fd); err != nil {
			return nil, err
		}
		q.life.watch(q.sleep)
		if !q.own { // else it has one
			runtime.SetFinalizer(q, forgotten[*Queue])
		}
	}
	return q.sleep, nil
}

// Look tells whether there is something to Pop or Reap. It asks for nothing.
func (q *Queue) Look() (more bool, err error) {
	err = q.call(func() error {
		state, err := raw.QueueLook(q.p).Get()
		more = state == QueueMore
		return err
	})
	return more, err
}

// Disarm asks not to be notified while polling.
func (q *Queue) Disarm() error { return q.call(func() error { return raw.QueueDisarm(q.p) }) }

// SetCoalescing has the driver called once so many were completed, when nothing is in flight any more, and by Arm and Wait;
// 0: at each Push.
func (q *Queue) SetCoalescing(completions uint32) error {
	return q.call(func() error { return raw.QueueSetCoalescing(q.p, completions) })
}

// Doorbell is what a driver's queue without a kick file has to write to its device's doorbell; ring says whether the device
// wants to be told of what was submitted.
func (q *Queue) Doorbell() (data uint32, ring bool, err error) {
	err = q.call(func() error {
		var n int
		n, err = raw.QueueDoorbell(q.p, &data).Get()
		ring = n > 0
		return err
	})
	return data, ring, err
}

// State is QueueStopped, QueueRunning, QueueDraining or QueueBroken.
func (q *Queue) State() (state int, err error) {
	err = q.call(func() error {
		state, err = raw.QueueState(q.p).Get()
		return err
	})
	return state, err
}

// Stop stops a stand-alone queue; base is the index of the first request that was not taken. EINPROGRESS while requests
// are in flight.
func (q *Queue) Stop() (base uint32, err error) {
	err = q.call(func() error { return raw.QueueStop(q.p, &base) })
	return base, err
}

// Stats are counters.
func (q *Queue) Stats() (stats QueueStats, err error) {
	err = q.call(func() error { return raw.QueueGetStats(q.p, &stats) })
	return stats, err
}

// Snapshot pins the guest memory of the requests, so that slices of it may be used beyond Push and Close.
func (q *Queue) Snapshot() (*Snapshot, error) {
	return newSnapshot(func(out **raw.Snapshot) error {
		return q.call(func() error { return raw.QueueDupSnapshot(q.p, out) })
	})
}

const eachBatch = 64

// Each pops requests, at most budget, and pushes what handle says was written of each. More: it stopped because of the
// budget. Close of the queue or of its Slave waits for it, so that the memory stays: handle must not call that itself, but
// inside of OnBatch it may.
func (q *Queue) Each(budget int, handle func(*Req) (written uint32)) (more bool, err error) {
	if !q.each.busy.CompareAndSwap(false, true) {
		return false, inUse()
	}
	defer q.each.busy.Store(false)
	if err := q.life.enter(); err != nil {
		return false, err
	}
	defer q.life.leave()
	if q.each.reqs == nil {
		q.each.reqs, q.each.cpls = make([]Req, eachBatch), make([]Cpl, eachBatch)
	}
	for budget > 0 {
		reqs, cpls := q.each.reqs, q.each.cpls
		if budget < len(reqs) {
			reqs = reqs[:budget]
		}
		n, err := q.Pop(reqs)
		if err != nil || n == 0 {
			return false, err
		}
		for i := range reqs[:n] {
			cpls[i] = Cpl{Token: reqs[i].Token, Written: handle(&reqs[i])}
		}
		if err := q.Push(cpls[:n]); err != nil {
			return false, err
		}
		budget -= n
	}
	return true, nil
}

func (q *Queue) call(f func() error) error {
	if err := q.life.enter(); err != nil {
		return err
	}
	defer q.life.leave()
	defer runtime.KeepAlive(q)
	return f()
}
