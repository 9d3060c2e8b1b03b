// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"io"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/libvh/libvh/go/internal/raw"
)

type (
	DeviceOpts = raw.DeviceOpts
	BlkdevOpts = raw.BlkdevOpts
	NetdevOpts = raw.NetdevOpts
)

// What a device in Go may do besides, each by an interface of its own. The calls come from inside Slave.Dispatch and
// Serve, on their goroutine. An error that is a plain syscall.Errno is just the answer to the front-end; any other
// error is that for the front-end too, and Dispatch or Serve returns it. A panic goes on from there as well.
type (
	// BatchHandler handles requests: pop, do, push, now or later. More: it stopped because of the budget. Without it
	// the device's user pops and pushes. An error breaks the queue; what is wrong with one request belongs in its status.
	BatchHandler interface {
		OnBatch(q *Queue, index, budget int) (more bool, err error)
	}
	// ConfigReader has a config space; buf is zeroed before. Later is answered by Device.Reply with as many bytes.
	ConfigReader interface {
		ReadConfig(offset uint32, buf []byte, later Later) error
	}
	// ConfigWriter lets it be written; buf is good during the call. Flags: ConfigWrite or ConfigMigration.
	ConfigWriter interface {
		WriteConfig(offset uint32, buf []byte, flags uint32, later Later) error
	}
	// FeatureSetter is told the driver's choice; 0 when the connection ended.
	FeatureSetter interface {
		SetFeatures(features uint64, later Later) error
	}
	// Resetter is told of a device reset, after the requests in flight are done.
	Resetter interface {
		Reset(later Later) error
	}
	// QueueStarter is told when a queue became able to run.
	QueueStarter interface {
		QueueStarted(q *Queue, index int)
	}
	// QueueStopper is told when a queue stopped.
	QueueStopper interface {
		QueueStopped(q *Queue, index int)
	}
	// Announcer tells the network of a guest that has moved here; who has it offers the protocol feature RARP.
	Announcer interface {
		SendRARP(mac []byte, later Later) error
	}
	// MTUSetter is told the largest frame; with the feature bit, who has it offers the protocol feature MTU.
	MTUSetter interface {
		SetMTU(mtu uint32, later Later) error
	}
	// CryptoHandler keeps sessions; who has it offers the protocol feature CRYPTO_SESSION. Key and AuthKey are good during
	// the call. Later is answered by Device.Reply with the number as
	// 8 bytes.
	CryptoHandler interface {
		CreateCryptoSession(session *CryptoSession, later Later) (number int32, err error)
		CloseCryptoSession(number int64, later Later) error
	}
	// NoRepeater is a device of which a request that was begun can't be done again by the next process: no inflight records
	// are kept.
	NoRepeater interface{ NoRepeat() }
	// StateKeeper remembers something that a device which goes on in its place has to know; who has it offers the protocol
	// feature DEVICE_STATE. SaveState fills buf with the next bytes, 0 when that was all; LoadState takes them, none when
	// that was all: check it then, and take it over. Buf is good during the call. Either may end before, without a word: the
	// next begins at 0 again.
	// Later of SaveState is answered by Device.Reply with bytes, or by Device.Finish for the end.
	StateKeeper interface {
		SaveState(offset uint64, buf []byte, later Later) (n int, err error)
		LoadState(offset uint64, buf []byte, later Later) error
	}
	// ObjectHolder has objects that other devices may want; who has it offers the protocol feature SHARED_OBJECT. The
	// file stays its own. Later is answered by Device.Reply with no bytes and the file.
	ObjectHolder interface {
		SharedObject(uuid []byte, later Later) (*os.File, error)
	}
	// GpuSocketSetter is told where the display is; the descriptor is closed after the call: duplicate it.
	GpuSocketSetter interface {
		SetGpuSocket(fd int, later Later) error
	}
)

// Later names one call of a device's that returned ErrLater, for Device.Finish.
type Later uint64

// Device answers requests, behind one Slave at a time.
type Device struct {
	*handle
	p     *raw.Device
	calls *calls
}

// calls is what callbacks know, which the library keeps: not the Device itself, so that a forgotten one is found.
type calls struct {
	caught *caught
	at     atomic.Pointer[handle] // of the Slave that the Device was given to last
	queues map[int]*Queue
}

// NewDevice is a device in Go: handler implements any of the interfaces above, and io.Closer if it wants to know when
// the device is gone.
func NewDevice(opts *DeviceOpts, handler any) (*Device, error) {
	return newDevice(func(d *Device, out **raw.Device) error { return raw.DeviceNew(opts, d.calls.ops(handler), out) })
}

// NewBlkdev is a block device of the library's. File: for BlkdevFile, duplicated; else nil.
func NewBlkdev(opts *BlkdevOpts, file *os.File) (*Device, error) {
	return newDevice(func(_ *Device, out **raw.Device) error {
		return withFd(file, func(fd int32) error { return raw.BlkdevNew(opts, fd, out) })
	})
}

// NewNull is a block device that completes at once and holds nothing.
func NewNull(capacity uint64) (*Device, error) {
	return NewBlkdev(&BlkdevOpts{Kind: BlkdevNull, Capacity: capacity}, nil)
}

// NewRAM is a block device in memory.
func NewRAM(capacity uint64) (*Device, error) {
	return NewBlkdev(&BlkdevOpts{Kind: BlkdevRam, Capacity: capacity}, nil)
}

// NewFile is a block device in a file, which is duplicated.
func NewFile(file *os.File) (*Device, error) { return NewBlkdev(&BlkdevOpts{Kind: BlkdevFile}, file) }

// NewNetDev is a network device of the library's. File: for NetdevTap, a tap of /dev/net/tun that is set up or a datagram
// socket, duplicated; else nil.
func NewNetDev(opts *NetdevOpts, file *os.File) (*Device, error) {
	return newDevice(func(_ *Device, out **raw.Device) error {
		return withFd(file, func(fd int32) error { return raw.NetdevNew(opts, fd, out) })
	})
}

func newDevice(make func(*Device, **raw.Device) error) (*Device, error) {
	c := &caught{}
	d := &Device{handle: newHandle(c), calls: &calls{caught: c, queues: map[int]*Queue{}}}
	p, err := made(func(out **raw.Device) error { return make(d, out) })
	d.p = p
	if got := c.take(); got.panicked {
		panic(got.value)
	}
	if err != nil {
		return nil, err
	}
	runtime.SetFinalizer(d, forgotten[*Device])
	return d, nil
}

// Close frees it; one that is attached goes when its Slave goes.
func (d *Device) Close() error {
	runtime.SetFinalizer(d, nil)
	if at := d.calls.at.Load(); at != nil { // what came out of a callback is for who is inside there
		if at.enter(context.Background()) == nil {
			defer at.leave()
		}
	}
	return d.shut(nil, func() { raw.DeviceFree(d.p) })
}

// Finish answers a callback that returned ErrLater. It may come before the callback has returned.
func (d *Device) Finish(later Later, answer error) error {
	return d.any(func() error { return raw.DeviceFinish(d.p, uint64(later), code(answer)) })
}

// Reply answers a callback that returned ErrLater and whose answer has bytes. File: nil, unless the callback wants one.
func (d *Device) Reply(later Later, answer []byte, file *os.File) error {
	return withFd(file, func(fd int32) error {
		return d.any(func() error { return raw.DeviceReply(d.p, uint64(later), answer, fd) })
	})
}

// Failed tells that the device could not do a request: it is counted, logged, and an event of the Slave.
func (d *Device) Failed(queue int, why error) error {
	return d.any(func() error { return raw.DeviceError(d.p, u32(queue), code(why)) })
}

// ConfigChanged tells the driver that config space changed.
func (d *Device) ConfigChanged() error {
	call := func() error {
		return d.any(func() error { return raw.DeviceConfigChanged(d.p) })
	}
	if at := d.calls.at.Load(); at != nil {
		if err := at.do(call); err != os.ErrClosed {
			return err
		}
	}
	return call()
}

// any is a call that may come at any time, also while another goroutine is inside.
func (d *Device) any(call func() error) error {
	if err := d.life.enter(); err != nil {
		return err
	}
	defer d.life.leave()
	return call()
}

// queue is the same object for each call of a queue.
func (c *calls) queue(p *raw.Queue, index int) *Queue {
	q := c.queues[index]
	if q == nil || q.p != p {
		q = borrowed(p, &c.at.Load().life, nil)
		c.queues[index] = q
	}
	return q
}

// ops are the callbacks of those interfaces that handler implements.
func (c *calls) ops(handler any) *raw.DeviceOps {
	run, ops := c.caught.run, &raw.DeviceOps{Flags: DeviceManualQueues}
	if h, ok := handler.(BatchHandler); ok {
		ops.Flags = 0
		ops.OnBatch = func(q *raw.Queue, index, budget uint32) (more int32) {
			rc := run(func() error {
				again, err := h.OnBatch(c.queue(q, int(index)), int(index), int(budget))
				if again {
					more = 1
				}
				return err
			})
			if rc != 0 {
				return rc
			}
			return more
		}
	}
	if _, ok := handler.(NoRepeater); ok {
		ops.Flags |= DeviceNoRepeat
	}
	if h, ok := handler.(ConfigReader); ok {
		ops.GetConfig = func(offset uint32, buf []byte, later uint64) int32 {
			return run(func() error { return h.ReadConfig(offset, buf, Later(later)) })
		}
	}
	if h, ok := handler.(ConfigWriter); ok {
		ops.SetConfig = func(offset uint32, buf []byte, flags uint32, later uint64) int32 {
			return run(func() error { return h.WriteConfig(offset, buf, flags, Later(later)) })
		}
	}
	if h, ok := handler.(FeatureSetter); ok {
		ops.SetFeatures = func(features, later uint64) int32 {
			return run(func() error { return h.SetFeatures(features, Later(later)) })
		}
	}
	c.newsOps(ops, handler)
	return ops
}

// newsOps are those that are told what happened.
func (c *calls) newsOps(ops *raw.DeviceOps, handler any) {
	run := c.caught.run
	if h, ok := handler.(Resetter); ok {
		ops.Reset = func(later uint64) int32 {
			return run(func() error { return h.Reset(Later(later)) })
		}
	}
	if h, ok := handler.(QueueStarter); ok {
		ops.QueueStarted = func(q *raw.Queue, index uint32) {
			run(func() error { h.QueueStarted(c.queue(q, int(index)), int(index)); return nil })
		}
	}
	if h, ok := handler.(QueueStopper); ok {
		ops.QueueStopped = func(q *raw.Queue, index uint32) {
			run(func() error { h.QueueStopped(c.queue(q, int(index)), int(index)); return nil })
		}
	}
	c.kindOps(ops, handler)
	if h, ok := handler.(io.Closer); ok {
		ops.Destroy = func() { run(h.Close) }
	}
}

// kindOps are those of devices of one kind.
func (c *calls) kindOps(ops *raw.DeviceOps, handler any) {
	run := c.caught.run
	if h, ok := handler.(Announcer); ok {
		ops.SendRARP = func(mac []byte, later uint64) int32 {
			return run(func() error { return h.SendRARP(owned(mac), Later(later)) })
		}
	}
	if h, ok := handler.(MTUSetter); ok {
		ops.SetMTU = func(mtu uint32, later uint64) int32 {
			return run(func() error { return h.SetMTU(mtu, Later(later)) })
		}
	}
	if h, ok := handler.(CryptoHandler); ok {
		ops.CreateCryptoSession = func(session *raw.CryptoSession, later uint64) (number int32) {
			rc := run(func() (err error) {
				number, err = h.CreateCryptoSession(shownSession(session), Later(later))
				return err
			})
			if rc != 0 {
				return rc
			}
			return number
		}
		ops.CloseCryptoSession = func(number int64, later uint64) int32 {
			return run(func() error { return h.CloseCryptoSession(number, Later(later)) })
		}
	}
	if h, ok := handler.(StateKeeper); ok {
		ops.SaveState = func(offset uint64, buf []byte, later uint64) (n int32) {
			rc := run(func() error {
				got, err := h.SaveState(offset, buf, Later(later))
				n = int32(got)
				return err
			})
			if rc != 0 {
				return rc
			}
			return n
		}
		ops.LoadState = func(offset uint64, buf []byte, later uint64) int32 {
			return run(func() error { return h.LoadState(offset, buf, Later(later)) })
		}
	}
	if h, ok := handler.(ObjectHolder); ok {
		var keep *os.File
		ops.GetSharedObject = func(uuid []byte, later uint64) int32 {
			return borrowedFd(c.caught, &keep, func() (*os.File, error) { return h.SharedObject(owned(uuid), Later(later)) })
		}
	}
	if h, ok := handler.(GpuSocketSetter); ok {
		ops.SetGpuSocket = func(fd int32, later uint64) int32 {
			return run(func() error { return h.SetGpuSocket(int(fd), Later(later)) })
		}
	}
}

// attach gives it to a Slave, out of which comes from now on what comes out of its callbacks.
func (d *Device) attach(at *handle, make func() error) error {
	return d.do(func() error {
		if err := make(); err != nil {
			return err
		}
		d.calls.queues = map[int]*Queue{}
		d.calls.at.Store(at)
		return nil
	})
}
