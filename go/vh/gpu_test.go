// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/libvh/libvh/go/vh"
)

func socketpair(t *testing.T) (a, b *os.File) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	a, b = os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// show answers what it is told, and tells it on, until the device is gone.
func show(t *testing.T, d *vh.GpuDisplay, told chan<- *vh.GpuRequest) {
	defer close(told)
	defer d.Close()
	for {
		r, err := d.Recv(within(t))
		if errors.Is(err, syscall.ECONNRESET) {
			return
		}
		if err == nil {
			switch r.Request {
			case vh.GpuGetDisplayInfo:
				err = d.ReplyModes([]vh.GpuMode{{Width: 800, Height: 600, Enabled: 1}})
			case vh.GpuGetEdid:
				err = d.ReplyEdid([]byte(fmt.Sprintf("monitor %d", r.ScanoutID)))
			case vh.GpuDmabufUpdate:
				err = d.ReplyShown()
			}
		}
		if err != nil {
			t.Error(err)
			return
		}
		told <- r
	}
}

func TestScenarioGpu(t *testing.T) {
	ours, theirs := socketpair(t)
	k := &kinds{}
	dev, err := vh.NewDevice(&vh.DeviceOpts{Type: 16, MaxQueues: 2}, k)
	must(t, err)
	defer dev.Close()
	m, s := pair(t, dev)
	serve(t, s)
	_, err = m.Negotiate(within(t), 1<<64-1)
	must(t, err)
	must(t, m.SetGpuSocket(within(t), theirs))
	must(t, theirs.Close())

	const all = 1<<vh.GpuPFEdid | 1<<vh.GpuPFDmabuf2
	display, err := vh.NewGpuDisplay(ours, &vh.GpuOpts{Features: all})
	must(t, err)
	told := make(chan *vh.GpuRequest, 100)
	go show(t, display, told)
	gpu, err := vh.NewGpuDevice(k.display, nil)
	must(t, err)
	must(t, k.display.Close())
	acked, err := gpu.Negotiate(1<<64 - 1)
	must(t, err)
	if acked != all {
		t.Errorf("acked 0x%x", acked)
	}
	modes, err := gpu.Modes()
	must(t, err)
	if modes[0].Width != 800 || modes[1].Enabled != 0 {
		t.Errorf("modes %+v", modes)
	}
	edid, err := gpu.Edid(3)
	must(t, err)
	if string(edid) != "monitor 3" {
		t.Errorf("edid %q", edid)
	}
	pixels := make([]byte, 640*480*4)
	rand.Read(pixels)
	must(t, gpu.Send(vh.GpuMsg{Request: vh.GpuScanout, Width: 640, Height: 480}, nil, nil))
	must(t, gpu.Send(vh.GpuMsg{Request: vh.GpuUpdate, X: 1, Width: 640, Height: 480}, pixels, nil))
	buffer, err := os.Create(filepath.Join(t.TempDir(), "buffer"))
	must(t, err)
	must(t, gpu.Send(vh.GpuMsg{Request: vh.GpuDmabufScanout2, Width: 2, Height: 1, Modifier: 1 << 56}, nil, buffer))
	must(t, buffer.Close())
	must(t, gpu.Send(vh.GpuMsg{Request: vh.GpuDmabufUpdate, Width: 2, Height: 1}, nil, nil))
	want(t, gpu.Send(vh.GpuMsg{Request: vh.GpuUpdate, Width: 1, Height: 1}, nil, nil), syscall.EINVAL)
	must(t, gpu.Close())
	want(t, gpu.Send(vh.GpuMsg{Request: vh.GpuScanout}, nil, nil), os.ErrClosed)

	var got []*vh.GpuRequest
	for r := range told {
		got = append(got, r)
	}
	if len(got) != 6 || !bytes.Equal(got[3].Pixels, pixels) || got[3].X != 1 || got[4].Modifier != 1<<56 || got[4].Buffer == nil {
		t.Fatalf("%d requests: %+v", len(got), got)
	}
	must(t, got[4].Buffer.Close())
}
