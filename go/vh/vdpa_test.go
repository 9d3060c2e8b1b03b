// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/libvh/libvh/go/vh"
)

// The kernel's device is played.
func TestVdpaIsToldWhatADriverTellsIt(t *testing.T) {
	t.Setenv("FAKE_VDPA", "1")
	played(t, "net", func(t *testing.T, _ string) {
		v, err := vh.OpenVdpa("/dev/fake/vhost-vdpa-0", nil)
		must(t, err)
		defer v.Close()
		info, err := v.Info()
		must(t, err)
		if info.DeviceID != 2 || info.MaxVringNum != 256 || info.NumVrings != 2 {
			t.Fatalf("%+v", info)
		}
		must(t, v.SetOwner())
		must(t, v.SetBackendFeatures(1<<vh.VdpaBfMsgV2|1<<vh.VdpaBfBatch|1<<vh.VdpaBfAsid))
		refused(t, v.SetStatus(vh.VdpaSDriver), syscall.EINVAL, "the order is")
		must(t, v.SetStatus(vh.VdpaSAcknowledge))
		must(t, v.SetStatus(vh.VdpaSAcknowledge|vh.VdpaSDriver))
		must(t, v.SetFeatures(1<<vh.FVersion1|1<<vh.FAccessPlatform))
		must(t, v.SetStatus(vh.VdpaSAcknowledge|vh.VdpaSDriver|vh.VdpaSFeaturesOk))
		status, err := v.Status()
		must(t, err)
		if status != 11 {
			t.Fatal(status)
		}
		buf := make([]byte, 5)
		must(t, v.WriteConfig(4, []byte("abc")))
		must(t, v.ReadConfig(3, buf))
		if string(buf) != "\x00abc\x00" {
			t.Fatalf("%q", buf)
		}
		must(t, v.SetConfigCall(nil))
		must(t, v.SetGroupAsid(1, 1))
		mem, err := vh.NewMemory(nil)
		must(t, err)
		defer mem.Close()
		must(t, mem.Alloc(0x200000, 0x200000, 0))
		must(t, v.SetMem(mem))
		must(t, v.SetMem(nil))
		must(t, v.Batch(1, true))
		must(t, v.Batch(1, false))
		must(t, v.Map(1, 0x1000, 4096, 0x1000, 3))
		must(t, v.Unmap(1, 0x1000, 4096))
		must(t, v.SetVringNum(0, 64))
		must(t, v.SetVringBase(0, 5))
		must(t, v.SetVringAddr(vh.VringAddr{Desc: 0x1000, Avail: 0x2000, Used: 0x3000}))
		for _, call := range []func(int, *os.File) error{v.SetVringCall, v.SetVringKick, v.SetVringErr} {
			must(t, call(0, nil))
		}
		must(t, v.SetVringEnable(0, true))
		for _, q := range []struct {
			ask  func(int) (uint32, error)
			want uint32
		}{{v.VringBase, 5}, {v.VringSize, 256}, {v.VringGroup, 0}, {v.DescGroup, 0}} {
			got, err := q.ask(0)
			must(t, err)
			if got != q.want {
				t.Fatalf("%d, not %d", got, q.want)
			}
		}
		must(t, v.Suspend())
		must(t, v.Resume())
		_, err = v.MapDoorbell(0)
		refused(t, err, syscall.EACCES, "can't be mapped")
		refused(t, v.UnmapDoorbell(1), syscall.EINVAL, "no page")
	})
}

func TestVdpaIsDriven(t *testing.T) {
	t.Setenv("FAKE_VDPA", "1")
	played(t, "net", func(t *testing.T, _ string) {
		target, err := vh.OpenTarget(within(t), "/dev/fake/vhost-vdpa-0")
		must(t, err)
		defer target.Close()
		d, err := vh.NewDriver(within(t), target, &vh.DriverOpts{Type: vh.TypeBlk})
		must(t, err)
		defer d.Close()
		must(t, d.Start(within(t)))
		status, err := target.(*vh.Vdpa).Status()
		must(t, err)
		if status != 15 {
			t.Fatal(status)
		}
	})
}

func TestTargetsThatAreNotThere(t *testing.T) {
	for _, name := range []string{"unix:/nowhere/x.sock", "/dev/vhost-vdpa-999999", "/dev/nowhere/vhost-net", "vdpa:nothing"} {
		target, err := vh.OpenTarget(within(t), name)
		if target != nil || !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENODEV) {
			t.Errorf("%s: %v, %v", name, target, err)
		}
	}
	if _, err := vh.OpenBlk(within(t), "vdpa:nothing"); err == nil {
		t.Error("a disk without a device")
	}
}

func TestVdpaManagementFindsByRoot(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(root+"/sys/bus/vdpa/devices", 0700))
	must(t, os.MkdirAll(root+"/sys/devices/v0", 0700))
	must(t, os.Symlink("../../../devices/v0", root+"/sys/bus/vdpa/devices/v0"))
	m, err := vh.NewVdpaMgmt(nil, root, nil)
	must(t, err)
	defer m.Close()
	places, err := m.Places()
	must(t, err)
	if len(places) != 1 || places[0].Name != "v0" || places[0].Node != -1 {
		t.Fatalf("%+v", places)
	}
	p, err := m.Place("v0")
	must(t, err)
	if p != places[0] {
		t.Fatalf("%+v", p)
	}
	_, err = m.Place("nothing")
	refused(t, err, syscall.ENODEV, "no vDPA device")
	_, err = m.Bind("v0", "vhost_vdpa")
	refused(t, err, syscall.ENOENT, "load the module vhost_vdpa")
	for _, call := range []func() error{
		func() error { _, err := m.MgmtDevs(); return err },
		func() error { _, err := m.Devs(); return err },
		func() error { _, err := m.Dev("x"); return err },
		func() error { _, err := m.Config("x"); return err },
		func() error { _, err := m.Stats("x", 0); return err },
		func() error { return m.Add("nothing", "x", &vh.VdpaAttrs{}) },
		func() error { return m.SetMAC("x", make([]byte, 6)) },
		func() error { return m.Del("x") },
	} {
		_ = call() // what the kernel here says: package vdpa has the tests of what it may say
	}
}
