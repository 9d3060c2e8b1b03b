// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/libvh/libvh/go/vh"
)

// soon fails when nothing comes.
func soon[T any](t *testing.T, from <-chan T, what string) (got T) {
	t.Helper()
	select {
	case got = <-from:
	case <-time.After(patience):
		t.Fatalf("not in %v: %s", patience, what)
	}
	return got
}

// parked is what Wait of a queue says in the end.
func parked(q *vh.Queue) <-chan error {
	over := make(chan error, 1)
	go func() {
		for {
			if err := q.Wait(context.Background()); err != nil {
				over <- err
				return
			}
		}
	}()
	time.Sleep(5 * time.Millisecond)
	return over
}

func TestCloseOfASlaveEndsWaitsForItsQueues(t *testing.T) {
	for i := 0; i < 30; i++ { // the wake-up and the end of what tells it come close together
		_, s := pair(t, device(t, &witness{}))
		q, err := s.Queue(0)
		must(t, err)
		over := parked(q)
		must(t, s.Close())
		want(t, soon(t, over, "the wait ends"), os.ErrClosed)
	}
}

func TestCloseOfADriverEndsWaitsForItsQueues(t *testing.T) {
	m, s := pair(t, ram(t))
	serve(t, s)
	d := driven(t, m, nil)
	q, err := d.Queue(0)
	must(t, err)
	over := parked(q)
	must(t, d.Close())
	want(t, soon(t, over, "the wait ends"), os.ErrClosed)
}

// Closing from inside of a callback takes effect when the call that it came from is over.
func TestCloseOfAllInsideOfACallback(t *testing.T) {
	for name, end := range map[string]func(*vh.Master, *vh.Driver, *vh.Blk) error{
		"master": func(m *vh.Master, _ *vh.Driver, _ *vh.Blk) error { return m.Close() },
		"driver": func(_ *vh.Master, d *vh.Driver, _ *vh.Blk) error { return d.Close() },
		"blk":    func(_ *vh.Master, _ *vh.Driver, b *vh.Blk) error { return b.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			m, s := pair(t, ram(t))
			serve(t, s)
			d := driven(t, m, &vh.DriverOpts{Type: vh.TypeBlk})
			b, err := vh.NewBlk(within(t), d)
			must(t, err)
			armed := true
			must(t, m.SetTrace(func(*vh.Message) {
				if armed {
					armed = false
					if err := end(m, d, b); err != nil {
						t.Error(err)
					}
				}
			}))
			over := make(chan error, 1)
			go func() { over <- d.Stop(within(t)) }()
			soon(t, over, "the call comes back")
			_, err = b.Submit(0, []vh.BlkIO{{Op: vh.BlkFlush}})
			want(t, err, os.ErrClosed)
			if name != "blk" {
				want(t, d.Start(within(t)), os.ErrClosed)
			}
		})
	}
}

// The reply that one goroutine waits for may be received by the call of another.
func TestAReplyThatAnotherCallReceived(t *testing.T) {
	m, s := pair(t, ram(t))
	var tickets []vh.Ticket
	for i := 0; i < 2; i++ {
		ticket, err := m.Submit(&vh.RawRequest{ID: 1})
		must(t, err)
		tickets = append(tickets, ticket)
	}
	over := make(chan error, 2)
	for _, ticket := range tickets {
		go func(ticket vh.Ticket) {
			_, err := m.Finish(context.Background(), ticket)
			over <- err
		}(ticket)
	}
	time.Sleep(20 * time.Millisecond)
	time.AfterFunc(20*time.Millisecond, func() { serve(t, s) })
	_, err := m.Features(within(t))
	must(t, err)
	for range tickets {
		must(t, soon(t, over, "the reply"))
	}
}

func TestMemoryOfAForgottenDriverStays(t *testing.T) {
	m, s := pair(t, ram(t))
	serve(t, s)
	buf := func() []byte {
		d, err := vh.NewDriver(within(t), m, nil)
		must(t, err)
		buf, err := d.Alloc(within(t), 4096)
		must(t, err)
		return buf
	}()
	for i := 0; i < 10; i++ {
		runtime.GC()
		time.Sleep(5 * time.Millisecond)
	}
	copy(buf, "still there")
	if !bytes.HasPrefix(buf, []byte("still there")) {
		t.Fatal("no")
	}
}

// A callback has the handle and may want the memory: who shares memory must not have that and want the handle.
func TestACallbackMayUseTheMemoryThatIsBeingShared(t *testing.T) {
	m, s := pair(t, ram(t))
	serve(t, s)
	_, err := m.Negotiate(within(t), 0)
	must(t, err)
	mem, err := vh.NewMemory(nil)
	must(t, err)
	defer mem.Close()
	must(t, mem.Alloc(0, 1<<20, 0))
	inside, over := make(chan struct{}), make(chan error, 2)
	armed := true
	must(t, m.SetTrace(func(*vh.Message) {
		if armed {
			armed = false
			close(inside)
			time.Sleep(50 * time.Millisecond)
			_, err := mem.Regions()
			over <- err
		}
	}))
	go func() {
		<-inside
		over <- m.SetMem(context.Background(), mem)
	}()
	go m.Features(within(t))
	for i := 0; i < 2; i++ {
		must(t, soon(t, over, "both are done"))
	}
}

// A panic belongs to Serve, whoever closes the device meanwhile.
func TestCloseOfADeviceLeavesThePanicToServe(t *testing.T) {
	d := newDisk()
	d.readConfig = func() error { panic("mine") }
	dev := device(t, d)
	m, s := pair(t, dev)
	_, err := negotiated(t, m, s)
	must(t, err)
	closed := make(chan any, 1)
	must(t, s.SetTrace(func(message *vh.Message) {
		if message.Direction != vh.MsgSent {
			return
		}
		go func() {
			defer func() { closed <- recover() }()
			dev.Close()
		}()
		time.Sleep(50 * time.Millisecond)
	}))
	result := serve(t, s)
	want(t, m.Config(within(t), 0, make([]byte, 8)), syscall.EREMOTEIO)
	if got := served(t, result); got != any("mine") {
		t.Errorf("Serve ended with %v", got)
	}
	if got := soon(t, closed, "Close comes back"); got != nil {
		t.Errorf("Close panicked with %v", got)
	}
}

func TestNumbersThatAreTooLarge(t *testing.T) {
	r := newRings(t, 0)
	r.submit(t, 1)
	n, err := r.device.Pop(make([]vh.Req, 1))
	if n != 1 || err != nil {
		t.Fatal(n, err)
	}
	for _, large := range []int64{-1, 1 << 32, 1<<32 + 1} {
		if n := int(large); int64(n) == large {
			want(t, r.device.Unpop(n), syscall.EINVAL)
		}
	}
	_, s := pair(t, device(t, newDisk()))
	if large := int64(1 << 32); int64(int(large)) == large {
		_, err := s.Queue(int(large))
		want(t, err, syscall.ENOENT)
	}
}

func TestAPayloadInsideOfAnotherThing(t *testing.T) {
	m, s := pair(t, ram(t))
	serve(t, s)
	thing := struct {
		p       *int
		payload [8]byte
	}{p: new(int)}
	_, err := m.Submit(&vh.RawRequest{ID: 200, Reply: vh.ReplyNone, Payload: thing.payload[:]})
	must(t, err)
}

func TestAMessageThatIsKeptIsEmpty(t *testing.T) {
	m, s := pair(t, ram(t))
	serve(t, s)
	var kept *vh.Message
	must(t, m.SetTrace(func(message *vh.Message) { kept = message }))
	_, err := m.Features(within(t))
	must(t, err)
	must(t, m.SetTrace(nil))
	if kept == nil || len(kept.Bytes()) != 0 {
		t.Fatal("it has what the library took back")
	}
}

// A finalizer that waits would hold up all others.
func TestAForgottenDriverThatWaitsHoldsUpNobody(t *testing.T) {
	path := socketPath(t)
	hung, err := vh.NewSlave(device(t, hungDisk()), nil)
	must(t, err)
	defer hung.Close()
	must(t, hung.Listen(path))
	serve(t, hung)
	q, err := hung.Queue(0)
	must(t, err)
	func() {
		m, err := vh.Dial(within(t), path)
		must(t, err)
		d, err := vh.NewDriver(within(t), m, &vh.DriverOpts{Type: vh.TypeBlk})
		must(t, err)
		must(t, d.Start(within(t)))
		b, err := vh.NewBlk(within(t), d)
		must(t, err)
		ctx, cancel := context.WithCancel(within(t))
		over := make(chan error, 1)
		go func() {
			_, err := b.ReadAtContext(ctx, make([]byte, 512), 0)
			over <- err
		}()
		eventually(t, "the request arrived", func() bool {
			stats, err := q.Stats()
			must(t, err)
			return stats.InFlight == 1
		})
		cancel()
		want(t, <-over, context.Canceled)
	}()
	eventually(t, "the driver is found, and stops its queue", func() bool {
		runtime.GC()
		state, err := q.State()
		must(t, err)
		return state == vh.QueueDraining
	})
	gone := make(chan struct{})
	runtime.SetFinalizer(new([64]byte), func(*[64]byte) { close(gone) })
	for i := 0; i < 5; i++ {
		runtime.GC()
	}
	soon(t, gone, "the next finalizer runs")
}

// Close waits for who works on requests in Each: the memory stays until then.
func TestCloseWhileAnotherHandlesRequests(t *testing.T) {
	m, s := pair(t, device(t, &witness{}))
	serve(t, s)
	q, err := s.Queue(0)
	must(t, err)
	inside, over := make(chan struct{}), make(chan error, 1)
	b := blk(t, m)
	go func() {
		for {
			_, err := q.Each(1, func(r *vh.Req) uint32 {
				close(inside)
				view := r.Writable()[0].Bytes()
				time.Sleep(100 * time.Millisecond)
				view[0] = 1
				_, err := s.Stats() // which Close must not keep waiting
				want(t, err, os.ErrClosed)
				r.Fill(0)
				return uint32(r.WrLen)
			})
			if err == nil {
				err = q.Wait(context.Background())
			}
			if err != nil {
				over <- err
				return
			}
		}
	}()
	go b.ReadAt(make([]byte, 512), 0)
	soon(t, inside, "the request arrived")
	must(t, s.Close())
	want(t, soon(t, over, "the worker ends"), os.ErrClosed)
}

func TestCloseInsideOfEachInsideOfACallback(t *testing.T) {
	var s *vh.Slave
	d := newDisk()
	d.batch = func(q *vh.Queue, budget int) (bool, error) {
		return q.Each(budget, func(r *vh.Req) uint32 {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			r.Fill(0)
			return uint32(r.WrLen)
		})
	}
	m, slave := pair(t, device(t, d))
	s = slave
	result := serve(t, s)
	_, err := blk(t, m).ReadAt(make([]byte, 512), 0) // done before it takes effect
	must(t, err)
	if err, _ := served(t, result).(error); !errors.Is(err, os.ErrClosed) {
		t.Fatalf("Serve ended with %v", err)
	}
}
