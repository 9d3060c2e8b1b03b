// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"os"
	"runtime"

	"github.com/libvh/libvh/go/internal/raw"
)

type KernOpts = raw.KernOpts

// Kern is one of the kernel's own vhost devices: /dev/vhost-net, /dev/vhost-vsock, /dev/vhost-scsi. NewDriver drives it, after
// Attach, VsockSetCID or ScsiSetTarget said what it is about. The other methods are the ioctls as they are; an error names the
// one that failed, and says what may be done.
type Kern struct {
	*Backend
	p     *raw.Kern
	sleep *waiter // nil: nothing ever comes from it
}

// OpenKern opens a device file; nil options are the defaults.
func OpenKern(path string, opts *KernOpts) (*Kern, error) {
	return newKern(func(out **raw.Kern) error { return raw.KernOpen(path, opts, out) })
}

// AdoptKern uses a device file that is open already, which is duplicated. Its kind has to be said in the options.
func AdoptKern(f *os.File, opts *KernOpts) (k *Kern, err error) {
	err = withFd(f, func(fd int32) error {
		k, err = newKern(func(out **raw.Kern) error { return raw.KernAdopt(fd, opts, out) })
		return err
	})
	return k, err
}

func newKern(create func(**raw.Kern) error) (*Kern, error) {
	p, err := made(create)
	if err != nil {
		return nil, err
	}
	k := &Kern{Backend: newBackend(&caught{}), p: p}
	k.of = func(out **raw.Backend) error { return raw.KernBackend(p, out) }
	if raw.KernKind(p) != KernScsi {
		fd, err := raw.KernFD(p).Get()
		if err == nil {
			k.sleep, err = newWaiter(fd)
		}
		if err != nil {
			k.Close()
			return nil, err
		}
	}
	runtime.SetFinalizer(k, forgotten[*Kern])
	return k, nil
}

// Close ends its Drivers, stops what runs, and closes the file.
func (k *Kern) Close() error {
	runtime.SetFinalizer(k, nil)
	k.sleep.close()
	return k.shut(nil, func() {
		k.sessions.freeAll()
		raw.KernFree(k.p)
	})
}

func (k *Kern) drives() *Backend {
	if k == nil {
		return nil
	}
	return k.Backend
}

func (k *Kern) fd(f *os.File, call func(fd int32) error) error {
	return withFd(f, func(fd int32) error { return k.do(func() error { return call(fd) }) })
}

func (k *Kern) u32(call func(out *uint32) error) (v uint32, err error) {
	err = k.do(func() error { return call(&v) })
	return v, err
}

func (k *Kern) u64(call func(out *uint64) error) (v uint64, err error) {
	err = k.do(func() error { return call(&v) })
	return v, err
}

// KernKind is KernNet, KernVsock or KernScsi.
func (k *Kern) KernKind() (kind uint32, err error) {
	return k.u32(func(out *uint32) error {
		*out = raw.KernKind(k.p)
		return nil
	})
}

// File is a duplicate of the device file, for an ioctl by hand.
func (k *Kern) File() (*os.File, error) {
	var fd int32
	if err := k.do(func() error { return raw.KernDupFD(k.p, &fd) }); err != nil {
		return nil, err
	}
	return fileOf(fd, "vhost"), nil
}

// Attach says what a network ring is attached to when a Driver starts it: a tap device or a packet socket; nil: nothing any
// more. Ring 0 receives, ring 1 sends.
func (k *Kern) Attach(queue int, f *os.File) error {
	return k.fd(f, func(fd int32) error { return raw.KernAttach(k.p, u32(queue), fd) })
}

// SetConfig is the config space that a driver reads; nil: there is none.
func (k *Kern) SetConfig(config []byte) error {
	return k.do(func() error { return raw.KernSetConfig(k.p, config) })
}

// ScsiSetTarget says what a SCSI device shows when a Driver starts it.
func (k *Kern) ScsiSetTarget(wwpn string, tpgt int) error {
	return k.do(func() error { return raw.KernScsiSetTarget(k.p, wwpn, u32(tpgt)) })
}

// Probe tells which ioctls this kernel has, by name: KernIoctlYes, KernIoctlNo, or KernIoctlUnknown before SetOwner.
func (k *Kern) Probe() (map[string]uint32, error) {
	found := make([]raw.KernIoctl, 64)
	err := k.do(func() error {
		n, err := raw.KernProbe(k.p, found)
		if err == nil && n < len(found) {
			found = found[:n]
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	names := map[string]uint32{}
	for _, i := range found {
		names[raw.KernIoctlName(i.Request)] = i.State
	}
	return names, nil
}

// GetFeatures are bits 0 to 63 that are offered.
func (k *Kern) GetFeatures() (uint64, error) {
	return k.u64(func(out *uint64) error { return raw.KernGetFeatures(k.p, out) })
}

// SetFeatures acks bits.
func (k *Kern) SetFeatures(features uint64) error {
	return k.do(func() error { return raw.KernSetFeatures(k.p, features) })
}

// GetFeaturesArray fills words of 64 bits.
func (k *Kern) GetFeaturesArray(words []uint64) error {
	return k.do(func() error { return raw.KernGetFeaturesArray(k.p, words) })
}

// SetFeaturesArray acks words of 64 bits.
func (k *Kern) SetFeaturesArray(words []uint64) error {
	return k.do(func() error { return raw.KernSetFeaturesArray(k.p, words) })
}

// GetBackendFeatures are the bits KernBf* that are offered.
func (k *Kern) GetBackendFeatures() (uint64, error) {
	return k.u64(func(out *uint64) error { return raw.KernGetBackendFeatures(k.p, out) })
}

// SetBackendFeatures acks them.
func (k *Kern) SetBackendFeatures(features uint64) error {
	return k.do(func() error { return raw.KernSetBackendFeatures(k.p, features) })
}

// SetOwner has the device use this process's memory.
func (k *Kern) SetOwner() error { return k.do(func() error { return raw.KernSetOwner(k.p) }) }

// ResetOwner makes everything of a network device as it was when it was opened.
func (k *Kern) ResetOwner() error { return k.do(func() error { return raw.KernResetOwner(k.p) }) }

// GetForkFromOwner: its threads are the owner's, not the kernel's.
func (k *Kern) GetForkFromOwner() (bool, error) {
	on, err := k.u32(func(out *uint32) error { return raw.KernGetForkFromOwner(k.p, out) })
	return on != 0, err
}

// SetForkFromOwner comes before SetOwner.
func (k *Kern) SetForkFromOwner(on bool) error {
	return k.do(func() error { return raw.KernSetForkFromOwner(k.p, flag(on)) })
}

func flag(on bool) uint32 {
	if on {
		return 1
	}
	return 0
}

// SetMem is guest memory, as it is now.
func (k *Kern) SetMem(mem *Memory) error {
	return withMemory(mem, func(m *raw.Mem) error {
		return k.do(func() error { return raw.KernSetMem(k.p, m) })
	})
}

// SetLogBase is where to log what is written, before LOG_ALL is set.
func (k *Kern) SetLogBase(log *Dirty) error {
	return log.with(func(d *raw.Dirty) error {
		return k.do(func() error { return raw.KernSetLogBase(k.p, d) })
	})
}

// SetLogFd is signalled when something is logged; nil: nothing is.
func (k *Kern) SetLogFd(eventfd *os.File) error {
	return k.fd(eventfd, func(fd int32) error { return raw.KernSetLogFD(k.p, fd) })
}

// SetVringNum is a ring's size.
func (k *Kern) SetVringNum(queue, num int) error {
	return k.do(func() error { return raw.KernSetVringNum(k.p, u32(queue), u32(num)) })
}

// SetVringAddr: addresses of this process, or I/O addresses with ACCESS_PLATFORM.
func (k *Kern) SetVringAddr(addr *VringAddr) error {
	return k.do(func() error { return raw.KernSetVringAddr(k.p, addr) })
}

// SetVringBase is where a ring begins.
func (k *Kern) SetVringBase(queue int, base uint32) error {
	return k.do(func() error { return raw.KernSetVringBase(k.p, u32(queue), base) })
}

// GetVringBase is where a ring goes on, once it was stopped.
func (k *Kern) GetVringBase(queue int) (uint32, error) {
	return k.u32(func(out *uint32) error { return raw.KernGetVringBase(k.p, u32(queue), out) })
}

// SetVringKick is by which a ring is kicked; nil: by nothing.
func (k *Kern) SetVringKick(queue int, eventfd *os.File) error {
	return k.fd(eventfd, func(fd int32) error { return raw.KernSetVringKick(k.p, u32(queue), fd) })
}

// SetVringCall is by which a ring's driver is told; nil: by nothing.
func (k *Kern) SetVringCall(queue int, eventfd *os.File) error {
	return k.fd(eventfd, func(fd int32) error { return raw.KernSetVringCall(k.p, u32(queue), fd) })
}

// SetVringErr is signalled when the kernel can't go on with a ring; nil: nothing is.
func (k *Kern) SetVringErr(queue int, eventfd *os.File) error {
	return k.fd(eventfd, func(fd int32) error { return raw.KernSetVringErr(k.p, u32(queue), fd) })
}

// SetVringEndian: KernLittleEndian or KernBigEndian, for drivers from before virtio 1.0.
func (k *Kern) SetVringEndian(queue int, endian uint32) error {
	return k.do(func() error { return raw.KernSetVringEndian(k.p, u32(queue), endian) })
}

// GetVringEndian is what SetVringEndian said.
func (k *Kern) GetVringEndian(queue int) (uint32, error) {
	return k.u32(func(out *uint32) error { return raw.KernGetVringEndian(k.p, u32(queue), out) })
}

// SetVringBusyloop: microseconds that the kernel polls a ring before it waits; 0: none.
func (k *Kern) SetVringBusyloop(queue int, us uint32) error {
	return k.do(func() error { return raw.KernSetVringBusyloop(k.p, u32(queue), us) })
}

// GetVringBusyloop is what SetVringBusyloop said.
func (k *Kern) GetVringBusyloop(queue int) (uint32, error) {
	return k.u32(func(out *uint32) error { return raw.KernGetVringBusyloop(k.p, u32(queue), out) })
}

// NewWorker is one more thread that serves rings.
func (k *Kern) NewWorker() (id uint32, err error) {
	return k.u32(func(out *uint32) error { return raw.KernNewWorker(k.p, out) })
}

// FreeWorker ends one that no ring is attached to.
func (k *Kern) FreeWorker(id uint32) error {
	return k.do(func() error { return raw.KernFreeWorker(k.p, id) })
}

// AttachVringWorker has a thread serve a ring.
func (k *Kern) AttachVringWorker(queue int, id uint32) error {
	return k.do(func() error { return raw.KernAttachVringWorker(k.p, u32(queue), id) })
}

// GetVringWorker is the thread that serves a ring.
func (k *Kern) GetVringWorker(queue int) (id uint32, err error) {
	return k.u32(func(out *uint32) error { return raw.KernGetVringWorker(k.p, u32(queue), out) })
}

// NetSetBackend attaches a network ring, which runs then; nil stops it.
func (k *Kern) NetSetBackend(queue int, f *os.File) error {
	return k.fd(f, func(fd int32) error { return raw.KernNetSetBackend(k.p, u32(queue), fd) })
}

// VsockSetCID is the address of the guest.
func (k *Kern) VsockSetCID(cid uint64) error {
	return k.do(func() error { return raw.KernVsockSetCid(k.p, cid) })
}

// VsockSetRunning starts or stops both rings.
func (k *Kern) VsockSetRunning(on bool) error {
	return k.do(func() error { return raw.KernVsockSetRunning(k.p, flag(on)) })
}

// ScsiSetEndpoint shows a target and starts the rings.
func (k *Kern) ScsiSetEndpoint(wwpn string, tpgt int) error {
	return k.do(func() error { return raw.KernScsiSetEndpoint(k.p, wwpn, u32(tpgt)) })
}

// ScsiClearEndpoint stops them.
func (k *Kern) ScsiClearEndpoint(wwpn string, tpgt int) error {
	return k.do(func() error { return raw.KernScsiClearEndpoint(k.p, wwpn, u32(tpgt)) })
}

// ScsiGetABIVersion is 1.
func (k *Kern) ScsiGetABIVersion() (version int32, err error) {
	err = k.do(func() error { return raw.KernScsiGetAbiVersion(k.p, &version) })
	return version, err
}

// ScsiSetEventsMissed: the driver was not told of something that happened.
func (k *Kern) ScsiSetEventsMissed(missed bool) error {
	return k.do(func() error { return raw.KernScsiSetEventsMissed(k.p, flag(missed)) })
}

// ScsiGetEventsMissed is that flag.
func (k *Kern) ScsiGetEventsMissed() (bool, error) {
	missed, err := k.u32(func(out *uint32) error { return raw.KernScsiGetEventsMissed(k.p, out) })
	return missed != 0, err
}

// SetIotlb has misses answered from a map; nil: they are not.
func (k *Kern) SetIotlb(table *Iotlb) error {
	return table.with(func(t *raw.Iotlb) error {
		return k.do(func() error { return raw.KernSetIotlb(k.p, t) })
	})
}

// IotlbUpdate tells what I/O addresses mean: guest addresses of the memory of SetMem.
func (k *Kern) IotlbUpdate(entry *IotlbEntry) error {
	return k.do(func() error { return raw.KernIotlbUpdate(k.p, entry) })
}

// IotlbInvalidate takes back what was told.
func (k *Kern) IotlbInvalidate(iova IOVA, length uint64) error {
	return k.do(func() error { return raw.KernIotlbInvalidate(k.p, iova, length) })
}

// Dispatch reads what the kernel misses and answers what the map knows; it never blocks. More: there may be more.
func (k *Kern) Dispatch() (more bool, err error) {
	err = k.do(func() error {
		n, err := raw.KernDispatch(k.p).Get()
		more = n > 0
		return err
	})
	return more, err
}

// Wait parks the goroutine until the kernel misses an I/O address. A SCSI device never does.
func (k *Kern) Wait(ctx context.Context) error {
	if k.sleep == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return k.sleep.wait(ctx, 0)
}

// NextMiss takes the oldest miss that the map did not know; ok is false when there is none.
func (k *Kern) NextMiss() (miss IotlbMiss, ok bool, err error) {
	err = k.do(func() error {
		n, err := raw.KernNextMiss(k.p, &miss).Get()
		ok = n > 0
		return err
	})
	return miss, ok, err
}
