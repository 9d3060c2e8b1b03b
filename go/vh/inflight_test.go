// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"context"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/libvh/libvh/go/vh"
)

// A device goes away with requests in flight; the next one is given them again, in their order, before anything new.
func TestScenarioInflight(t *testing.T) {
	for _, features := range []uint64{1 << vh.FVersion1, 1<<vh.FVersion1 | 1<<vh.FRingPacked} {
		mem, err := vh.NewMemory(nil)
		must(t, err)
		must(t, mem.Alloc(0, memoryLen, 0))
		snap, err := mem.Snapshot()
		must(t, err)
		opts := vh.QueueOpts{Role: vh.QueueDriver, Num: ringNum, Features: features, Desc: 0, Driver: 0x10000, Device: 0x20000}
		if features&(1<<vh.FRingPacked) != 0 {
			opts.Base = vh.QueuePackedBase
		}
		driver, err := vh.OpenQueue(mem, &opts, nil, nil)
		must(t, err)
		records, err := vh.NewInflight(1, ringNum, features)
		must(t, err)
		opts.Role, opts.Flags = vh.QueueDevice, vh.QueueHold
		start := func() *vh.Queue {
			q, err := vh.OpenQueue(mem, &opts, nil, nil)
			must(t, err)
			must(t, q.SetInflight(records))
			must(t, q.Start())
			return q
		}
		first := start()
		view, err := snap.Slice(buffers, 4096, vh.MemRead|vh.MemWrite)
		must(t, err)
		for i := 0; i < 4; i++ {
			n, err := driver.Submit([]vh.Request{{Readable: [][]byte{view[:8]}, Writable: [][]byte{view[64:128]}, User: uint64(i)}})
			if n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		reqs := make([]vh.Req, 8)
		if n, err := first.Pop(reqs[:3]); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		must(t, first.Push([]vh.Cpl{{Token: reqs[1].Token}}))
		first.Close()
		second := start()
		n, err := second.Pop(reqs)
		if n != 2 || err != nil || reqs[0].Flags&vh.ReqResubmitted == 0 {
			t.Fatal(n, err, reqs[0].Flags)
		}
		m, err := second.Pop(reqs[n:])
		if m != 1 || err != nil || reqs[2].Flags&vh.ReqResubmitted != 0 {
			t.Fatal(m, err)
		}
		for i := 0; i < 3; i++ {
			must(t, second.Push([]vh.Cpl{{Token: reqs[i].Token}}))
		}
		cpls := make([]vh.Cpl, 8)
		if n, err := driver.Reap(cpls); n != 4 || err != nil || cpls[0].Token != 1 || cpls[1].Token != 0 || cpls[2].Token != 2 {
			t.Fatal(n, err, cpls)
		}
		if err := second.SetInflight(nil); !errors.Is(err, syscall.EBUSY) {
			t.Fatal(err)
		}
		second.Close()
		driver.Close()
		records.Close()
		snap.Close()
		mem.Close()
	}
}

func TestAFrontEndKeepsTheRecordsOfItsBackEnd(t *testing.T) {
	m, _ := byHand(t, nil, nil)
	_, err := m.Negotiate(within(t), 1<<vh.FVersion1)
	must(t, err)
	i, err := m.Inflight(within(t), 1, 128)
	must(t, err)
	defer i.Close()
	if i.NumQueues != 1 || i.QueueSize != 128 || i.MmapSize == 0 {
		t.Fatalf("%+v", i.InflightInfo)
	}
	must(t, m.SetInflight(within(t), i))
	if err := m.SetInflight(within(t), nil); err == nil {
		t.Fatal("no records")
	}
	// Neither was asked for.
	if _, err := m.VringBaseSkipDrain(within(t), 0); !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Fatal(err)
	}
	if err := m.VringKick(within(t), 0); !errors.Is(err, syscall.EOPNOTSUPP) {
		t.Fatal(err)
	}
}

// A reply that came just before the context was done is nobody's, and neither is its file.
func TestAnAnswerThatNobodyWaitsForAnyMoreIsClosed(t *testing.T) {
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(fds)
	}
	left := func(ended bool) int {
		m, _ := byHand(t, nil, nil)
		_, err := m.Negotiate(within(t), 1<<vh.FVersion1)
		must(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		must(t, m.SetTrace(func(msg *vh.Message) {
			if ended && msg.Direction == vh.MsgReceived {
				cancel()
				time.Sleep(20 * time.Millisecond)
			}
		}))
		before := count()
		i, err := m.Inflight(ctx, 1, 128)
		if ended && (i != nil || !errors.Is(err, context.Canceled)) {
			t.Fatal(i, err)
		}
		if !ended {
			must(t, err)
			must(t, i.Close())
		}
		return count() - before
	}
	if usual, got := left(false), left(true); got > usual {
		t.Fatalf("%d files more than before, usually %d", got, usual)
	}
}
