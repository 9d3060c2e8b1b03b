// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

// Package vh on a kernel that has the devices: Kern, Vdpa, VdpaMgmt, Vduse, and Blk and Net over them.
package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"syscall"
	"time"

	. "github.com/libvh/libvh/go/internal/guest/cases"
	"github.com/libvh/libvh/go/vh"
)

const (
	name  = "goguest"
	block = 4096
	mib   = 1 << 20
)

// soon is until when all of it has to have ended.
var soon context.Context

// with has a vDPA device while something is done with it.
func with(maker, driver string, attrs *vh.VdpaAttrs, do func(vh.VdpaPlace, *vh.VdpaMgmt)) {
	m := Got(vh.NewVdpaMgmt(nil, "", nil))
	defer m.Close()
	err := m.Add(maker, name, attrs)
	if errors.Is(err, syscall.ENODEV) && maker != "vduse" {
		Skip("no simulators")
	}
	Must(err)
	defer func() { Must(m.Del(name)) }()
	do(Got(m.Bind(name, driver)), m)
}

// exported has a device of ours in the kernel, served by a goroutine.
func exported(dev *vh.Device, flags uint32, do func(*vh.Vduse)) {
	v := Got(vh.NewVduse(name, dev, nil, &vh.VduseOpts{Flags: vh.VduseMake | flags}))
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- v.Serve(ctx) }()
	defer func() {
		cancel()
		err := <-served
		Must(v.Close())
		Must(dev.Close())
		Must(vh.VduseRemove(name))
		Check(errors.Is(err, context.Canceled), err)
	}()
	do(v)
}

// driveDisk writes blocks through one session and reads them through the next.
func driveDisk() {
	for step := 0; step < 2; step++ {
		b := Got(vh.OpenBlk(soon, "vdpa:"+name))
		for i := int64(0); i < 16; i++ {
			wanted, got := bytes.Repeat([]byte{byte(i + 1)}, block), make([]byte, block)
			if step == 0 {
				Got(b.WriteAt(wanted, i*3*block))
			}
			Got(b.ReadAt(got, i*3*block))
			Check(bytes.Equal(got, wanted), i)
		}
		large := make([]byte, 300<<10) // more than one request of a simulator's
		Got(b.ReadAt(large, 0))
		_, err := b.ReadAt(large, b.Size())
		Check(errors.Is(err, io.EOF), err)
		Must(b.Close())
	}
}

func kernelCalls() {
	k := Got(vh.OpenKern("/dev/vhost-net", nil))
	defer k.Close()
	Check(Got(k.KernKind()) == vh.KernNet)
	features := Got(k.GetFeatures())
	Check(features&(1<<vh.FVersion1) != 0, features)
	Refused(k.SetVringNum(0, 64), syscall.EPERM, "vh_kern_set_owner() comes first")
	Check(Got(k.Probe())["VHOST_SET_VRING_BUSYLOOP_TIMEOUT"] == vh.KernIoctlUnknown)
	Must(k.SetOwner())
	Refused(k.SetOwner(), syscall.EBUSY, "it has an owner already")
	known := Got(k.Probe())
	Check(known["VHOST_SET_VRING_BUSYLOOP_TIMEOUT"] == vh.KernIoctlYes && known["VHOST_VSOCK_SET_RUNNING"] == vh.KernIoctlNo, known)
	words := make([]uint64, 4)
	if known["VHOST_GET_FEATURES_ARRAY"] == vh.KernIoctlYes {
		Must(k.GetFeaturesArray(words))
		Check(words[0] == features && words[2] == 0, words)
	} else {
		Refused(k.GetFeaturesArray(words), syscall.ENOTTY, "this kernel does not have it")
	}
	Refused(k.SetFeatures(1<<62), syscall.EOPNOTSUPP, "")
	mem := Got(vh.NewMemory(nil))
	defer mem.Close()
	Must(mem.Alloc(0, mib, 0))
	Must(k.SetMem(mem))
	Must(k.SetVringNum(0, 64))
	Refused(k.SetVringNum(0, 3), syscall.EINVAL, "a power of two")
	Must(k.SetVringBase(0, 5))
	Check(Got(k.GetVringBase(0)) == 5)
	f := Got(os.Open(os.DevNull))
	defer f.Close()
	Refused(k.SetVringKick(0, f), syscall.EINVAL, "no eventfd")
	Must(k.SetVringErr(0, nil))
	Must(k.ResetOwner())
	_, err := vh.OpenKern("/nowhere/vhost-net", nil)
	Refused(err, syscall.ENOENT, "modprobe vhost_net")
}

func kernelSockets() {
	a, b := Got(vh.OpenKern("/dev/vhost-vsock", nil)), Got(vh.OpenKern("/dev/vhost-vsock", nil))
	defer a.Close()
	defer b.Close()
	Must(a.VsockSetCID(78))
	Refused(b.VsockSetCID(78), syscall.EADDRINUSE, "another guest has this address")
	k := Got(vh.OpenKern("/dev/vhost-scsi", nil))
	defer k.Close()
	Check(Got(k.ScsiGetABIVersion()) == 1)
	Must(k.SetOwner())
	worker := Got(k.NewWorker())
	Must(k.AttachVringWorker(2, worker))
	Check(Got(k.GetVringWorker(2)) == worker)
	Refused(k.FreeWorker(worker), syscall.EBUSY, "still attached")
}

func management() {
	attrs := &vh.VdpaAttrs{Has: 1<<vh.VdpaHasMac | 1<<vh.VdpaHasMTU, Mac: [6]byte{0x52, 0x54, 0, 1, 2, 3}, MTU: 1400}
	with("vdpasim_net", "vhost_vdpa", attrs, func(p vh.VdpaPlace, m *vh.VdpaMgmt) {
		Check(p.Driver == "vhost_vdpa" && p.Node >= 0 && Got(m.Place(p.Path)).Name == name, p)
		Check(Got(m.Dev(name)).DeviceID == vh.TypeNet)
		c := Got(m.Config(name))
		Check(c.Mac == attrs.Mac && c.MTU == 1400, c)
		Refused(m.Add("vdpasim_net", name, nil), syscall.EEXIST, "")
		_, err := m.Stats(name, 0)
		Refused(err, syscall.EAGAIN, "")
		Check(strings.HasPrefix(Got(m.Bind(name, "virtio_vdpa")).Virtio, "virtio"))
		_, err = vh.OpenVdpa(name, nil)
		Refused(err, syscall.ENODEV, "")
	})
	m := Got(vh.NewVdpaMgmt(nil, "", nil))
	defer m.Close()
	Refused(m.Del(name), syscall.ENODEV, "")
}

func vdpaCalls() {
	with("vdpasim_net", "vhost_vdpa", nil, func(vh.VdpaPlace, *vh.VdpaMgmt) {
		v := Got(vh.OpenVdpa(name, nil))
		defer v.Close()
		info := Got(v.Info())
		Check(info.DeviceID == vh.TypeNet && info.NumVrings >= 2, info)
		_, err := vh.OpenVdpa(name, nil)
		Refused(err, syscall.EBUSY, "")
		Must(v.SetOwner())
		const begun = vh.VdpaSAcknowledge | vh.VdpaSDriver
		Must(v.SetStatus(vh.VdpaSAcknowledge))
		Refused(v.SetStatus(vh.VdpaSAcknowledge|vh.VdpaSDriverOk), syscall.EINVAL, "")
		Must(v.SetStatus(begun))
		Must(v.SetFeatures(info.Features&(1<<vh.FVersion1) | 1<<vh.FAccessPlatform))
		Must(v.SetStatus(begun | vh.VdpaSFeaturesOk))
		Check(Got(v.Status()) == begun|vh.VdpaSFeaturesOk)
		Check(Got(v.VringGroup(0)) == 0 && Got(v.VringGroup(2)) == 1)
		Refused(v.SetVringNum(0, 32768), syscall.EINVAL, "")
		Refused(v.SetVringNum(50, 64), syscall.ENOBUFS, "no ring")
		Must(v.SetVringNum(0, info.MaxVringNum))
		config := make([]byte, 6)
		Must(v.ReadConfig(0, config))
		Refused(v.ReadConfig(0xffff, config), syscall.EINVAL, "")
		Must(v.SetStatus(0))
	})
}

func vdpaDisk() {
	with("vdpasim_blk", "vhost_vdpa", nil, func(vh.VdpaPlace, *vh.VdpaMgmt) {
		driveDisk()
		v := Got(vh.OpenVdpa(name, nil))
		defer v.Close()
		d := Got(vh.NewDriver(soon, v, &vh.DriverOpts{Type: vh.TypeBlk}))
		Must(d.Start(soon))
		Must(v.Suspend())
		Check(Got(v.VringBase(0)) == 0)
		Must(v.Resume())
	})
}

// vdpaPCIDisk drives a PCI device of the machine's, which vp_vdpa has, and which begins anew at each start.
func vdpaPCIDisk() {
	m := Got(vh.NewVdpaMgmt(nil, "", nil))
	defer m.Close()
	for _, maker := range Got(m.MgmtDevs()) {
		if maker.Bus != "pci" || maker.Classes&(1<<vh.TypeBlk) == 0 {
			continue
		}
		with("pci/"+maker.Name, "vhost_vdpa", nil, func(vh.VdpaPlace, *vh.VdpaMgmt) {
			driveDisk()
			v := Got(vh.OpenVdpa(name, nil))
			defer v.Close()
			d := Got(vh.NewDriver(soon, v, &vh.DriverOpts{Type: vh.TypeBlk}))
			for i := 0; i < 3; i++ {
				Must(d.Start(soon))
				Must(d.Stop(soon))
			}
		})
		return
	}
	Skip("no simulators")
}

func vdpaNetwork() {
	with("vdpasim_net", "vhost_vdpa", nil, func(vh.VdpaPlace, *vh.VdpaMgmt) {
		n := Got(vh.OpenNet(soon, "vdpa:"+name))
		defer n.Close()
		for i := 0; i < 20; i++ {
			frame := append(bytes.Repeat([]byte{0xff}, 6), 2, 0, 0, 0, 0, byte(i), 0x88, 0xb5)
			frame = append(frame, bytes.Repeat([]byte{byte(i)}, 46+71*i)...)
			Must(n.Send(soon, frame))
			got := Got(n.Receive(soon))
			for !bytes.Equal(got[12:14], frame[12:14]) {
				got = Got(n.Receive(soon))
			}
			Check(bytes.Equal(got, frame), i)
		}
	})
}

func vduseDisk() {
	exported(Got(vh.NewRAM(mib)), 0, func(v *vh.Vduse) {
		info := Got(v.Info())
		Check(info.ApiVersion <= 1 && info.TakenUp == 0, info)
		with("vduse", "vhost_vdpa", nil, func(vh.VdpaPlace, *vh.VdpaMgmt) { driveDisk() })
		kernelReads(1)
		Refused(vh.VduseRemove(name), syscall.EBUSY, "")
	})
}

// kernelReads has the kernel's own driver look at the first byte of the disk.
func kernelReads(first byte) {
	with("vduse", "virtio_vdpa", nil, func(p vh.VdpaPlace, _ *vh.VdpaMgmt) {
		names := Got(os.ReadDir("/sys/bus/virtio/devices/" + p.Virtio + "/block"))
		f := Got(os.Open("/dev/" + names[0].Name()))
		defer f.Close()
		got := make([]byte, block)
		Got(io.ReadFull(f, got))
		Check(got[0] == first, got[0])
	})
}

// vduseUmem has the kernel's driver bounced through pages of this process.
func vduseUmem() {
	const memlock = 8 // RLIMIT_MEMLOCK
	Must(syscall.Setrlimit(memlock, &syscall.Rlimit{Cur: math.MaxUint64, Max: math.MaxUint64}))
	exported(Got(vh.NewRAM(mib)), vh.VduseUmem, func(v *vh.Vduse) {
		Must(os.WriteFile("/sys/class/vduse/"+name+"/bounce_size", []byte("1048576"), 0))
		kernelReads(0)
		info := Got(v.Info())
		Check(info.Umem == mib && info.UmemRc == 0, info)
	})
}

// disk is one whose requests are handled in Go.
type disk struct {
	data   []byte
	served int
}

func (d *disk) ReadConfig(offset uint32, buf []byte, _ vh.Later) error {
	var config [vh.ConfigMax]byte
	binary.LittleEndian.PutUint64(config[0:], uint64(len(d.data)/vh.BlkSector))
	copy(buf, config[offset:])
	return nil
}

func (d *disk) OnBatch(q *vh.Queue, _, budget int) (more bool, err error) {
	return q.Each(budget, func(r *vh.Req) uint32 {
		var head [16]byte
		r.Read(head[:], 0)
		at := int(binary.LittleEndian.Uint64(head[8:])) * vh.BlkSector
		room := int(r.WrLen) - 1
		d.served++
		if at+room > len(d.data) || at+int(r.RdLen)-16 > len(d.data) {
			r.Write([]byte{1}, room)
			return uint32(r.WrLen)
		}
		status := byte(0)
		switch binary.LittleEndian.Uint32(head[:]) {
		case vh.BlkRead:
			r.Write(d.data[at:at+room], 0)
		case vh.BlkWrite:
			r.Read(d.data[at:at+int(r.RdLen)-16], 16)
		default:
			status = 2
		}
		r.Write([]byte{status}, room)
		return uint32(r.WrLen)
	})
}

func vduseGo() {
	d := &disk{data: make([]byte, mib)}
	exported(Got(vh.NewDevice(&vh.DeviceOpts{Type: vh.TypeBlk, MaxQueues: 1}, d)), 0, func(*vh.Vduse) {
		with("vduse", "vhost_vdpa", nil, func(vh.VdpaPlace, *vh.VdpaMgmt) { driveDisk() })
		Check(d.served >= 48 && d.data[3*block] == 2, d.served)
		kernelReads(1)
	})
}

func main() {
	var cancel context.CancelFunc
	soon, cancel = context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	Run(
		Of("kernel-calls", kernelCalls), Of("kernel-sockets", kernelSockets), Of("management", management), Of("vdpa-calls", vdpaCalls),
		Of("vdpa-disk", vdpaDisk), Of("vdpa-pci-disk", vdpaPCIDisk), Of("vdpa-network", vdpaNetwork), Of("vduse-disk", vduseDisk), Of("vduse-umem", vduseUmem), Of("vduse-go", vduseGo),
	)
}
