// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

// Package vdpa on a kernel that has vDPA, in a program without C: as an operator of a cluster would use it.
package main

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"

	. "github.com/libvh/libvh/go/internal/guest/cases"
	"github.com/libvh/libvh/go/vdpa"
)

const name = "goplain"

var (
	m   vdpa.Manager
	mac = net.HardwareAddr{0x52, 0x54, 0, 1, 2, 3}
)

func made(maker string, attrs *vdpa.Attrs) *vdpa.Place {
	err := m.Add(maker, name, attrs)
	if errors.Is(err, syscall.ENODEV) {
		Skip("no simulators")
	}
	Must(err)
	return Got(m.Bind(name, vdpa.VhostVdpa))
}

func makers() {
	found := map[string]vdpa.MgmtDev{}
	for _, d := range Got(m.MgmtDevs()) {
		found[d.String()] = d
	}
	_, ok := found["vduse"]
	Check(ok, found)
	if _, ok = found["vdpasim_net"]; !ok {
		Skip("no simulators")
	}
	Check(found["vdpasim_net"].Classes&(1<<vdpa.TypeNet) != 0, found)
	Check(found["vdpasim_blk"].Classes&(1<<vdpa.TypeBlk) != 0, found)
}

func network() {
	place := made("vdpasim_net", &vdpa.Attrs{MAC: mac, MTU: 1400})
	Check(place.Driver == vdpa.VhostVdpa && strings.HasPrefix(place.Path, "/dev/vhost-vdpa-"), place)
	_, err := os.Stat(place.Path)
	Must(err)
	Check(Got(m.Place(place.Path)).Name == name)
	d := Got(m.Dev(name))
	Check(d.DeviceID == vdpa.TypeNet && d.MgmtDev == "vdpasim_net" && d.MaxVQs >= 2, d)
	c := Got(m.Config(name))
	Check(c.MAC.String() == mac.String() && c.MTU == 1400 && c.Has&(1<<vdpa.HasNegotiated) == 0, c)
	other := append(net.HardwareAddr{}, mac...)
	other[5] = 9
	Must(m.SetMAC(name, other))
	Check(Got(m.Config(name)).MAC.String() == other.String())
	_, err = m.Stats(name, 0)
	Refused(err, syscall.EAGAIN, "")
	Refused(m.Add("vdpasim_net", name, nil), syscall.EEXIST, "")
	Must(m.Del(name))
}

func refusals() {
	Refused(m.Del(name), syscall.ENODEV, name)
	_, err := m.Dev(name)
	Refused(err, syscall.ENODEV, "")
	_, err = m.Config(name)
	Refused(err, syscall.ENODEV, "")
	_, err = m.Place(name)
	Refused(err, syscall.ENODEV, "")
	_, err = m.Bind(name, vdpa.VirtioVdpa)
	Refused(err, syscall.ENODEV, "")
	Refused(m.Add("nobody", name, nil), syscall.ENODEV, "")
	Refused(m.Add("vduse", name, nil), syscall.EINVAL, "") // no back-end of that name
	made("vdpasim_blk", nil)
	Refused(m.SetMAC(name, mac), syscall.ENOTSUP, "")
	_, err = m.Stats(name, 0)
	Check(errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EAGAIN), err)
	_, err = m.Bind(name, "nobody")
	Refused(err, syscall.ENOENT, "")
	Must(m.Del(name))
}

func drivers() {
	made("vdpasim_blk", nil)
	defer m.Del(name)
	p := Got(m.Bind(name, vdpa.VirtioVdpa))
	Check(p.Node < 0 && strings.HasPrefix(p.Virtio, "virtio"), p)
	_, err := os.Stat("/sys/bus/virtio/devices/" + p.Virtio)
	Must(err)
	p = Got(m.Bind(name, ""))
	Check(p.Driver == "", p)
	p = Got(m.Bind(name, vdpa.VhostVdpa))
	Check(p.Node >= 0 && p.Major > 0, p)
	names := map[string]bool{}
	for _, p := range Got(m.Places()) {
		names[p.Name] = true
	}
	Check(names[name], names)
	c := Got(m.Config(name))
	Check(c.DeviceID == vdpa.TypeBlk && c.Capacity > 0, c)
}

func main() {
	Run(Of("makers", makers), Of("network", network), Of("refusals", refusals), Of("drivers", drivers))
}
