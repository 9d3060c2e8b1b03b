// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"runtime"
	"sync"

	"github.com/libvh/libvh/go/internal/raw"
)

type (
	NetOpts = raw.NetOpts // options of NewNet
	NetInfo = raw.NetInfo // what a network device is
)

// Net is a virtio-net driver: frames out and in, copied. Goroutines may send and receive at the same time.
type Net struct {
	d      *Driver
	own    Target // of OpenNet, closed with it; else nil
	s      *netSession
	info   NetInfo
	sleeps sleeps
	pairs  []netPair
}

// A netPair has memory that frames pass through: the library is given addresses, and Go's memory moves where it lies on a stack.
type netPair struct {
	out, in lane
}

type lane struct {
	mu     sync.Mutex
	memory []byte
	frames []raw.NetFrame
}

// netBatch is how many frames go through one call of the library.
const netBatch = 32

// OpenNet drives what serves a network device at a target of OpenTarget ("unix:/path"). Close closes the target too.
func OpenNet(ctx context.Context, target string) (*Net, error) {
	d, t, err := startSession(ctx, target, TypeNet)
	if err != nil {
		return nil, err
	}
	n, err := NewNet(ctx, d, nil)
	if err != nil {
		t.Close()
		return nil, err
	}
	n.own = t
	return n, nil
}

// NewNet is a network driver over a session of TypeNet, which has one at a time; nil options are the defaults.
func NewNet(ctx context.Context, d *Driver, opts *NetOpts) (*Net, error) {
	if d == nil {
		return nil, missing("driver")
	}
	n := &Net{d: d}
	var info NetInfo
	err := d.wait(ctx, func() error {
		p, err := made(func(out **raw.Net) error { return raw.NetNew(opts, d.s.p, out) })
		if err != nil {
			return err
		}
		s := &netSession{p: p}
		n.s, d.s.net = s, s
		return raw.NetGetInfo(p, &info)
	})
	n.info = info
	if err != nil {
		if n.s != nil {
			n.Close()
		}
		return nil, err
	}
	n.pairs = make([]netPair, info.NPairs)
	return n, nil
}

// Close gives it up. A Driver that it was made over goes on.
func (n *Net) Close() error {
	defer runtime.KeepAlive(n)
	return endSession(n.d, n.own, &n.sleeps, n.s.free)
}

// Info is what the device is.
func (n *Net) Info() NetInfo { return n.info }

func (n *Net) use(call func(*raw.Net) error) error {
	defer runtime.KeepAlive(n)
	if err := n.s.life.enter(); err != nil {
		return err
	}
	defer n.s.life.leave()
	return call(n.s.p)
}

// lane has memory for a batch, and is locked until it is given back.
func (n *Net) lane(pair int, of func(*netPair) *lane) (*lane, error) {
	if pair < 0 || pair >= len(n.pairs) {
		return nil, missing("pair of that number")
	}
	l := of(&n.pairs[pair])
	l.mu.Lock()
	if l.memory == nil {
		l.memory = make([]byte, netBatch*int(n.info.FrameMax))
		l.frames = make([]raw.NetFrame, netBatch)
	}
	return l, nil
}

// room is where the frame i of a batch lies.
func (n *Net) room(l *lane, i int) []byte {
	size := int(n.info.FrameMax)
	return l.memory[i*size : (i+1)*size : (i+1)*size]
}

// Submit sends frames; how many were taken, fewer when the ring is full.
func (n *Net) Submit(pair int, frames [][]byte) (sent int, err error) {
	l, err := n.lane(pair, func(p *netPair) *lane { return &p.out })
	if err != nil {
		return 0, err
	}
	defer l.mu.Unlock()
	for sent < len(frames) {
		batch := frames[sent:least(len(frames), sent+netBatch)]
		for i, frame := range batch {
			l.frames[i] = raw.NetFrame{Data: Addr(n.room(l, i)), Len: uint32(len(frame))}
			copy(n.room(l, i), frame) // one that is too long is refused
		}
		taken := 0
		err := n.use(func(p *raw.Net) (err error) {
			taken, err = raw.NetSend(p, u32(pair), l.frames[:len(batch)])
			return err
		})
		runtime.KeepAlive(l.memory)
		if err != nil && sent == 0 {
			return 0, err
		}
		sent += taken
		if err != nil || taken < len(batch) {
			break
		}
	}
	return sent, nil
}

// Reap takes frames that came, at most max, none when there are none.
func (n *Net) Reap(pair, max int) (frames [][]byte, err error) {
	l, err := n.lane(pair, func(p *netPair) *lane { return &p.in })
	if err != nil {
		return nil, err
	}
	defer l.mu.Unlock()
	for max > len(frames) {
		batch := l.frames[:least(netBatch, max-len(frames))]
		for i := range batch {
			batch[i] = raw.NetFrame{Data: Addr(n.room(l, i)), Room: uint64(n.info.FrameMax)}
		}
		got := 0
		err := n.use(func(p *raw.Net) (err error) {
			got, err = raw.NetReceive(p, u32(pair), batch)
			return err
		})
		runtime.KeepAlive(l.memory)
		if err != nil && len(frames) == 0 {
			return nil, err
		}
		for i := 0; i < got; i++ {
			frames = append(frames, append([]byte(nil), n.room(l, i)[:least(int(batch[i].Len), int(n.info.FrameMax))]...))
		}
		if err != nil || got < len(batch) {
			break
		}
	}
	return frames, nil
}

// Wait parks the goroutine until Reap has a frame (what is NetReceive) or Submit has room (NetSend). DriverOpts.PollUS: for
// frames as with Blk.Wait.
func (n *Net) Wait(ctx context.Context, pair int, what uint32) error {
	queue := 2 * pair
	if what == NetSend {
		queue++
	}
	return n.sleeps.wait(ctx, n.d, queue, what == NetReceive, func() error {
		return n.use(func(p *raw.Net) error { return raw.NetWait(p, u32(pair), what, 0) })
	})
}

// Send sends frames on pair 0, and waits for room if need be.
func (n *Net) Send(ctx context.Context, frames ...[]byte) error {
	for len(frames) > 0 {
		sent, err := n.Submit(0, frames)
		if err != nil {
			return err
		}
		frames = frames[sent:]
		if len(frames) > 0 && sent == 0 {
			if err := n.Wait(ctx, 0, NetSend); err != nil {
				return err
			}
		}
	}
	return nil
}

// Receive is the next frame of pair 0.
func (n *Net) Receive(ctx context.Context) ([]byte, error) {
	for {
		frames, err := n.Reap(0, 1)
		if err != nil {
			return nil, err
		}
		if len(frames) == 1 {
			return frames[0], nil
		}
		if err := n.Wait(ctx, 0, NetReceive); err != nil {
			return nil, err
		}
	}
}
