// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime/pprof"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/libvh/libvh/go/vh"
)

const (
	ringNum   = 256
	buffers   = 0x100000 // guest address of what the rings don't need
	memoryLen = 0x400000
)

// rings is both ends of a queue that stands alone.
type rings struct {
	mem            *vh.Memory
	snap           *vh.Snapshot
	driver, device *vh.Queue
}

func eventfd(t testing.TB) *os.File {
	fd, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	f := os.NewFile(fd, "eventfd")
	t.Cleanup(func() { f.Close() })
	return f
}

func newRings(t testing.TB, features uint64) *rings {
	check := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	r := &rings{}
	var err error
	r.mem, err = vh.NewMemory(nil)
	check(err)
	check(r.mem.Alloc(0, memoryLen, 0))
	r.snap, err = r.mem.Snapshot()
	check(err)
	opts := vh.QueueOpts{Num: ringNum, Features: features, Desc: 0, Driver: 0x10000, Device: 0x20000}
	kick, call := eventfd(t), eventfd(t)
	opts.Role = vh.QueueDevice
	r.device, err = vh.OpenQueue(r.mem, &opts, kick, call)
	check(err)
	opts.Role = vh.QueueDriver
	r.driver, err = vh.OpenQueue(r.mem, &opts, kick, call)
	check(err)
	t.Cleanup(func() {
		r.device.Close()
		r.driver.Close()
		r.snap.Close()
		r.mem.Close()
	})
	return r
}

// buffer is n bytes of guest memory.
func (r *rings) buffer(t testing.TB, at, n int) []byte {
	view, err := r.snap.Slice(vh.GPA(buffers+at), uint64(n), vh.MemRead|vh.MemWrite)
	if err != nil {
		t.Fatal(err)
	}
	return view
}

func TestARequestThroughAQueue(t *testing.T) {
	r := newRings(t, 0)
	question, answer := r.buffer(t, 0, 100), r.buffer(t, 4096, 64)
	copy(question, "question")
	n, err := r.driver.Submit([]vh.Request{{Readable: [][]byte{question[:3], question[3:]}, Writable: [][]byte{answer}, User: 7}})
	if n != 1 || err != nil {
		t.Fatal(n, err)
	}
	reqs := make([]vh.Req, 4)
	n, err = r.device.Pop(reqs)
	if n != 1 || err != nil {
		t.Fatal(n, err)
	}
	req := &reqs[0]
	got := make([]byte, 8)
	if req.Read(got, 0) != 8 || string(got) != "question" || req.Read(got, 2) != 8 || string(got[:6]) != "estion" {
		t.Fatalf("%q", got)
	}
	if req.RdLen != 100 || len(req.Readable()) != 2 || len(req.Writable()) != 1 || req.Read(make([]byte, 200), 0) != 100 {
		t.Fatalf("%+v", req)
	}
	if req.Write([]byte("answer"), 10) != 6 || req.Write(make([]byte, 10), 60) != 4 {
		t.Fatal("room")
	}
	must(t, r.device.Push([]vh.Cpl{{Token: req.Token, Written: 16}}))
	cpls := make([]vh.Cpl, 4)
	n, err = r.driver.Reap(cpls)
	if n != 1 || err != nil || cpls[0].Token != 7 || cpls[0].Written != 16 || !bytes.HasPrefix(answer[10:], []byte("answer")) {
		t.Fatal(n, err, cpls[0], answer)
	}
	want(t, r.device.Push([]vh.Cpl{{Token: req.Token}}), syscall.EINVAL)
	stats, err := r.device.Stats()
	must(t, err)
	if stats.Requests != 1 || stats.Completed != 1 || stats.BytesIn != 100 {
		t.Fatalf("%+v", stats)
	}
}

func (r *rings) submit(t testing.TB, n int) {
	requests := make([]vh.Request, n)
	for i := range requests {
		requests[i].Writable = [][]byte{r.buffer(t, i*64, 64)}
	}
	got, err := r.driver.Submit(requests)
	if got != n || err != nil {
		t.Fatal(got, err)
	}
}

func TestScenarioInOrder(t *testing.T) {
	r := newRings(t, 1<<vh.FInOrder)
	r.submit(t, 3)
	reqs, cpls := make([]vh.Req, 3), make([]vh.Cpl, 3)
	if n, err := r.device.Pop(reqs); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	must(t, r.device.Push([]vh.Cpl{{Token: reqs[2].Token, Written: 3}, {Token: reqs[1].Token, Written: 2}}))
	if n, err := r.driver.Reap(cpls); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	must(t, r.device.Push([]vh.Cpl{{Token: reqs[0].Token, Written: 1}}))
	if n, err := r.driver.Reap(cpls); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for i := range cpls {
		if cpls[i].Written != uint32(i+1) {
			t.Fatal(cpls)
		}
	}
}

func TestScenarioCoalescing(t *testing.T) {
	r := newRings(t, 0)
	must(t, r.device.SetCoalescing(2))
	r.submit(t, 3)
	reqs := make([]vh.Req, 3)
	if n, err := r.device.Pop(reqs); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	for i, calls := range []uint64{0, 1, 2} {
		must(t, r.device.Push([]vh.Cpl{{Token: reqs[i].Token}}))
		if stats, err := r.device.Stats(); err != nil || stats.Calls != calls {
			t.Fatal(i, stats.Calls, err)
		}
	}
	if _, ring, err := r.driver.Doorbell(); ring || err != nil {
		t.Fatal(ring, err) // it has a kick file
	}
	if _, _, err := r.device.Doorbell(); err == nil {
		t.Fatal("a device has no doorbell")
	}
}

func TestUnpopAndStop(t *testing.T) {
	r := newRings(t, 0)
	r.submit(t, 3)
	reqs := make([]vh.Req, 8)
	n, err := r.device.Pop(reqs)
	must(t, err)
	_, err = r.device.Stop()
	want(t, err, syscall.EINPROGRESS)
	must(t, r.device.Unpop(n))
	base, err := r.device.Stop()
	must(t, err)
	state, err := r.device.State()
	must(t, err)
	if n != 3 || base != 0 || state != vh.QueueStopped {
		t.Fatal(n, base, state)
	}
}

func TestWaitForRequestsInTheNetpoller(t *testing.T) {
	r := newRings(t, 0)
	got := make(chan int)
	go func() {
		reqs := make([]vh.Req, 8)
		for {
			n, err := r.device.Pop(reqs)
			if err == nil && n == 0 {
				err = r.device.Wait(context.Background())
			}
			if err != nil {
				close(got)
				return
			}
			if n > 0 {
				got <- n
			}
		}
	}()
	for i := 0; i < 3; i++ {
		time.Sleep(5 * time.Millisecond)
		r.submit(t, 1)
		if n := <-got; n != 1 {
			t.Fatal(n)
		}
	}
	must(t, r.device.Close()) // wakes it
	if _, more := <-got; more {
		t.Fatal("requests of a closed queue")
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	r := newRings(t, 0)
	for i := 0; i < 3; i++ {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		want(t, r.device.Wait(ctx), context.DeadlineExceeded)
		cancel()
	}
	r.submit(t, 1)
	must(t, r.device.Wait(within(t)))
}

func TestParkedGoroutinesHaveNoThreads(t *testing.T) {
	before := pprof.Lookup("threadcreate").Count()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error)
	const n = 100
	for i := 0; i < n; i++ {
		r := newRings(t, 0)
		go func() { over <- r.device.Wait(ctx) }()
	}
	time.Sleep(50 * time.Millisecond)
	if grown := pprof.Lookup("threadcreate").Count() - before; grown > n/2 {
		t.Errorf("%d goroutines that wait made %d threads", n, grown)
	}
	cancel()
	for i := 0; i < n; i++ {
		want(t, <-over, context.Canceled)
	}
}

func TestASecondGoroutineIsRefused(t *testing.T) {
	r := newRings(t, 0)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() {
		err := r.device.Wait(ctx)
		for errors.Is(err, syscall.EBUSY) { // the other was first
			err = r.device.Wait(ctx)
		}
		over <- err
	}()
	eventually(t, "the second that waits is refused", func() bool {
		short, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		err := r.device.Wait(short)
		return errors.Is(err, syscall.EBUSY)
	})
	cancel()
	want(t, <-over, context.Canceled)

	r.submit(t, 1)
	var busy, taken int
	results := make(chan error)
	for i := 0; i < 2; i++ {
		go func() {
			reqs := make([]vh.Req, 64)
			for j := 0; j < 20000; j++ {
				n, err := r.device.Pop(reqs)
				if n > 0 {
					err = r.device.Unpop(n)
				}
				results <- err
			}
		}()
	}
	for i := 0; i < 40000; i++ {
		switch err := <-results; {
		case err == nil:
			taken++
		default:
			want(t, err, syscall.EBUSY)
			busy++
		}
	}
	t.Logf("%d calls went in, %d were refused", taken, busy)
}

func TestEachIsForOneGoroutine(t *testing.T) {
	r := newRings(t, 0)
	r.submit(t, 2)
	n := 0
	more, err := r.device.Each(8, func(*vh.Req) uint32 {
		n++
		_, err := r.device.Each(8, func(*vh.Req) uint32 { return 0 })
		want(t, err, syscall.EBUSY)
		return 0
	})
	must(t, err)
	if more || n != 2 {
		t.Fatal(more, n)
	}
}

func TestCloseWhileOthersAreInside(t *testing.T) {
	r := newRings(t, 0)
	r.submit(t, 8)
	over := make(chan error)
	for i := 0; i < 4; i++ {
		go func() {
			reqs := make([]vh.Req, 8)
			for {
				n, err := r.device.Pop(reqs)
				if n > 0 {
					err = r.device.Unpop(n)
				}
				if err != nil && !errors.Is(err, syscall.EBUSY) {
					over <- err
					return
				}
			}
		}()
	}
	time.Sleep(5 * time.Millisecond)
	must(t, r.device.Close())
	for i := 0; i < 4; i++ {
		want(t, <-over, os.ErrClosed)
	}
}

func TestASnapshotKeepsItsViews(t *testing.T) {
	mem, err := vh.NewMemory(nil)
	must(t, err)
	must(t, mem.Alloc(0x1000, 0x2000, 0))
	must(t, mem.Alloc(0x3000, 0x2000, 0))
	snap, err := mem.Snapshot()
	must(t, err)
	views, err := snap.Bytes(0x2000, 0x2000, vh.MemRead|vh.MemWrite)
	must(t, err)
	if len(views) != 2 || len(views[0]) != 0x1000 {
		t.Fatal(len(views))
	}
	_, err = snap.Slice(0x2000, 0x2000, vh.MemRead)
	want(t, err, syscall.EFAULT)
	_, err = snap.Bytes(0x4000, 0x2000, vh.MemRead)
	want(t, err, syscall.EFAULT)
	regions, err := snap.Regions()
	must(t, err)
	must(t, mem.Remove(&regions[0]))
	must(t, mem.Close())
	copy(views[0], "still there")
	if !bytes.HasPrefix(views[0], []byte("still there")) || snap.Number() == 0 {
		t.Fatal("no")
	}
	must(t, snap.Close())
}

func TestRegionsOfAFile(t *testing.T) {
	mem, err := vh.NewMemory(&vh.MemOpts{MaxRegions: 12})
	must(t, err)
	defer mem.Close()
	for i := 0; i < 12; i++ {
		must(t, mem.Alloc(vh.GPA(i)<<20, 4096, 0))
	}
	want(t, mem.Alloc(1<<30, 4096, 0), syscall.ENOSPC)
	regions, err := mem.Regions()
	must(t, err)
	if len(regions) != 12 || regions[3].GPA != 3<<20 {
		t.Fatal(len(regions))
	}
	f, err := mem.File(3)
	must(t, err)
	defer f.Close()
	other, err := vh.NewMemory(nil)
	must(t, err)
	defer other.Close()
	must(t, other.AddFile(f, &vh.Region{GPA: 0, UVA: 0x5000, Len: 4096}))
	want(t, other.AddFile(f, &vh.Region{GPA: 1 << 20, UVA: 0x15000, Len: 1 << 20}), syscall.ENODATA)
	snap, err := other.Snapshot()
	must(t, err)
	defer snap.Close()
	view, err := snap.Slice(0, 4096, vh.MemWrite)
	must(t, err)
	view[0] = 42
	got := make([]byte, 1)
	_, err = f.ReadAt(got, 0)
	must(t, err)
	if got[0] != 42 {
		t.Fatal("not the same memory")
	}
}

func TestARegionThatTheProcessCanNotAddress(t *testing.T) {
	const size = 5 << 30
	f, err := os.CreateTemp("", "vh")
	must(t, err)
	defer os.Remove(f.Name())
	defer f.Close()
	must(t, f.Truncate(size))
	mem, err := vh.NewMemory(nil)
	must(t, err)
	defer mem.Close()
	err = mem.AddFile(f, &vh.Region{UVA: 0x5000, Len: size})
	if strconv.IntSize == 32 {
		want(t, err, syscall.EOVERFLOW) // a part of it would be worse
		return
	}
	must(t, err)
}

func TestMemoryThatIsTruncatedUnderUs(t *testing.T) {
	must(t, vh.InstallMemoryGuard())
	defer func() { must(t, vh.RemoveMemoryGuard()) }()
	f, err := os.CreateTemp("", "vh")
	must(t, err)
	defer os.Remove(f.Name())
	defer f.Close()
	must(t, f.Truncate(1<<20))
	mem, err := vh.NewMemory(nil)
	must(t, err)
	defer mem.Close()
	must(t, mem.AddFile(f, &vh.Region{UVA: 0x5000, Len: 1 << 20}))
	snap, err := mem.Snapshot()
	must(t, err)
	defer snap.Close()
	view, err := snap.Slice(0, 1<<20, vh.MemRead|vh.MemWrite)
	must(t, err)
	view[0] = 1
	must(t, f.Truncate(0))
	sum := 0
	for i := range view { // Go code that faults
		sum += int(view[i])
		view[i] = 2
	}
	regions, err := snap.Regions()
	must(t, err)
	if sum != 0 || regions[0].Flags&vh.RegionBroken == 0 {
		t.Fatal(sum, regions[0])
	}
}
