// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

// Package vdpa manages vDPA devices: which there are, what they are made from, which driver has them, and where their
// node /dev/vhost-vdpa-N is. It is plain Go, speaks to the kernel by generic netlink and sysfs, and needs neither cgo nor
// the library.
//
// Errors are those of the kernel: errors.Is(err, syscall.ENODEV) says that there is no such device, ENOTSUP that it can't do
// that, ENOENT that this kernel has no vDPA (or its module is not loaded), EPERM that CAP_NET_ADMIN is missing.
package vdpa

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"
)

// DefaultTimeout is for a Manager that has none.
const DefaultTimeout = 5 * time.Second

// Virtio device types that the kernel's management knows more of.
const (
	TypeNet = 1
	TypeBlk = 2
)

// What Config.Has may have, as bit numbers: those of the netlink attributes.
const (
	HasMAC               = 10
	HasNetStatus         = 11
	HasMaxVQP            = 12
	HasMTU               = 13
	HasNegotiated        = 14
	HasFeatures          = 20
	HasCapacity          = 21
	HasSizeMax           = 22
	HasBlkSize           = 23
	HasSegMax            = 24
	HasNumQueues         = 25
	HasPhysBlockExp      = 26
	HasAlignOffset       = 27
	HasMinIO             = 28
	HasOptIO             = 29
	HasMaxDiscard        = 30
	HasMaxDiscardSeg     = 31
	HasDiscardAlign      = 32
	HasMaxWriteZeroes    = 33
	HasMaxWriteZeroesSeg = 34
	HasReadOnly          = 35
	HasFlush             = 36
)

const (
	cmdMgmtDevGet = 2
	cmdDevNew     = 3
	cmdDevDel     = 4
	cmdDevGet     = 5
	cmdConfigGet  = 6
	cmdStatsGet   = 7
	cmdAttrSet    = 8

	attrMgmtBus      = 1
	attrMgmtName     = 2
	attrClasses      = 3
	attrName         = 4
	attrID           = 5
	attrVendor       = 6
	attrMaxVQs       = 7
	attrMaxVQSize    = 8
	attrMinVQSize    = 9
	attrMgmtMaxVQs   = 15
	attrMgmtFeatures = 16
	attrQueue        = 17
	attrStatName     = 18
	attrStatValue    = 19
	attrFeaturesAs21 = 21 // what 6.1 meant by it, and of a block device it is the capacity

	nameMax = 255
	mtuMin  = 68
)

// Manager asks the kernel. Its zero value is ready, and its methods may be called from several goroutines.
type Manager struct {
	Root    string               // what stands before /sys and /dev, where a container has the host's
	Timeout time.Duration        // of answers, and of nodes that are to appear; 0 = DefaultTimeout
	Dial    func() (Conn, error) // makes a generic netlink socket; nil = of this network namespace
}

// MgmtDev is a management device: what makes vDPA devices.
type MgmtDev struct {
	Bus      string // "pci"; "" for one without a bus, as a simulator
	Name     string // "0000:01:00.2", "vdpasim_net", "vduse"
	Classes  uint64 // kinds that it makes: bit n = virtio device type n
	MaxVQs   uint32 // queues that a device of it may have; 0 = not said
	Features uint64 // feature bits that they may have
}

// String is how Add takes it.
func (d MgmtDev) String() string { return join(d.Bus, d.Name) }

func join(bus, name string) string {
	if bus == "" {
		return name
	}
	return bus + "/" + name
}

// Dev is a vDPA device, as its maker sees it.
type Dev struct {
	Name      string
	MgmtDev   string // "vdpasim_net", "pci/0000:01:00.2"
	DeviceID  uint32 // virtio device type
	VendorID  uint32
	MaxVQs    uint32
	MaxVQSize uint32
	MinVQSize uint32
}

// Attrs is what a device is made with, or is to have from now on. What is zero is left to its maker.
type Attrs struct {
	MAC      net.HardwareAddr
	MTU      int
	MaxVQP   int     // pairs of queues
	Features *uint64 // feature bits that it is to offer
}

// Config is what the management side knows of a device's configuration.
type Config struct {
	Name             string
	DeviceID         uint32
	Has              uint64 // which of these are known: bit numbers Has*
	Features         uint64 // that it offers
	Negotiated       uint64 // that its driver took; known after FEATURES_OK
	MAC              net.HardwareAddr
	NetStatus        uint32
	MaxVQP           uint32
	MTU              uint32
	Capacity         uint64 // 512-byte sectors
	SizeMax          uint32
	BlkSize          uint32
	SegMax           uint32
	NumQueues        uint32
	PhysBlockExp     uint32
	AlignOffset      uint32
	MinIO            uint32
	OptIO            uint32
	MaxDiscard       uint32
	MaxDiscardSeg    uint32
	DiscardAlign     uint32
	MaxWriteZeroes   uint32
	MaxWriteZeroesSg uint32
	ReadOnly         uint32
	Flush            uint32
}

// Stat is a counter that a vendor has for a queue.
type Stat struct {
	Name  string
	Value uint64
}

// hints say what to try.
var hints = []struct {
	cmd  byte // 0: any
	code syscall.Errno
	text string
}{
	{cmdDevNew, syscall.ENODEV, "there is no such management device; see `vdpa mgmtdev show`, or load its module"},
	{cmdDevNew, syscall.EEXIST, "a device of this name is there already"},
	{cmdDevNew, syscall.EOPNOTSUPP, "the management device can't do with one of these attributes"},
	{cmdDevNew, syscall.ENOSPC, "the management device has made as many as it can"},
	{cmdDevNew, syscall.EINVAL, "attributes of a network device need one that makes network devices only; a device of " +
		"a VDUSE back-end has its name, and every queue set up"},
	{cmdStatsGet, syscall.EAGAIN, "its driver has not set FEATURES_OK yet"},
	{cmdStatsGet, syscall.ERANGE, "it has no such queue"},
	{cmdStatsGet, syscall.EOPNOTSUPP, "its driver has no counters"},
	{cmdConfigGet, syscall.EOPNOTSUPP, "the kernel tells it of network and block devices only"},
	{cmdAttrSet, syscall.EOPNOTSUPP, "the device, or a kernel before 6.12, can't change it"},
	{0, syscall.ENODEV, "there is no device of this name"},
	{0, syscall.EPERM, "it needs CAP_NET_ADMIN in the initial user namespace"},
	{0, syscall.EINVAL, "was it made by a management device?"},
}

func hinted(cmd byte, err error) error {
	var e *Error
	if errors.As(err, &e) && e.Hint == "" {
		for _, h := range hints {
			if (h.cmd == 0 || h.cmd == cmd) && h.code == e.Errno {
				e.Hint = h.text
				break
			}
		}
	}
	return err
}

// call is one request; what is listed and changes meanwhile is read again, a few times.
func (m *Manager) call(op string, cmd byte, dump bool, fill func(*request), take func(attrs []attr) error, again func()) error {
	s, err := m.begin(op)
	if err != nil {
		return err
	}
	defer s.conn.Close()
	for tries := 0; tries < 4; tries++ {
		r := newRequest(cmd, dump)
		if fill != nil {
			fill(r)
		}
		if again != nil {
			again()
		}
		err = s.ask(op, r, take)
		if !dump || !errors.Is(err, syscall.EAGAIN) {
			break
		}
	}
	return hinted(cmd, err)
}

// about is a call about the device of that name.
func (m *Manager) about(op, name string, cmd byte, more func(*request), take func(attrs []attr) error) error {
	op += " " + name
	if err := named(op, name); err != nil {
		return err
	}
	return m.call(op, cmd, false, func(r *request) {
		r.putText(attrName, name)
		if more != nil {
			more(r)
		}
	}, take, nil)
}

func named(op, name string) error {
	if name == "" || len(name) > nameMax || strings.IndexByte(name, 0) >= 0 {
		return &Error{Op: op, Errno: syscall.EINVAL, Hint: fmt.Sprintf("a name of 1 to %d bytes is wanted", nameMax)}
	}
	return nil
}

// field is where an attribute goes: into the one of these that is set.
type field struct {
	kind  uint16
	width int
	n32   *uint32
	n64   *uint64
	text  *string
}

func (f field) take(a attr) (err error) {
	if f.text != nil {
		*f.text, err = a.text()
		return err
	}
	n, err := a.number(f.width)
	switch {
	case err != nil:
	case f.n32 != nil:
		*f.n32 = uint32(n)
	default:
		*f.n64 = n
	}
	return err
}

// fill takes what a table names, and passes over the rest.
func fill(attrs []attr, fields []field) (has uint64, err error) {
	for _, a := range attrs {
		for _, f := range fields {
			if f.kind != a.kind {
				continue
			}
			if err = f.take(a); err != nil {
				return 0, err
			}
			has |= 1 << (a.kind & 63)
		}
	}
	return has, nil
}

// MgmtDevs lists what can make vDPA devices.
func (m *Manager) MgmtDevs() (list []MgmtDev, err error) {
	err = m.call("list management devices", cmdMgmtDevGet, true, nil, func(attrs []attr) error {
		var d MgmtDev
		_, err := fill(attrs, []field{
			{kind: attrMgmtBus, text: &d.Bus},
			{kind: attrMgmtName, text: &d.Name},
			{kind: attrClasses, width: 8, n64: &d.Classes},
			{kind: attrMgmtMaxVQs, width: 4, n32: &d.MaxVQs},
			{kind: attrMgmtFeatures, width: 8, n64: &d.Features},
		})
		if err == nil && d.Name == "" {
			err = wrong("a management device without a name")
		}
		list = append(list, d)
		return err
	}, func() { list = nil })
	if err != nil {
		return nil, err
	}
	return list, nil
}

func takeDev(attrs []attr) (d Dev, err error) {
	var bus, name string
	_, err = fill(attrs, []field{
		{kind: attrName, text: &d.Name},
		{kind: attrMgmtBus, text: &bus},
		{kind: attrMgmtName, text: &name},
		{kind: attrID, width: 4, n32: &d.DeviceID},
		{kind: attrVendor, width: 4, n32: &d.VendorID},
		{kind: attrMaxVQs, width: 4, n32: &d.MaxVQs},
		{kind: attrMaxVQSize, width: 2, n32: &d.MaxVQSize},
		{kind: attrMinVQSize, width: 2, n32: &d.MinVQSize},
	})
	if err == nil && d.Name == "" {
		err = wrong("a device without a name")
	}
	d.MgmtDev = join(bus, name)
	return d, err
}

// Devs lists the vDPA devices.
func (m *Manager) Devs() (list []Dev, err error) {
	err = m.call("list devices", cmdDevGet, true, nil, func(attrs []attr) error {
		d, err := takeDev(attrs)
		list = append(list, d)
		return err
	}, func() { list = nil })
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Dev is the device of that name.
func (m *Manager) Dev(name string) (d Dev, err error) {
	err = m.about("find", name, cmdDevGet, nil, func(attrs []attr) (err error) {
		d, err = takeDev(attrs)
		return err
	})
	if err == nil && d.Name == "" {
		err = wrong("an answer without the device that was asked for")
	}
	if err != nil {
		return Dev{}, err
	}
	return d, nil
}

func (a *Attrs) check(op string) error {
	switch {
	case a.MAC != nil && len(a.MAC) != 6:
		return &Error{Op: op, Errno: syscall.EINVAL, Hint: "a MAC address has 6 bytes"}
	case a.MTU != 0 && (a.MTU < mtuMin || a.MTU > 65535):
		return &Error{Op: op, Errno: syscall.EINVAL, Hint: "an MTU is 68 to 65535"}
	case a.MaxVQP < 0 || a.MaxVQP > 65535:
		return &Error{Op: op, Errno: syscall.EINVAL, Hint: "pairs of queues are 1 to 65535"}
	}
	return nil
}

func (a *Attrs) put(r *request) {
	if a.MAC != nil {
		r.put(HasMAC, a.MAC)
	}
	if a.MTU != 0 {
		r.put16(HasMTU, a.MTU)
	}
	if a.MaxVQP != 0 {
		r.put16(HasMaxVQP, a.MaxVQP)
	}
	if a.Features != nil {
		r.put64(HasFeatures, *a.Features)
	}
}

// Add has a management device ("vdpasim_net", "pci/0000:01:00.2") make a vDPA device. Nil attributes: what it gives it by
// itself. A device of a VDUSE back-end has the back-end's name.
func (m *Manager) Add(mgmtdev, name string, attrs *Attrs) error {
	if attrs == nil {
		attrs = &Attrs{}
	}
	if err := attrs.check("add " + name); err != nil {
		return err
	}
	if err := named("add "+name, mgmtdev); err != nil {
		return err
	}
	return m.about("add", name, cmdDevNew, func(r *request) {
		from := mgmtdev
		if i := strings.IndexByte(mgmtdev, '/'); i >= 0 {
			r.putText(attrMgmtBus, mgmtdev[:i])
			from = mgmtdev[i+1:]
		}
		r.putText(attrMgmtName, from)
		attrs.put(r)
	}, nil)
}

// SetMAC changes the MAC address of a device, since Linux 6.12.
func (m *Manager) SetMAC(name string, mac net.HardwareAddr) error {
	attrs := &Attrs{MAC: mac}
	if mac == nil {
		attrs.MAC = net.HardwareAddr{}
	}
	if err := attrs.check("set " + name); err != nil {
		return err
	}
	return m.about("set", name, cmdAttrSet, func(r *request) {
		r.warningsFail = true // Linux 6.12 says so of a device that is none of a network, with the error 0
		attrs.put(r)
	}, nil)
}

// Del takes a device away; it waits while its node is open.
func (m *Manager) Del(name string) error { return m.about("delete", name, cmdDevDel, nil, nil) }

// fields of a configuration, by the type of the device.
func (c *Config) fields() []field {
	both := []field{{kind: HasNegotiated, width: 8, n64: &c.Negotiated}, {kind: HasFeatures, width: 8, n64: &c.Features}}
	switch c.DeviceID {
	case TypeNet:
		return append(both,
			field{kind: attrFeaturesAs21, width: 8, n64: &c.Features},
			field{kind: HasNetStatus, width: 2, n32: &c.NetStatus},
			field{kind: HasMaxVQP, width: 2, n32: &c.MaxVQP},
			field{kind: HasMTU, width: 2, n32: &c.MTU})
	case TypeBlk:
		return append(both,
			field{kind: HasCapacity, width: 8, n64: &c.Capacity},
			field{kind: HasSizeMax, width: 4, n32: &c.SizeMax},
			field{kind: HasBlkSize, width: 4, n32: &c.BlkSize},
			field{kind: HasSegMax, width: 4, n32: &c.SegMax},
			field{kind: HasNumQueues, width: 2, n32: &c.NumQueues},
			field{kind: HasPhysBlockExp, width: 1, n32: &c.PhysBlockExp},
			field{kind: HasAlignOffset, width: 1, n32: &c.AlignOffset},
			field{kind: HasMinIO, width: 2, n32: &c.MinIO},
			field{kind: HasOptIO, width: 4, n32: &c.OptIO},
			field{kind: HasMaxDiscard, width: 4, n32: &c.MaxDiscard},
			field{kind: HasMaxDiscardSeg, width: 4, n32: &c.MaxDiscardSeg},
			field{kind: HasDiscardAlign, width: 4, n32: &c.DiscardAlign},
			field{kind: HasMaxWriteZeroes, width: 4, n32: &c.MaxWriteZeroes},
			field{kind: HasMaxWriteZeroesSeg, width: 4, n32: &c.MaxWriteZeroesSg},
			field{kind: HasReadOnly, width: 1, n32: &c.ReadOnly},
			field{kind: HasFlush, width: 1, n32: &c.Flush})
	}
	return both
}

func (c *Config) take(attrs []attr) (err error) {
	if _, err = fill(attrs, []field{{kind: attrName, text: &c.Name}, {kind: attrID, width: 4, n32: &c.DeviceID}}); err != nil {
		return err
	}
	if c.Has, err = fill(attrs, c.fields()); err != nil || c.DeviceID != TypeNet {
		return err
	}
	if c.Has&(1<<attrFeaturesAs21) != 0 {
		c.Has = c.Has&^(1<<attrFeaturesAs21) | 1<<HasFeatures
	}
	for _, a := range attrs {
		if a.kind != HasMAC {
			continue
		}
		if len(a.data) != 6 {
			return wrong("attribute %d has %d bytes, not 6", a.kind, len(a.data))
		}
		c.MAC = append(net.HardwareAddr{}, a.data...)
		c.Has |= 1 << HasMAC
	}
	return nil
}

// Config is what the management side knows of a network or block device's configuration; ENOTSUP for others.
func (m *Manager) Config(name string) (*Config, error) {
	c := &Config{}
	err := m.about("show the configuration of", name, cmdConfigGet, nil, c.take)
	if err == nil && c.DeviceID == 0 {
		err = wrong("an answer without the type of the device")
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Stats are the vendor's counters of a queue. EAGAIN: its driver has not set FEATURES_OK yet; ERANGE: there is no such queue;
// ENOTSUP: this device counts nothing.
func (m *Manager) Stats(name string, queue uint32) (list []Stat, err error) {
	err = m.about("show the counters of", name, cmdStatsGet, func(r *request) { r.put32(attrQueue, queue) },
		func(attrs []attr) error {
			for _, a := range attrs {
				var s Stat
				var err error
				switch {
				case a.kind == attrStatName:
					s.Name, err = a.text()
					list = append(list, s)
				case a.kind == attrStatValue && len(list) > 0:
					list[len(list)-1].Value, err = a.number(8)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	return list, nil
}
