// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vdpa

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// recorded is a kernel that says what one once said, to the same requests.
type recorded struct {
	t       *testing.T
	prefer  string // of several recordings of one request, which
	instead []byte // the answer to all requests but that for the family
	silent  bool
	queue   [][]byte
}

func number(datagram, seq []byte) []byte {
	out := append([]byte{}, datagram...)
	for at := 0; at+16 <= len(out); {
		copy(out[at+8:], seq)
		n := int(binary.LittleEndian.Uint32(out[at:]))
		if n < 16 {
			break
		}
		at += (n + 3) &^ 3
	}
	return out
}

func (k *recorded) Send(b []byte) error {
	if native.Uint16(b[4:]) != typeMin && k.instead != nil {
		k.queue = append(k.queue, number(k.instead, b[8:12]))
		return nil
	}
	if native.Uint16(b[4:]) != typeMin && k.silent {
		return nil
	}
	f, err := os.Open("../../tests/data/vdpa_netlink.tsv")
	if err != nil {
		k.t.Fatal(err)
	}
	defer f.Close()
	var found []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		row := strings.Split(lines.Text(), "\t")
		if len(row) < 3 {
			continue
		}
		asked, _ := hex.DecodeString(row[1])
		if len(asked) == len(b) && bytes.Equal(asked[:8], b[:8]) && bytes.Equal(asked[16:], b[16:]) &&
			(found == nil || row[0] == k.prefer) {
			found = row
		}
	}
	if found == nil {
		k.t.Fatalf("no recording of %x", b)
	}
	for _, text := range found[2:] {
		answer, err := hex.DecodeString(text)
		if err != nil {
			k.t.Fatal(err)
		}
		k.queue = append(k.queue, number(answer, b[8:12]))
	}
	return nil
}

func (k *recorded) Receive(b []byte, deadline time.Time) (int, error) {
	if len(k.queue) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(b, k.queue[0])
	k.queue = k.queue[1:]
	return n, nil
}

func (k *recorded) Close() error {
	k.queue = nil
	return nil
}

func manager(t *testing.T) (*Manager, *recorded) {
	if native != binary.ByteOrder(binary.LittleEndian) {
		t.Skip("the recordings are little-endian")
	}
	k := &recorded{t: t}
	return &Manager{Dial: func() (Conn, error) { return k, nil }}, k
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err error, target error, words string) {
	t.Helper()
	if !errors.Is(err, target) || !strings.Contains(err.Error(), words) {
		t.Fatalf("%v, not %v with %q", err, target, words)
	}
}

var mac = net.HardwareAddr{0x52, 0x54, 0, 0x11, 0x22, 0x33}

func TestDevicesAreListed(t *testing.T) {
	m, k := manager(t)
	k.prefer = "mgmtdev-list2"
	makers, err := m.MgmtDevs()
	must(t, err)
	if len(makers) != 4 || makers[0].Name != "vduse" || makers[3].String() != "pci/0000:00:02.0" || makers[1].MaxVQs != 3 {
		t.Fatalf("%+v", makers)
	}
	devs, err := m.Devs()
	must(t, err)
	if len(devs) != 3 || devs[2].MgmtDev != "pci/0000:00:02.0" {
		t.Fatalf("%+v", devs)
	}
	d, err := m.Dev("vnet0")
	must(t, err)
	if d != (Dev{Name: "vnet0", MgmtDev: "vdpasim_net", DeviceID: TypeNet, MaxVQs: 3, MaxVQSize: 256, MinVQSize: 1}) {
		t.Fatalf("%+v", d)
	}
	_, err = m.Dev("nothing")
	want(t, err, syscall.ENODEV, "device not found")
}

func TestDevicesAreMadeChangedAndTakenAway(t *testing.T) {
	m, k := manager(t)
	must(t, m.Add("vdpasim_net", "vnet0", &Attrs{MAC: mac, MTU: 1400}))
	must(t, m.Add("pci/0000:00:02.0", "vp0", nil))
	must(t, m.SetMAC("vnet0", net.HardwareAddr{0x52, 0x54, 0, 0x11, 0x22, 0x44}))
	want(t, m.SetMAC("vblk0", net.HardwareAddr{0x52, 0x54, 0, 0x11, 0x22, 0x44}), syscall.ENOTSUP, "can't change it")
	want(t, m.Add("nothing", "x", nil), syscall.ENODEV, "no such management device")
	want(t, m.Add("vdpasim_net", "x", &Attrs{MaxVQP: 4}), syscall.ENOTSUP, "attributes are not supported")
	must(t, m.Del("vnet0"))
	k.prefer = "del-none"
	want(t, m.Del("vnet0"), syscall.ENODEV, "no device of this name")
	k.prefer = "add-exists"
	want(t, m.Add("vdpasim_blk", "vblk0", nil), syscall.EEXIST, "there already")
	want(t, m.Add("vdpasim_net", "x", &Attrs{MTU: 67}), syscall.EINVAL, "MTU")
	want(t, m.Add("vdpasim_net", "x", &Attrs{MAC: mac[:5]}), syscall.EINVAL, "6 bytes")
	want(t, m.Add("vdpasim_net", "", nil), syscall.EINVAL, "a name")
	want(t, m.SetMAC("vnet0", nil), syscall.EINVAL, "6 bytes")
}

func TestAConfigurationIsToldByTheKindOfDevice(t *testing.T) {
	m, k := manager(t)
	c, err := m.Config("vnet0")
	must(t, err)
	has := uint64(1<<HasMAC | 1<<HasNetStatus | 1<<HasMTU | 1<<HasFeatures)
	if c.Has != has || !bytes.Equal(c.MAC, mac) || c.MTU != 1400 || c.Features != 0x308830028 || c.Capacity != 0 {
		t.Fatalf("%+v", c)
	}
	k.prefer = "config-net-ok"
	c, err = m.Config("vnet0")
	must(t, err)
	if c.Has != has|1<<HasNegotiated || c.Negotiated != 0x308830028 {
		t.Fatalf("%+v", c)
	}
	c, err = m.Config("vblk0")
	must(t, err)
	if c.DeviceID != TypeBlk || c.Capacity != 0x40000 || c.BlkSize != 512 || c.Flush != 1 || c.MAC != nil {
		t.Fatalf("%+v", c)
	}
}

func TestCountersHaveNames(t *testing.T) {
	m, k := manager(t)
	_, err := m.Stats("vnet0", 0)
	want(t, err, syscall.EAGAIN, "FEATURES_OK")
	_, err = m.Stats("vblk0", 0)
	want(t, err, syscall.ENOTSUP, "no counters")
	k.prefer = "stats"
	stats, err := m.Stats("vnet0", 0)
	must(t, err)
	if len(stats) != 5 || stats[0].Name != "rx packets" || stats[4].Name != "rx drops" {
		t.Fatalf("%+v", stats)
	}
}

// message is one of the kernel's, of the recordings' family.
func message(kind uint16, payload ...byte) []byte {
	b := make([]byte, 16, 64)
	native.PutUint32(b, uint32(16+len(payload)))
	native.PutUint16(b[4:], kind)
	b = append(b, payload...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func TestAnAnswerThatBreaksTheRulesIsRefused(t *testing.T) {
	m, k := manager(t)
	end := message(typeError, 0, 0, 0, 0)
	long := message(34)
	native.PutUint32(long, 200)
	short := message(34)
	native.PutUint32(short, 4)
	for _, c := range []struct {
		answer []byte
		words  string
	}{
		{long, "says 200 bytes"},
		{short, "says 4 bytes"},
		{message(typeDone, 0, 0), "a last message of 2 bytes"},
		{append(message(34, 5, 1, 0, 0, 60, 0, 4, 0), end...), "an attribute says 60 bytes"},
		{append(message(34, 5, 1, 0, 0, 6, 0, 4, 0, 'x', 'x'), end...), "has no end"},
		{append(message(34, 5, 1, 0, 0, 12, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0), end...), "has 8 bytes, not 4"},
		{append(message(34, 5, 1, 0, 0, 8, 0, 5, 0, 1, 0, 0, 0), end...), "without a name"},
		{end, "without the device"},
	} {
		k.instead = c.answer
		_, err := m.Dev("vnet0")
		want(t, err, syscall.EPROTO, c.words)
	}
	k.instead, k.silent = nil, true
	_, err := m.Dev("vnet0")
	want(t, err, syscall.ETIMEDOUT, "in time")
	m.Dial = func() (Conn, error) { return nil, syscall.EAFNOSUPPORT }
	_, err = m.Dev("vnet0")
	want(t, err, syscall.EAFNOSUPPORT, "find")
}

func TestANumberOfTheKernelsOwnIsNotSupported(t *testing.T) {
	var err error = &Error{Op: "open", Errno: 524}
	want(t, err, syscall.ENOTSUP, "ENOTSUPP")
	if errors.Is(err, syscall.EPERM) {
		t.Fatal(err)
	}
}

// What this machine's kernel says, with vDPA or without.
func TestARealSocketIsAnswered(t *testing.T) {
	_, err := (&Manager{}).MgmtDevs()
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		t.Fatal(err)
	}
}

func build(t *testing.T) (*Manager, string) {
	root := t.TempDir()
	for _, dir := range []string{"dev", "sys/bus/pci", "sys/bus/vdpa/devices", "sys/bus/vdpa/drivers/vhost_vdpa",
		"sys/devices/pci0000:00/0000:00:02.0/vp0/vhost-vdpa-2", "sys/devices/vblk0"} {
		must(t, os.MkdirAll(filepath.Join(root, dir), 0700))
	}
	for to, from := range map[string]string{
		"sys/devices/pci0000:00/0000:00:02.0/subsystem":  "../../../bus/pci",
		"sys/devices/pci0000:00/0000:00:02.0/vp0/driver": "../../../../bus/vdpa/drivers/vhost_vdpa",
		"sys/bus/vdpa/devices/vp0":                       "../../../devices/pci0000:00/0000:00:02.0/vp0",
		"sys/bus/vdpa/devices/vblk0":                     "../../../devices/vblk0",
	} {
		must(t, os.Symlink(from, filepath.Join(root, to)))
	}
	must(t, os.WriteFile(filepath.Join(root, "sys/devices/pci0000:00/0000:00:02.0/vp0/vhost-vdpa-2/dev"), []byte("243:2\n"), 0600))
	must(t, os.WriteFile(filepath.Join(root, "dev/vhost-vdpa-2"), nil, 0600))
	must(t, syscall.Mkfifo(filepath.Join(root, "sys/bus/vdpa/drivers/vhost_vdpa/bind"), 0600))
	return &Manager{Root: root, Timeout: time.Minute, Dial: func() (Conn, error) { return nil, syscall.EAFNOSUPPORT }}, root
}

func TestADeviceIsFoundByAnyOfItsNames(t *testing.T) {
	m, root := build(t)
	for _, key := range []string{"vp0", "/dev/vhost-vdpa-2", "vhost-vdpa-2", "0000:00:02.0", "pci/0000:00:02.0"} {
		p, err := m.Place(key)
		must(t, err)
		p.route = nil
		if !reflect.DeepEqual(*p, Place{Name: "vp0", Driver: VhostVdpa, ParentBus: "pci", Parent: "0000:00:02.0", Node: 2,
			Path: root + "/dev/vhost-vdpa-2", Major: 243, Minor: 2}) {
			t.Fatalf("%s: %+v", key, p)
		}
	}
	_, err := m.Place("vhost-vdpa-7")
	want(t, err, syscall.ENODEV, "no such vDPA device")
	_, err = m.Place("vdpasim_blk")
	want(t, err, syscall.ENODEV, "no such vDPA device")
	_, k := manager(t)
	m.Dial = func() (Conn, error) { return k, nil }
	p, err := m.Place("vdpasim_blk") // as netlink says
	must(t, err)
	if p.Name != "vblk0" || p.Node != -1 || p.Parent != "" {
		t.Fatalf("%+v", p)
	}
	must(t, os.RemoveAll(root+"/sys/bus/vdpa"))
	_, err = m.Places()
	want(t, err, syscall.ENOENT, "load the module")
}

// A goroutine does what the kernel does when a name is written there.
func TestADriverIsGivenADeviceAndItsNodeIsWaitedFor(t *testing.T) {
	m, root := build(t)
	done := make(chan error, 1)
	go func() {
		name, err := os.ReadFile(root + "/sys/bus/vdpa/drivers/vhost_vdpa/bind")
		dir := root + "/sys/devices/" + string(name)
		for _, step := range []func() error{
			func() error { return os.Mkdir(dir+"/vhost-vdpa-5", 0700) },
			func() error { return os.WriteFile(dir+"/vhost-vdpa-5/dev", []byte("243:5\n"), 0600) },
			func() error { return os.WriteFile(root+"/dev/vhost-vdpa-5", nil, 0600) },
			func() error { return os.Symlink("../../bus/vdpa/drivers/vhost_vdpa", dir+"/driver") },
		} {
			if err == nil {
				err = step()
			}
		}
		done <- err
	}()
	p, err := m.Bind("vblk0", VhostVdpa)
	must(t, err)
	must(t, <-done)
	if p.Node != 5 || p.Path != root+"/dev/vhost-vdpa-5" || p.Driver != VhostVdpa {
		t.Fatalf("%+v", p)
	}
	_, err = m.Bind("vp0", VirtioVdpa)
	want(t, err, syscall.ENOENT, "load the module virtio_vdpa")
	_, err = m.Bind("vblk0", "../x")
	want(t, err, syscall.EINVAL, "no name of a driver")
	m.Timeout = 20 * time.Millisecond
	must(t, os.Remove(root+"/dev/vhost-vdpa-5"))
	_, err = m.Bind("vblk0", VhostVdpa)
	want(t, err, syscall.ETIMEDOUT, "devtmpfs")
}
