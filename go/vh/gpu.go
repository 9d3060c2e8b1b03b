// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"github.com/libvh/libvh/go/internal/raw"
)

type (
	GpuOpts = raw.GpuOpts
	GpuMode = raw.GpuMode
	GpuMsg  = raw.GpuMsg
)

// gpu is either end of a GPU's socket. Its calls may come from several goroutines, one at a time is let in.
type gpu struct {
	life life
	mu   sync.Mutex
	p    *raw.Gpu
}

func (g *gpu) do(call func() error) error {
	if err := g.life.enter(); err != nil {
		return err
	}
	defer g.life.leave()
	g.mu.Lock()
	defer g.mu.Unlock()
	return call()
}

func (g *gpu) free() {
	if g.life.end() {
		raw.GpuFree(g.p)
	}
}

// GpuDevice is the end that a back-end has, over the socket that SetGpuSocket of its device got. Its calls wait for the
// display, as long as GpuOpts.TimeoutMS says.
type GpuDevice struct{ gpu }

// NewGpuDevice duplicates the socket; nil options are the defaults.
func NewGpuDevice(socket *os.File, opts *GpuOpts) (d *GpuDevice, err error) {
	d = &GpuDevice{}
	err = withFd(socket, func(fd int32) error {
		d.p, err = made(func(out **raw.Gpu) error { return raw.GpuNewDevice(opts, fd, out) })
		return err
	})
	if err != nil {
		return nil, err
	}
	runtime.SetFinalizer(d, forgotten[*GpuDevice])
	return d, nil
}

// Close ends the connection.
func (d *GpuDevice) Close() error {
	runtime.SetFinalizer(d, nil)
	d.free()
	return nil
}

func (d *GpuDevice) call(f func() error) error {
	defer runtime.KeepAlive(d)
	return d.do(f)
}

// Negotiate agrees on protocol features (1<<GpuPFEdid, 1<<GpuPFDmabuf2); what both ends have.
func (d *GpuDevice) Negotiate(wanted uint64) (acked uint64, err error) {
	err = d.call(func() error { return raw.GpuNegotiate(d.p, wanted, &acked) })
	return acked, err
}

// Modes are those of each scanout.
func (d *GpuDevice) Modes() (modes [GpuMaxScanouts]GpuMode, err error) {
	err = d.call(func() error {
		_, err := raw.GpuGetModes(d.p, modes[:])
		return err
	})
	return modes, err
}

// Edid is the description of a monitor.
func (d *GpuDevice) Edid(scanout int) (edid []byte, err error) {
	buf := make([]byte, GpuEdidMax)
	err = d.call(func() error {
		n, err := raw.GpuGetEdid(d.p, u32(scanout), buf)
		if err == nil {
			edid = buf[:n]
		}
		return err
	})
	return edid, err
}

// Send is a request about a scanout or the cursor, with its pixels, or with the file of a dma-buf. GpuDmabufUpdate
// returns when it was shown.
func (d *GpuDevice) Send(msg GpuMsg, pixels []byte, buffer *os.File) error {
	memory := raw.Memory(uintptr(len(pixels)) + 1) // the library follows an address, so it can't be Go's
	if memory == nil {
		return syscall.ENOMEM
	}
	defer raw.Free(memory)
	copy(unsafe.Slice((*byte)(memory), len(pixels)), pixels)
	msg.Data, msg.DataSize = uint64(uintptr(memory)), uint64(len(pixels))
	send := func(fd int32) error {
		return d.call(func() error { return raw.GpuSend(d.p, &msg, fd) })
	}
	if buffer == nil {
		return send(-1)
	}
	return withFd(buffer, send)
}

// GpuRequest is what a display is told: numbers, pixels, and the file of a dma-buf, which is yours to close.
type GpuRequest struct {
	GpuMsg
	Pixels []byte
	Buffer *os.File
}

// GpuDisplay is the end that a front-end keeps, when it gives the other one to Master.SetGpuSocket.
type GpuDisplay struct {
	gpu
	sleep *waiter
}

// NewGpuDisplay duplicates the socket; nil options are the defaults: no protocol feature is offered.
func NewGpuDisplay(socket *os.File, opts *GpuOpts) (d *GpuDisplay, err error) {
	d = &GpuDisplay{}
	err = withFd(socket, func(fd int32) error {
		d.p, err = made(func(out **raw.Gpu) error { return raw.GpuNewDisplay(opts, fd, out) })
		return err
	})
	if err != nil {
		return nil, err
	}
	fd, err := raw.GpuFD(d.p).Get()
	if err == nil {
		d.sleep, err = newWaiter(fd)
	}
	if err != nil {
		d.free()
		return nil, err
	}
	runtime.SetFinalizer(d, forgotten[*GpuDisplay])
	return d, nil
}

// Close ends the connection.
func (d *GpuDisplay) Close() error {
	runtime.SetFinalizer(d, nil)
	d.sleep.close()
	d.free()
	return nil
}

func (d *GpuDisplay) call(f func() error) error {
	defer runtime.KeepAlive(d)
	return d.do(f)
}

// Recv waits for the next request. GpuGetDisplayInfo, GpuGetEdid and GpuDmabufUpdate have to be answered before the next
// one. ECONNRESET: the device is gone.
func (d *GpuDisplay) Recv(ctx context.Context) (*GpuRequest, error) {
	for {
		r, err := d.next()
		if r != nil || err != nil {
			return r, err
		}
		if err := d.sleep.wait(ctx, 0); err != nil {
			return nil, err
		}
	}
}

func (d *GpuDisplay) next() (r *GpuRequest, err error) {
	err = d.call(func() error {
		var msg GpuMsg
		var fd int32
		n, err := raw.GpuRecv(d.p, &msg, &fd).Get()
		if err != nil || n == 0 {
			return err
		}
		r = &GpuRequest{GpuMsg: msg}
		if msg.DataSize > 0 {
			r.Pixels = append(r.Pixels, unsafe.Slice((*byte)(raw.At(msg.Data)), int(msg.DataSize))...)
		}
		if fd >= 0 {
			r.Buffer = fileOf(fd, "dma-buf")
		}
		return nil
	})
	return r, err
}

// ReplyModes answers GpuGetDisplayInfo: by scanout; the others are off.
func (d *GpuDisplay) ReplyModes(modes []GpuMode) error {
	return d.call(func() error { return raw.GpuReplyModes(d.p, modes) })
}

// ReplyEdid answers GpuGetEdid.
func (d *GpuDisplay) ReplyEdid(edid []byte) error {
	return d.call(func() error { return raw.GpuReplyEdid(d.p, edid) })
}

// ReplyShown answers GpuDmabufUpdate: the device may use the buffer again.
func (d *GpuDisplay) ReplyShown() error {
	return d.call(func() error { return raw.GpuReplyShown(d.p) })
}
