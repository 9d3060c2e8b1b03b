// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"os"
	"runtime"

	"github.com/libvh/libvh/go/internal/raw"
)

type (
	VdpaOpts = raw.VdpaOpts
	VdpaInfo = raw.VdpaInfo
)

// Vdpa is a vDPA device: /dev/vhost-vdpa-N. NewDriver drives it. The other methods are the ioctls as they are; an error names
// the one that failed, and says what may be done.
type Vdpa struct {
	*Backend
	p *raw.Vdpa
}

// OpenVdpa opens a device by the path of its node, or by its name; nil options are the defaults.
func OpenVdpa(where string, opts *VdpaOpts) (*Vdpa, error) {
	if err := plain(where); err != nil {
		return nil, err
	}
	return newVdpa(func(out **raw.Vdpa) error { return raw.VdpaOpen(where, opts, out) })
}

// AdoptVdpa uses a device file that is open already, which is duplicated.
func AdoptVdpa(f *os.File, opts *VdpaOpts) (v *Vdpa, err error) {
	err = withFd(f, func(fd int32) error {
		v, err = newVdpa(func(out **raw.Vdpa) error { return raw.VdpaAdopt(fd, opts, out) })
		return err
	})
	return v, err
}

func newVdpa(create func(**raw.Vdpa) error) (*Vdpa, error) {
	p, err := made(create)
	if err != nil {
		return nil, err
	}
	v := &Vdpa{Backend: newBackend(&caught{}), p: p}
	v.of = func(out **raw.Backend) error { return raw.VdpaBackend(p, out) }
	runtime.SetFinalizer(v, forgotten[*Vdpa])
	return v, nil
}

// Close ends its Drivers, resets it, and closes the file.
func (v *Vdpa) Close() error {
	runtime.SetFinalizer(v, nil)
	return v.shut(nil, func() {
		v.sessions.freeAll()
		raw.VdpaFree(v.p)
	})
}

func (v *Vdpa) drives() *Backend {
	if v == nil {
		return nil
	}
	return v.Backend
}

func (v *Vdpa) fd(f *os.File, call func(fd int32) error) error {
	if f == nil {
		return v.do(func() error { return call(-1) })
	}
	return withFd(f, func(fd int32) error { return v.do(func() error { return call(fd) }) })
}

func (v *Vdpa) u32(call func(out *uint32) error) (n uint32, err error) {
	err = v.do(func() error { return call(&n) })
	return n, err
}

// Info is what it says of itself.
func (v *Vdpa) Info() (info VdpaInfo, err error) {
	err = v.do(func() error { return raw.VdpaGetInfo(v.p, &info) })
	return info, err
}

// SetOwner makes it this process's, before anything about rings or mappings.
func (v *Vdpa) SetOwner() error { return v.do(func() error { return raw.VdpaSetOwner(v.p) }) }

// SetBackendFeatures takes features of the file: bits VdpaBf*.
func (v *Vdpa) SetBackendFeatures(features uint64) error {
	return v.do(func() error { return raw.VdpaSetBackendFeatures(v.p, features) })
}

// SetFeatures takes features of the device, after DRIVER and before FEATURES_OK.
func (v *Vdpa) SetFeatures(features uint64) error {
	return v.do(func() error { return raw.VdpaSetFeatures(v.p, features) })
}

// Status is VdpaS*.
func (v *Vdpa) Status() (uint32, error) {
	return v.u32(func(out *uint32) error { return raw.VdpaGetStatus(v.p, out) })
}

// SetStatus is the next step, with those before it; 0 resets.
func (v *Vdpa) SetStatus(status uint32) error {
	return v.do(func() error { return raw.VdpaSetStatus(v.p, status) })
}

// ReadConfig fills a part of config space.
func (v *Vdpa) ReadConfig(offset int, buf []byte) error {
	return v.do(func() error { return raw.VdpaGetConfig(v.p, u32(offset), buf) })
}

// WriteConfig writes a part of config space.
func (v *Vdpa) WriteConfig(offset int, data []byte) error {
	return v.do(func() error { return raw.VdpaSetConfig(v.p, u32(offset), data) })
}

// SetConfigCall is an eventfd that tells of changes of config space; nil: none.
func (v *Vdpa) SetConfigCall(f *os.File) error {
	return v.fd(f, func(fd int32) error { return raw.VdpaSetConfigCall(v.p, fd) })
}

// SetVringNum is the number of entries of a ring.
func (v *Vdpa) SetVringNum(queue int, num uint32) error {
	return v.do(func() error { return raw.VdpaSetVringNum(v.p, u32(queue), num) })
}

// SetVringAddr says where a ring is, in I/O addresses.
func (v *Vdpa) SetVringAddr(addr VringAddr) error {
	return v.do(func() error { return raw.VdpaSetVringAddr(v.p, &addr) })
}

// SetVringBase says where a ring begins.
func (v *Vdpa) SetVringBase(queue int, base uint32) error {
	return v.do(func() error { return raw.VdpaSetVringBase(v.p, u32(queue), base) })
}

// VringBase is where the ring of a suspended device is.
func (v *Vdpa) VringBase(queue int) (uint32, error) {
	return v.u32(func(out *uint32) error { return raw.VdpaGetVringBase(v.p, u32(queue), out) })
}

// SetVringKick is an eventfd by which the device hears of requests; nil: none.
func (v *Vdpa) SetVringKick(queue int, f *os.File) error {
	return v.fd(f, func(fd int32) error { return raw.VdpaSetVringKick(v.p, u32(queue), fd) })
}

// SetVringCall is an eventfd by which completions are told; nil: none.
func (v *Vdpa) SetVringCall(queue int, f *os.File) error {
	return v.fd(f, func(fd int32) error { return raw.VdpaSetVringCall(v.p, u32(queue), fd) })
}

// SetVringErr is an eventfd that tells of a ring that broke; nil: none.
func (v *Vdpa) SetVringErr(queue int, f *os.File) error {
	return v.fd(f, func(fd int32) error { return raw.VdpaSetVringErr(v.p, u32(queue), fd) })
}

// SetVringEnable switches a ring on.
func (v *Vdpa) SetVringEnable(queue int, on bool) error {
	n := uint32(0)
	if on {
		n = 1
	}
	return v.do(func() error { return raw.VdpaSetVringEnable(v.p, u32(queue), n) })
}

// VringSize is how many entries a ring may have.
func (v *Vdpa) VringSize(queue int) (uint32, error) {
	return v.u32(func(out *uint32) error { return raw.VdpaGetVringSize(v.p, u32(queue), out) })
}

// VringGroup is the group of a ring.
func (v *Vdpa) VringGroup(queue int) (uint32, error) {
	return v.u32(func(out *uint32) error { return raw.VdpaGetVringGroup(v.p, u32(queue), out) })
}

// DescGroup is the group of a ring's own memory.
func (v *Vdpa) DescGroup(queue int) (uint32, error) {
	return v.u32(func(out *uint32) error { return raw.VdpaGetDescGroup(v.p, u32(queue), out) })
}

// SetGroupAsid says which address space a group uses; say it again after a reset.
func (v *Vdpa) SetGroupAsid(group, asid uint32) error {
	return v.do(func() error { return raw.VdpaSetGroupAsid(v.p, group, asid) })
}

// Map says what a range of I/O addresses means: memory at an address of this process, which is not Go's and stays there.
func (v *Vdpa) Map(asid uint32, iova raw.IOVA, length, host uint64, perm uint32) error {
	return v.do(func() error { return raw.VdpaMap(v.p, asid, iova, length, host, perm) })
}

// Unmap takes it back.
func (v *Vdpa) Unmap(asid uint32, iova raw.IOVA, length uint64) error {
	return v.do(func() error { return raw.VdpaUnmap(v.p, asid, iova, length) })
}

// Batch makes the mappings between true and false one change.
func (v *Vdpa) Batch(asid uint32, on bool) error {
	n := uint32(0)
	if on {
		n = 1
	}
	return v.do(func() error { return raw.VdpaBatch(v.p, asid, n) })
}

// SetMem lets the device have a memory, at its guest addresses; nil takes all away.
func (v *Vdpa) SetMem(mem *Memory) error {
	return withMemory(mem, func(m *raw.Mem) error { return v.do(func() error { return raw.VdpaSetMem(v.p, m) }) })
}

// Suspend stops it, and keeps all state.
func (v *Vdpa) Suspend() error { return v.do(func() error { return raw.VdpaSuspend(v.p) }) }

// Resume goes on.
func (v *Vdpa) Resume() error { return v.do(func() error { return raw.VdpaResume(v.p) }) }

// MapDoorbell is the address of the page by which a ring is kicked. ENOTSUP: there is none.
func (v *Vdpa) MapDoorbell(queue int) (addr uint64, err error) {
	err = v.do(func() error { return raw.VdpaMapDoorbell(v.p, u32(queue), &addr) })
	return addr, err
}

// UnmapDoorbell gives it back.
func (v *Vdpa) UnmapDoorbell(addr uint64) error {
	return v.do(func() error { return raw.VdpaUnmapDoorbell(v.p, addr) })
}
