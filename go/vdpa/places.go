// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vdpa

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Drivers of the vdpa bus.
const (
	VhostVdpa  = "vhost_vdpa"  // gives the device a node for user space
	VirtioVdpa = "virtio_vdpa" // makes it a virtio device of this kernel
)

const (
	devicesDir = "/sys/bus/vdpa/devices"
	driversDir = "/sys/bus/vdpa/drivers"
	nodePrefix = "vhost-vdpa-"
	lookEvery  = 10 * time.Millisecond
)

// Place is where a vDPA device is found.
type Place struct {
	Name      string
	Driver    string // VhostVdpa, VirtioVdpa; "" = none has taken it
	ParentBus string // "pci"; "" where there is none
	Parent    string // what it was made from: "0000:01:00.2", "vdpasim_net"
	Node      int    // N of vhost-vdpa-N, -1 = vhost_vdpa has not taken it
	Path      string // of the node, "/dev/vhost-vdpa-0"; "" = there is none
	Major     uint32 // of the node
	Minor     uint32 // of the node
	Virtio    string // of the virtio device that virtio_vdpa made, "virtio3"; or ""
	route     []string
}

// sysErr keeps the errno value in reach, and says what it was about.
func sysErr(op string, err error) error {
	var errno syscall.Errno
	var path *fs.PathError
	if !errors.As(err, &errno) {
		return err
	}
	e := &Error{Op: op, Errno: errno}
	if errors.As(err, &path) {
		e.Text = path.Op + " " + path.Path
	}
	return e
}

func numbered(name, prefix string) (int, bool) {
	digits := strings.TrimPrefix(name, prefix)
	if digits == name || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	return int(n), err == nil
}

// link is the target of a link, "" when there is none.
func link(path string) (string, error) {
	to, err := os.Readlink(path)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EINVAL) {
		return "", nil
	}
	return to, err
}

func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

func (m *Manager) place(name string) (Place, error) {
	dir := m.Root + devicesDir + "/" + name
	p := Place{Name: name, Node: -1}
	driver, err := link(dir + "/driver")
	if err != nil {
		return p, err
	}
	p.Driver = base(driver)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return p, err
	}
	for _, e := range entries {
		if n, ok := numbered(e.Name(), nodePrefix); ok {
			p.Node = n
		} else if strings.HasPrefix(e.Name(), nodePrefix) {
			return p, wrong("%s has no number", e.Name())
		} else if _, ok := numbered(e.Name(), "virtio"); ok {
			p.Virtio = e.Name()
		}
	}
	target, err := link(dir)
	if err != nil {
		return p, err
	}
	if p.route = strings.Split(target, "/"); len(p.route) > 1 {
		p.route = p.route[:len(p.route)-1]
		if p.Parent = p.route[len(p.route)-1]; p.Parent == "devices" { // a simulator's stand in no other device's folder
			p.Parent = ""
		}
	}
	bus, err := link(dir + "/../subsystem")
	if err != nil {
		return p, err
	}
	p.ParentBus = base(bus)
	if p.Node < 0 {
		return p, nil
	}
	node := nodePrefix + strconv.Itoa(p.Node)
	p.Path = m.Root + "/dev/" + node
	line, err := os.ReadFile(dir + "/" + node + "/dev")
	if err != nil {
		return p, err
	}
	parts := strings.SplitN(strings.TrimSpace(string(line)), ":", 2)
	if len(parts) == 2 {
		major, err1 := strconv.ParseUint(parts[0], 10, 31)
		minor, err2 := strconv.ParseUint(parts[1], 10, 31)
		p.Major, p.Minor = uint32(major), uint32(minor)
		if err1 == nil && err2 == nil {
			return p, nil
		}
	}
	return p, wrong("%s has the device number %q", node, line)
}

// Places lists where vDPA devices are found, by name. It needs no privilege and no network namespace. ENOENT: this kernel
// has no vdpa bus, or its module is not loaded.
func (m *Manager) Places() ([]Place, error) {
	entries, err := os.ReadDir(m.Root + devicesDir)
	if err != nil {
		err = sysErr("list places", err)
		var e *Error
		if errors.As(err, &e) && e.Errno == syscall.ENOENT {
			e.Hint = "load the module vdpa, and vhost_vdpa"
		}
		return nil, err
	}
	list := []Place{}
	for _, entry := range entries {
		p, err := m.place(entry.Name())
		if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENODEV) { // it went away meanwhile
			continue
		}
		if err != nil {
			return nil, sysErr("list places", err)
		}
		list = append(list, p)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

func (p *Place) below(name string) bool {
	for _, part := range p.route {
		if part == name && part != ".." && part != "devices" {
			return true
		}
	}
	return false
}

func (p *Place) madeFrom(key string) bool {
	i := strings.IndexByte(key, '/')
	switch {
	case i < 0:
		return p.below(key)
	case p.ParentBus == key[:i]:
		return p.Parent == key[i+1:]
	}
	// What is made from a function on the auxiliary bus lies below the PCI function.
	return key[:i] == "pci" && p.below(key[i+1:])
}

// Place is where a device is found. The key is its name, "/dev/vhost-vdpa-N", "vhost-vdpa-N", or what it was made from
// ("vdpasim_net", "pci/0000:01:00.2", "0000:01:00.2") when it is the only one of that. ENODEV: there is no such device;
// ENOTUNIQ: the key names several.
func (m *Manager) Place(key string) (*Place, error) {
	op := "find " + key
	if key == "" {
		return nil, &Error{Op: op, Errno: syscall.EINVAL, Hint: "use the name of a device, or of its node"}
	}
	list, err := m.Places()
	if err != nil {
		return nil, err
	}
	node, byNode := numbered(base(key), nodePrefix)
	for i := range list {
		if byNode && list[i].Node == node || !byNode && list[i].Name == key {
			return &list[i], nil
		}
	}
	var found *Place
	for i := range list {
		if byNode || !list[i].madeFrom(key) {
			continue
		}
		if found != nil {
			return nil, &Error{Op: op, Errno: syscall.ENOTUNIQ, Hint: found.Name + " and " + list[i].Name +
				" are both of it; use a name"}
		}
		found = &list[i]
	}
	if found == nil && !byNode {
		found = m.madeBy(key, list)
	}
	if found == nil {
		return nil, &Error{Op: op, Errno: syscall.ENODEV, Hint: "there is no such vDPA device"}
	}
	return found, nil
}

// madeBy asks netlink which management device made what. Who can't ask there goes without.
func (m *Manager) madeBy(key string, list []Place) (found *Place) {
	devs, err := m.Devs()
	n := 0
	for _, d := range devs {
		if d.MgmtDev != key {
			continue
		}
		n++
		for i := range list {
			if list[i].Name == d.Name {
				found = &list[i]
			}
		}
	}
	if err != nil || n != 1 {
		return nil
	}
	return found
}

func putLine(path, line string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(line)
	return err
}

// Bind gives a device to another driver of the vdpa bus; "" takes it away from the one that has it. With VhostVdpa the
// node is waited for. ENOENT: there is no such driver, load its module.
func (m *Manager) Bind(key, driver string) (*Place, error) {
	op := "bind " + key
	if strings.ContainsAny(driver, "/\x00") || driver == ".." {
		return nil, &Error{Op: op, Errno: syscall.EINVAL, Hint: "that is no name of a driver"}
	}
	p, err := m.Place(key)
	if err != nil {
		return nil, err
	}
	override := driver
	if override == "" {
		override = "\n"
	} else if _, err := os.Lstat(m.Root + driversDir + "/" + driver); err != nil { // before it is taken away from another one
		err = sysErr(op, err)
		var e *Error
		if errors.As(err, &e) && e.Errno == syscall.ENOENT {
			e.Hint = "load the module " + driver
		}
		return nil, err
	}
	// A device that has such a file goes to that driver only, also when it is probed anew; an empty line: to any.
	err = putLine(m.Root+devicesDir+"/"+p.Name+"/driver_override", override)
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		return nil, sysErr(op, err)
	}
	if p.Driver != "" && p.Driver != driver {
		if err := putLine(m.Root+driversDir+"/"+p.Driver+"/unbind", p.Name); err != nil {
			return nil, sysErr(op, err)
		}
	}
	if driver != "" && p.Driver != driver {
		if err := m.give(op, p.Name, driver); err != nil {
			return nil, err
		}
	}
	return m.settled(op, p.Name, driver)
}

func (m *Manager) give(op, name, driver string) error {
	err := sysErr(op, putLine(m.Root+driversDir+"/"+driver+"/bind", name))
	var e *Error
	if errors.As(err, &e) && e.Errno == syscall.ENODEV {
		e.Hint = driver + " does not take it; the kernel's log says why"
	}
	return err
}

// settled waits for what the driver makes, and for the node, which someone else makes later.
func (m *Manager) settled(op, name, driver string) (*Place, error) {
	timeout := m.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	for end := time.Now().Add(timeout); ; time.Sleep(lookEvery) {
		p, err := m.place(name)
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			return nil, sysErr(op, err)
		}
		there := err == nil && p.Driver == driver && (driver != VhostVdpa || p.Node >= 0)
		if there && (p.Node < 0 || p.nodeIsThere()) {
			return &p, nil
		}
		if time.Now().Before(end) {
			continue
		}
		e := &Error{Op: op, Errno: syscall.ETIMEDOUT, Hint: "the driver did not take it in time"}
		if there {
			e.Hint = "no " + p.Path + " in time; is devtmpfs mounted there?"
		}
		return nil, e
	}
}

func (p *Place) nodeIsThere() bool {
	var st syscall.Stat_t
	if syscall.Lstat(filepath.Clean(p.Path), &st) != nil {
		return false
	}
	rdev := uint64(st.Rdev)
	major, minor := uint32(rdev>>8&0xfff|rdev>>32&^0xfff), uint32(rdev&0xff|rdev>>12&^0xff)
	return st.Mode&syscall.S_IFMT != syscall.S_IFCHR || major == p.Major && minor == p.Minor
}
