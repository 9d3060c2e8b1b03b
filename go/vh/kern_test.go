// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libvh/libvh/go/vh"
)

// The kernel's devices are played: the test runs once more in a process that has another ioctl().
func played(t *testing.T, kind string, test func(t *testing.T, path string)) {
	t.Helper()
	if os.Getenv("FAKE_VHOST") == kind {
		test(t, "/dev/fake/vhost-"+kind)
		return
	}
	top, err := filepath.Abs("../..")
	must(t, err)
	library := filepath.Join(t.TempDir(), "played.so")
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "gcc"
	}
	build := exec.Command(cc, "-shared", "-fPIC", "-O1", "-D_GNU_SOURCE", "-Iinclude", "-Isrc/uapi", "-Itests/ioctl", "-o", library,
		"tests/ioctl/preload.c", "tests/ioctl/fake_copy.c", "tests/ioctl/fake_vhost.c", "tests/ioctl/fake_vdpa.c", "src/uapi/uapi.c", "-ldl")
	build.Dir = top
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), "LD_PRELOAD="+library, "FAKE_VHOST="+kind)
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func refused(t *testing.T, err error, number error, words string) {
	t.Helper()
	if !errors.Is(err, number) || !strings.Contains(err.Error(), words) {
		t.Fatalf("%v, and not %v with %q", err, number, words)
	}
}

func TestKernWhatIsNoDeviceIsTold(t *testing.T) {
	_, err := vh.OpenKern("/nowhere/vhost-scsi", nil)
	refused(t, err, syscall.ENOENT, "modprobe vhost_scsi")
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	_, err = vh.AdoptKern(null, &vh.KernOpts{Kind: vh.KernNet})
	refused(t, err, syscall.ENOTTY, "no vhost device")
	if _, err := vh.NewDriver(context.Background(), (*vh.Kern)(nil), nil); err == nil {
		t.Fatal("a driver over nothing")
	}
}

func TestKernNetwork(t *testing.T) {
	played(t, "net", func(t *testing.T, path string) {
		k, err := vh.OpenKern(path, nil)
		must(t, err)
		defer k.Close()
		if kind, err := k.KernKind(); err != nil || kind != vh.KernNet {
			t.Fatal(kind, err)
		}
		f, err := k.File()
		must(t, err)
		same, err := vh.AdoptKern(f, &vh.KernOpts{Kind: vh.KernNet})
		must(t, err)
		must(t, same.Close())
		f.Close()
		known, err := k.Probe()
		must(t, err)
		if known["VHOST_GET_FEATURES_ARRAY"] != vh.KernIoctlYes || known["VHOST_VSOCK_SET_RUNNING"] != vh.KernIoctlNo ||
			known["VHOST_SET_VRING_ENDIAN"] != vh.KernIoctlUnknown {
			t.Fatal(known)
		}
		features, err := k.GetFeatures()
		must(t, err)
		words := make([]uint64, 3)
		must(t, k.GetFeaturesArray(words))
		if words[0] != features || words[1] != 3 || words[2] != 0 {
			t.Fatal(words)
		}
		must(t, k.SetFeaturesArray([]uint64{1 << vh.FVersion1, 1}))
		bits, err := k.GetBackendFeatures()
		must(t, err)
		must(t, k.SetBackendFeatures(bits))
		must(t, k.SetForkFromOwner(false))
		if on, err := k.GetForkFromOwner(); err != nil || on {
			t.Fatal(on, err)
		}
		refused(t, k.SetVringNum(0, 8), syscall.EPERM, "vh_kern_set_owner() comes first")
		must(t, k.SetOwner())
		mem, err := vh.NewMemory(nil)
		must(t, err)
		defer mem.Close()
		must(t, mem.Alloc(0, 1<<20, 0))
		must(t, k.SetMem(mem))
		log, err := vh.NewDirty(1 << 20)
		must(t, err)
		defer log.Close()
		must(t, k.SetLogBase(log))
		must(t, k.SetLogFd(nil))
		must(t, k.SetFeatures(1<<vh.FVersion1|1<<vh.FLogAll))
		regions, err := mem.Regions()
		must(t, err)
		must(t, k.SetVringNum(1, 8))
		must(t, k.SetVringBase(1, 5))
		at := regions[0].Host
		must(t, k.SetVringAddr(&vh.VringAddr{Index: 1, Desc: at, Avail: at + 4096, Used: at + 8192}))
		must(t, k.SetVringKick(1, nil))
		must(t, k.SetVringCall(1, nil))
		must(t, k.SetVringErr(1, nil))
		must(t, k.SetVringEndian(1, vh.KernBigEndian))
		if endian, err := k.GetVringEndian(1); err != nil || endian != vh.KernBigEndian {
			t.Fatal(endian, err)
		}
		must(t, k.SetVringBusyloop(1, 7))
		if us, err := k.GetVringBusyloop(1); err != nil || us != 7 {
			t.Fatal(us, err)
		}
		if k.NetSetBackend(1, f) == nil {
			t.Fatal("a closed file was attached")
		}
		must(t, k.NetSetBackend(1, nil))
		if base, err := k.GetVringBase(1); err != nil || base != 5 {
			t.Fatal(base, err)
		}
		must(t, k.ResetOwner())
	})
}

func TestKernSessions(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	played(t, "net", func(t *testing.T, path string) {
		target, err := vh.OpenTarget(ctx, path)
		must(t, err)
		defer target.Close()
		k := target.(*vh.Kern)
		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_DGRAM, 0)
		must(t, err)
		socket := os.NewFile(uintptr(pair[0]), "tap")
		defer socket.Close()
		defer syscall.Close(pair[1])
		d, err := vh.NewDriver(ctx, k, &vh.DriverOpts{Type: vh.TypeNet})
		must(t, err)
		refused(t, d.Start(ctx), syscall.EINVAL, "vh_kern_attach() comes first")
		must(t, k.Attach(0, socket))
		must(t, k.Attach(1, socket))
		must(t, d.Start(ctx))
		must(t, d.Stop(ctx))
		must(t, d.Close())
		err = k.DeviceConfig(within(t), 0, make([]byte, 6))
		refused(t, err, syscall.EOPNOTSUPP, "vh_kern_set_config() makes one")
		must(t, k.SetConfig([]byte{1, 2, 3, 4, 5, 6}))
		config := make([]byte, 2)
		if err := k.DeviceConfig(within(t), 4, config); err != nil || config[1] != 6 {
			t.Fatal(config, err)
		}
		// A session ends with what it is over.
		d, err = vh.NewDriver(ctx, k, &vh.DriverOpts{Type: vh.TypeNet})
		must(t, err)
		must(t, d.Start(ctx))
		must(t, k.Close())
		want(t, d.Stop(ctx), os.ErrClosed)
	})
}

func TestKernIotlb(t *testing.T) {
	played(t, "net", func(t *testing.T, path string) {
		k, err := vh.OpenKern(path, nil)
		must(t, err)
		defer k.Close()
		mem, err := vh.NewMemory(nil)
		must(t, err)
		defer mem.Close()
		must(t, mem.Alloc(0x100000, 1<<20, 0))
		must(t, k.SetOwner())
		must(t, k.SetMem(mem))
		entry := &vh.IotlbEntry{IOVA: 0x5000, Len: 4096, Addr: 0x100000, Perm: vh.MemRead}
		refused(t, k.IotlbUpdate(entry), syscall.EFAULT, "ACCESS_PLATFORM was not acked")
		must(t, k.SetFeatures(1<<vh.FVersion1|1<<vh.FAccessPlatform))
		must(t, k.IotlbUpdate(entry))
		must(t, k.IotlbInvalidate(0x5000, 4096))
		table, err := vh.NewIotlb(nil, nil)
		must(t, err)
		defer table.Close()
		must(t, k.SetIotlb(table))
		if more, err := k.Dispatch(); err != nil || more {
			t.Fatal(more, err)
		}
		if _, ok, err := k.NextMiss(); err != nil || ok {
			t.Fatal(ok, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		want(t, k.Wait(ctx), context.DeadlineExceeded)
	})
}

func TestKernSockets(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	played(t, "vsock", func(t *testing.T, path string) {
		k, err := vh.OpenKern(path, nil)
		must(t, err)
		defer k.Close()
		refused(t, k.VsockSetCID(2), syscall.EINVAL, "above 2")
		must(t, k.VsockSetCID(52))
		must(t, k.SetOwner())
		refused(t, k.VsockSetRunning(true), syscall.EFAULT, "come before it")
		d, err := vh.NewDriver(ctx, k, &vh.DriverOpts{NQueues: 2})
		must(t, err)
		must(t, d.Start(ctx))
		must(t, d.Stop(ctx))
	})
}

func TestKernScsi(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	played(t, "scsi", func(t *testing.T, path string) {
		k, err := vh.OpenKern(path, nil)
		must(t, err)
		defer k.Close()
		if version, err := k.ScsiGetABIVersion(); err != nil || version != 1 {
			t.Fatal(version, err)
		}
		must(t, k.ScsiSetEventsMissed(true))
		if missed, err := k.ScsiGetEventsMissed(); err != nil || !missed {
			t.Fatal(missed, err)
		}
		must(t, k.SetOwner())
		worker, err := k.NewWorker()
		must(t, err)
		must(t, k.AttachVringWorker(2, worker))
		if got, err := k.GetVringWorker(2); err != nil || got != worker {
			t.Fatal(got, err)
		}
		refused(t, k.FreeWorker(worker), syscall.EBUSY, "still attached")
		refused(t, k.ScsiSetEndpoint("naa.1", 1), syscall.EFAULT, "come before it")
		refused(t, k.ScsiClearEndpoint("naa.1", 1), syscall.EFAULT, "memory, and what rings there are")
		must(t, k.ScsiSetTarget("naa.1", 1))
		d, err := vh.NewDriver(ctx, k, &vh.DriverOpts{NQueues: 3})
		must(t, err)
		must(t, d.Start(ctx))
		must(t, d.Close())
		short, end := context.WithTimeout(ctx, time.Millisecond)
		defer end()
		want(t, k.Wait(short), context.DeadlineExceeded)
	})
}
