// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/libvh/libvh/go/internal/raw"
)

type (
	BlkIO   = raw.BlkIO
	BlkDone = raw.BlkDone
	BlkInfo = raw.BlkInfo
)

// Blk is a virtio-blk driver. Submit and Reap are for batches, one goroutine for each queue; ReadAt, WriteAt and Flush
// do one request at a time on queue 0, from any goroutine. Don't mix the two on queue 0.
type Blk struct {
	d    *Driver
	own  Target // of OpenBlk, closed with it; else nil
	s    *blkSession
	info BlkInfo

	sleeps sleeps

	one    chan struct{} // held by who uses buf
	buf    []byte
	cookie uint64 // of the last request on buf
	busy   bool   // it is in flight
}

// bufferSize is how much ReadAt and WriteAt move in a request, where the device takes that much.
const bufferSize = 256 << 10

// OpenBlk drives what serves a block device at a target of OpenTarget ("unix:/path"). Close closes the target too.
func OpenBlk(ctx context.Context, target string) (*Blk, error) {
	d, t, err := startSession(ctx, target, TypeBlk)
	if err != nil {
		return nil, err
	}
	b, err := NewBlk(ctx, d)
	if err != nil {
		t.Close()
		return nil, err
	}
	b.own = t
	return b, nil
}

// NewBlk is a block driver over a session, which has one at a time.
func NewBlk(ctx context.Context, d *Driver) (*Blk, error) {
	if d == nil {
		return nil, missing("driver")
	}
	b := &Blk{d: d, one: make(chan struct{}, 1)}
	var info BlkInfo
	err := d.wait(ctx, func() error {
		p, err := made(func(out **raw.Blk) error { return raw.BlkNew(d.s.p, out) })
		if err != nil {
			return err
		}
		s := &blkSession{p: p}
		b.s, d.s.blk = s, s
		return raw.BlkGetInfo(p, &info)
	})
	b.info = info
	if err == nil {
		b.buf, err = d.alloc(ctx, least(bufferSize, int(info.MaxBytes)), func() {})
	}
	if err != nil {
		if b.s != nil {
			b.Close()
		}
		return nil, err
	}
	return b, nil
}

// Close gives it up; requests in flight are lost to the caller. A Driver that it was made over goes on. A device that keeps a
// request which was given up is not waited for, where the connection is OpenBlk's.
func (b *Blk) Close() error {
	defer runtime.KeepAlive(b)
	if m, ok := b.own.(*Master); ok && b.keeps() {
		_ = m.Disconnect() // it would not answer that its queue stops
	}
	return endSession(b.d, b.own, &b.sleeps, b.s.free)
}

// keeps tells whether a request was given up that is in flight still.
func (b *Blk) keeps() bool {
	select {
	case b.one <- struct{}{}:
		defer func() { <-b.one }()
		return b.busy
	default:
		return false
	}
}

// Info is what the device is.
func (b *Blk) Info() BlkInfo { return b.info }

// Size in bytes.
func (b *Blk) Size() int64 { return int64(b.info.Capacity) }

// Addr is the address of a buffer from Driver.Alloc, for BlkIO.
func Addr(buf []byte) uint64 {
	if len(buf) == 0 {
		return 0
	}
	return uint64(uintptr(unsafe.Pointer(&buf[0])))
}

// Submit starts requests; how many were taken.
func (b *Blk) Submit(queue int, ios []BlkIO) (n int, err error) {
	err = b.use(func(p *raw.Blk) error {
		n, err = raw.BlkSubmit(p, u32(queue), ios)
		return err
	})
	return n, err
}

// Reap takes ended requests, at most len(done), 0 when there are none.
func (b *Blk) Reap(queue int, done []BlkDone) (n int, err error) {
	err = b.use(func(p *raw.Blk) error {
		n, err = raw.BlkReap(p, u32(queue), done)
		return err
	})
	return n, err
}

// Wait parks the goroutine until Reap has something. The connection is served meanwhile. DriverOpts.PollUS has it look at the
// queue before; other goroutines run meanwhile. With GOMAXPROCS=1 those that wait for a file, as a server in this process, are
// looked for every 10 ms only while one spins: PollAlways is for machines with a processor to spare.
func (b *Blk) Wait(ctx context.Context, queue int) error {
	return b.sleeps.wait(ctx, b.d, queue, true, func() error {
		return b.use(func(p *raw.Blk) error { return raw.BlkWait(p, u32(queue), 0) })
	})
}

func (b *Blk) use(call func(*raw.Blk) error) error {
	defer runtime.KeepAlive(b)
	if err := b.s.life.enter(); err != nil {
		return err
	}
	defer b.s.life.leave()
	return call(b.s.p)
}

// ReadAt reads; offset and length may be anything.
func (b *Blk) ReadAt(p []byte, off int64) (int, error) {
	return b.ReadAtContext(context.Background(), p, off)
}

// WriteAt writes; offset and length are multiples of BlkSector.
func (b *Blk) WriteAt(p []byte, off int64) (int, error) {
	return b.WriteAtContext(context.Background(), p, off)
}

// ReadAtContext is ReadAt with a context.
func (b *Blk) ReadAtContext(ctx context.Context, p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("vh: read at %d: %w", off, syscall.EINVAL)
	}
	for n < len(p) {
		at := off + int64(n)
		if at >= b.Size() {
			return n, io.EOF
		}
		skip := int(at % BlkSector)
		length := (skip + len(p) - n + BlkSector - 1) / BlkSector * BlkSector
		length = int(least(int64(length), int64(len(b.buf)), b.Size()-at+int64(skip)))
		err := b.request(ctx, BlkIO{Op: BlkRead, Offset: uint64(at) - uint64(skip), Len: uint64(length)}, nil, func() {
			n += copy(p[n:], b.buf[skip:length])
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// WriteAtContext is WriteAt with a context.
func (b *Blk) WriteAtContext(ctx context.Context, p []byte, off int64) (n int, err error) {
	if off < 0 || off%BlkSector != 0 || len(p)%BlkSector != 0 {
		return 0, fmt.Errorf("vh: write of %d bytes at %d: not whole sectors: %w", len(p), off, syscall.EINVAL)
	}
	for n < len(p) {
		piece := p[n:least(len(p), n+len(b.buf))]
		err := b.request(ctx, BlkIO{Op: BlkWrite, Offset: uint64(off) + uint64(n), Len: uint64(len(piece))},
			func() { copy(b.buf, piece) }, nil)
		if err != nil {
			return n, err
		}
		n += len(piece)
	}
	return n, nil
}

// Flush returns when the disk has what was written.
func (b *Blk) Flush(ctx context.Context) error { return b.request(ctx, BlkIO{Op: BlkFlush}, nil, nil) }

// ID is what the device calls itself.
func (b *Blk) ID(ctx context.Context) (id string, err error) {
	err = b.request(ctx, BlkIO{Op: BlkGetID, Len: BlkIDSize}, nil, func() {
		id = text(b.buf[:BlkIDSize])
	})
	return id, err
}

func text(nulPadded []byte) string {
	for i, c := range nulPadded {
		if c == 0 {
			return string(nulPadded[:i])
		}
	}
	return string(nulPadded)
}

// request does one request on the buffer: before fills it, after takes from it. One that was given up because of its
// context may still be in flight; the next waits for it first.
func (b *Blk) request(ctx context.Context, request BlkIO, before, after func()) error {
	select {
	case b.one <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-b.one }()
	if b.busy {
		if _, err := b.result(ctx); err != nil {
			return err
		}
	}
	if before != nil {
		before()
	}
	if request.Len != 0 {
		request.Addr = Addr(b.buf)
	}
	b.cookie++
	request.User = b.cookie
	n, err := b.Submit(0, []BlkIO{request})
	if err != nil {
		return err
	}
	if n != 1 {
		return fmt.Errorf("vh: queue 0 is full of other requests: %w", syscall.EBUSY)
	}
	b.busy = true
	rc, err := b.result(ctx)
	if err != nil {
		return err
	}
	if rc != 0 {
		return fmt.Errorf("vh: block request %d at %d: %w", request.Op, request.Offset, syscall.Errno(-rc))
	}
	if after != nil {
		after()
	}
	return nil
}

// result waits for the last request.
func (b *Blk) result(ctx context.Context) (rc int32, err error) {
	var done [1]BlkDone
	for {
		n, err := b.Reap(0, done[:])
		if err != nil {
			return 0, err
		}
		if n == 1 && done[0].User == b.cookie {
			b.busy = false
			return done[0].Rc, nil
		}
		if n == 0 {
			if err := b.Wait(ctx, 0); err != nil {
				return 0, err
			}
		}
	}
}

func least[T int | int64](a T, more ...T) T {
	for _, b := range more {
		if b < a {
			a = b
		}
	}
	return a
}
