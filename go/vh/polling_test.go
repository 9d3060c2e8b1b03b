// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"context"
	"testing"
	"time"

	"github.com/libvh/libvh/go/vh"
)

func TestABackEndThatPollsWantsNoKicks(t *testing.T) {
	m, s := pairWith(t, ram(t), &vh.SlaveOpts{PollUS: vh.PollAlways})
	serve(t, s)
	b := blk(t, m)
	writtenAndRead(t, b)
	stats, err := s.Stats()
	must(t, err)
	if stats.QueueKicks > 2 { // sent before it said that it wants none
		t.Fatal(stats.QueueKicks)
	}
}

func TestAWaitIsEndedByWake(t *testing.T) {
	s, err := vh.NewSlave(ram(t), nil)
	must(t, err)
	defer s.Close()
	woken := make(chan error)
	go func() { woken <- s.Wait(within(t)) }()
	must(t, s.Wake())
	must(t, <-woken)
	_, err = s.Dispatch()
	must(t, err)
}

// polled is a block driver that looks for so long, over a device in Go that does a request when it is told to.
func polled(t *testing.T, us uint32) (b *vh.Blk, d *vh.Driver, s *vh.Slave, do chan<- bool) {
	dev, gate := newDisk(), make(chan bool, 1)
	dev.batch = func(q *vh.Queue, budget int) (bool, error) {
		return q.Each(budget, func(r *vh.Req) uint32 {
			<-gate
			r.Fill(0)
			return uint32(r.WrLen)
		})
	}
	m, s := pair(t, device(t, dev))
	serve(t, s)
	d = driven(t, m, &vh.DriverOpts{Type: vh.TypeBlk, PollUS: us})
	b, err := vh.NewBlk(within(t), d)
	must(t, err)
	t.Cleanup(func() { b.Close() })
	t.Cleanup(func() { close(gate) }) // who still has a request may do it
	return b, d, s, gate
}

func begin(t *testing.T, b *vh.Blk, d *vh.Driver) {
	t.Helper()
	buf, err := d.Alloc(within(t), 512)
	must(t, err)
	n, err := b.Submit(0, []vh.BlkIO{{Op: vh.BlkRead, Len: 512, Addr: vh.Addr(buf)}})
	must(t, err)
	if n != 1 {
		t.Fatal(n)
	}
}

func end(t *testing.T, b *vh.Blk) {
	t.Helper()
	must(t, b.Wait(within(t), 0))
	for _, none := range [][]vh.BlkIO{nil, {}} {
		if n, err := b.Submit(0, none); n != 0 || err != nil {
			t.Fatal(n, err)
		}
	}
	if n, err := b.Reap(0, nil); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	var done [1]vh.BlkDone
	n, err := b.Reap(0, done[:])
	must(t, err)
	if n != 1 || done[0].Rc != 0 {
		t.Fatal(n, done[0].Rc)
	}
}

func TestAWaitThatSpinsWantsNoCalls(t *testing.T) {
	for _, us := range []uint32{10_000_000, vh.PollAlways} {
		b, d, s, do := polled(t, us)
		for i := 0; i < 20; i++ {
			begin(t, b, d)
			do <- true
			end(t, b)
		}
		stats, err := s.Stats()
		must(t, err)
		// A driver that has not waited yet is called; a queue without an end is asked for at times, for the connection's sake.
		if us != vh.PollAlways && stats.QueueCalls > 2 {
			t.Fatal(stats.QueueCalls)
		}
	}
}

func TestAWaitThatSpunInVainSleeps(t *testing.T) {
	b, d, _, do := polled(t, 100)
	for i := 0; i < 5; i++ {
		begin(t, b, d)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
		want(t, b.Wait(ctx, 0), context.DeadlineExceeded)
		cancel()
		do <- true
		end(t, b)
	}
}

func TestAWaitThatNeverSleepsEnds(t *testing.T) {
	b, d, s, do := polled(t, vh.PollAlways)
	begin(t, b, d)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	want(t, b.Wait(ctx, 0), context.DeadlineExceeded)
	do <- true
	end(t, b)
	begin(t, b, d)
	waited := make(chan error)
	go func() { waited <- b.Wait(within(t), 0) }()
	do <- true // so that nobody is in a callback for ever
	must(t, <-waited)
	go func() {
		for err := error(nil); err == nil; {
			err = b.Wait(context.Background(), 0)
			if err == nil {
				_, err = b.Reap(0, make([]vh.BlkDone, 1))
			}
		}
		waited <- nil
	}()
	must(t, s.Close())
	must(t, <-waited)
}
