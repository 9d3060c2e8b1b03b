// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"bytes"
	"net"
	"os"
	"runtime"
	"sync"

	"github.com/libvh/libvh/go/internal/raw"
)

type (
	VdpaMgmtOpts = raw.VdpaMgmtOpts
	VdpaAttrs    = raw.VdpaAttrs
	VdpaConfig   = raw.VdpaConfig
)

// VdpaMgmtDev is a management device: what makes vDPA devices.
type VdpaMgmtDev struct {
	Bus, Name string // "pci", "0000:01:00.2"; "", "vdpasim_net"
	Classes   uint64 // kinds that it makes: bit n = virtio device type n
	MaxVqs    uint32 // queues that a device of it may have; 0 = not said
	Features  uint64 // feature bits that they may have
}

// VdpaDev is a vDPA device, as its maker sees it.
type VdpaDev struct {
	Name                         string
	MgmtBus, MgmtName            string // of its management device
	DeviceID, VendorID           uint32
	MaxVqs, MaxVqSize, MinVqSize uint32
}

// VdpaPlace is where a vDPA device is found.
type VdpaPlace struct {
	Name              string
	Driver            string // "vhost_vdpa", "virtio_vdpa"; "" = none has taken it
	ParentBus, Parent string // what it was made from: "pci", "0000:01:00.2"
	Node              int    // N of vhost-vdpa-N, -1 = vhost_vdpa has not taken it
	Path              string // of the node, "/dev/vhost-vdpa-0"; "" = there is none
	Major, Minor      uint32 // of the node
	Virtio            string // of the virtio device that virtio_vdpa made, "virtio3"; or ""
}

// VdpaMgmt is vDPA management by the library. Package vdpa of this module does the same without it. Its calls may come from
// several goroutines.
type VdpaMgmt struct {
	life life
	mu   sync.Mutex
	p    *raw.VdpaMgmt
}

// NewVdpaMgmt asks nothing yet. Root is what stands before /sys and /dev, where a container has the host's; a socket is a
// generic netlink socket, as one from the initial network namespace, and stays yours.
func NewVdpaMgmt(opts *VdpaMgmtOpts, root string, socket *os.File) (m *VdpaMgmt, err error) {
	m = &VdpaMgmt{}
	if err := plain(root); err != nil {
		return nil, err
	}
	open := func(fd int32) error {
		m.p, err = made(func(out **raw.VdpaMgmt) error { return raw.VdpaMgmtNew(opts, root, fd, out) })
		return err
	}
	if socket == nil {
		err = open(-1)
	} else {
		err = withFd(socket, open)
	}
	if err != nil {
		return nil, err
	}
	runtime.SetFinalizer(m, forgotten[*VdpaMgmt])
	return m, nil
}

// Close gives it up.
func (m *VdpaMgmt) Close() error {
	runtime.SetFinalizer(m, nil)
	if m.life.end() {
		raw.VdpaMgmtFree(m.p)
	}
	return nil
}

// do is a call with these names in it.
func (m *VdpaMgmt) do(call func() error, names ...string) error {
	for _, name := range names {
		if err := plain(name); err != nil {
			return err
		}
	}
	if err := m.life.enter(); err != nil {
		return err
	}
	defer runtime.KeepAlive(m)
	defer m.life.leave()
	m.mu.Lock()
	defer m.mu.Unlock()
	return call()
}

func cstring(b []byte) string {
	text, _, _ := bytes.Cut(b, []byte{0})
	return string(text)
}

// each is a list that the library takes whole, and then one of it after the other.
func (m *VdpaMgmt) each(list func() raw.Count, get func(i uint32) error, names ...string) error {
	return m.do(func() error {
		n, err := list().Get()
		for i := 0; err == nil && i < n; i++ {
			err = get(uint32(i))
		}
		return err
	}, names...)
}

// MgmtDevs lists what can make vDPA devices. ENOENT: this kernel has no vDPA, or its module is not loaded.
func (m *VdpaMgmt) MgmtDevs() (found []VdpaMgmtDev, err error) {
	var d raw.VdpaMgmtdev
	err = m.each(func() raw.Count { return raw.VdpaMgmtListMgmtdevs(m.p) }, func(i uint32) error {
		err := raw.VdpaMgmtGetMgmtdev(m.p, i, &d)
		found = append(found, VdpaMgmtDev{Bus: cstring(d.Bus[:]), Name: cstring(d.Name[:]), Classes: d.Classes,
			MaxVqs: d.MaxVqs, Features: d.Features})
		return err
	})
	return found, err
}

func vdpaDev(d *raw.VdpaDev) VdpaDev {
	return VdpaDev{Name: cstring(d.Name[:]), MgmtBus: cstring(d.MgmtBus[:]), MgmtName: cstring(d.MgmtName[:]),
		DeviceID: d.DeviceID, VendorID: d.VendorID, MaxVqs: d.MaxVqs, MaxVqSize: d.MaxVqSize, MinVqSize: d.MinVqSize}
}

// Devs lists the vDPA devices.
func (m *VdpaMgmt) Devs() (found []VdpaDev, err error) {
	var d raw.VdpaDev
	err = m.each(func() raw.Count { return raw.VdpaMgmtListDevs(m.p) }, func(i uint32) error {
		err := raw.VdpaMgmtGetDev(m.p, i, &d)
		found = append(found, vdpaDev(&d))
		return err
	})
	return found, err
}

// Dev is the one of that name.
func (m *VdpaMgmt) Dev(name string) (VdpaDev, error) {
	var d raw.VdpaDev
	err := m.do(func() error { return raw.VdpaMgmtFindDev(m.p, name, &d) }, name)
	return vdpaDev(&d), err
}

// Add has a management device ("vdpasim_net", "pci/0000:01:00.2") make a vDPA device; nil: with what it gives it by itself.
func (m *VdpaMgmt) Add(mgmtdev, name string, attrs *VdpaAttrs) error {
	return m.do(func() error { return raw.VdpaMgmtAddDev(m.p, mgmtdev, name, attrs) }, mgmtdev, name)
}

// SetMAC changes the MAC address of a device, since Linux 6.12.
func (m *VdpaMgmt) SetMAC(name string, mac net.HardwareAddr) error {
	attrs := &VdpaAttrs{Has: 1 << VdpaHasMac}
	if copy(attrs.Mac[:], mac) != len(attrs.Mac) || len(mac) != len(attrs.Mac) {
		return missing("MAC address of 6 bytes")
	}
	return m.do(func() error { return raw.VdpaMgmtSetDev(m.p, name, attrs) }, name)
}

// Del takes a device away; it waits while its node is open.
func (m *VdpaMgmt) Del(name string) error {
	return m.do(func() error { return raw.VdpaMgmtDelDev(m.p, name) }, name)
}

// Config is what is known of a network or block device's configuration: what Has says, by bits VdpaHas*.
func (m *VdpaMgmt) Config(name string) (c VdpaConfig, err error) {
	err = m.do(func() error { return raw.VdpaMgmtGetConfig(m.p, name, &c) }, name)
	return c, err
}

// Stats are the vendor's counters of a queue, by name. EAGAIN: its driver has not set FEATURES_OK yet.
func (m *VdpaMgmt) Stats(name string, queue int) (found map[string]uint64, err error) {
	var s raw.VdpaStat
	found = map[string]uint64{}
	err = m.each(func() raw.Count { return raw.VdpaMgmtListStats(m.p, name, u32(queue)) }, func(i uint32) error {
		err := raw.VdpaMgmtGetStat(m.p, i, &s)
		found[cstring(s.Name[:])] = s.Value
		return err
	}, name)
	return found, err
}

func vdpaPlace(p *raw.VdpaPlace) VdpaPlace {
	return VdpaPlace{Name: cstring(p.Name[:]), Driver: cstring(p.Driver[:]), ParentBus: cstring(p.ParentBus[:]),
		Parent: cstring(p.Parent[:]), Node: int(p.Node), Path: cstring(p.Path[:]), Major: p.Major, Minor: p.Minor,
		Virtio: cstring(p.Virtio[:])}
}

// Places lists where the devices are found, by name; it needs no privilege.
func (m *VdpaMgmt) Places() (found []VdpaPlace, err error) {
	var p raw.VdpaPlace
	err = m.each(func() raw.Count { return raw.VdpaMgmtListPlaces(m.p) }, func(i uint32) error {
		err := raw.VdpaMgmtGetPlace(m.p, i, &p)
		found = append(found, vdpaPlace(&p))
		return err
	})
	return found, err
}

// Place is where a device is found: by its name, that of its node, or what it was made from. ENODEV: there is no such device;
// ENOTUNIQ: the key names several.
func (m *VdpaMgmt) Place(key string) (VdpaPlace, error) {
	var p raw.VdpaPlace
	err := m.do(func() error { return raw.VdpaMgmtFindPlace(m.p, key, &p) }, key)
	return vdpaPlace(&p), err
}

// Bind gives a device to another driver of the vdpa bus ("vhost_vdpa", "virtio_vdpa"); "" takes it away from the one that
// has it.
func (m *VdpaMgmt) Bind(key, driver string) (VdpaPlace, error) {
	var p raw.VdpaPlace
	err := m.do(func() error { return raw.VdpaMgmtBind(m.p, key, driver, &p) }, key, driver)
	return vdpaPlace(&p), err
}
