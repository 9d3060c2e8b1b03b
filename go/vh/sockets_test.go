// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/libvh/libvh/go/vh"
)

// serving serves s until the test ends.
func serving(t *testing.T, s *vh.Slave) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan error, 1)
	go func() { over <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-over
		s.Close()
	})
}

func TestScenarioSlaveConnects(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s, err := vh.NewSlave(device(t, newDisk()), nil)
	must(t, err)
	must(t, s.Connect(path, &vh.Reconnect{FirstMS: 1, MaxMS: 10}))
	serving(t, s)
	for i := 0; i < 2; i++ { // one front-end after the other
		m, err := vh.NewMaster(nil, nil)
		must(t, err)
		must(t, m.Listen(path))
		must(t, m.Accept(within(t)))
		features, err := m.Negotiate(within(t), ^uint64(0))
		must(t, err)
		if features&(1<<vh.FVersion1) == 0 {
			t.Fatalf("features 0x%x", features)
		}
		must(t, m.Close())
	}
}

func TestASlaveGivesUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s, err := vh.NewSlave(device(t, newDisk()), nil)
	must(t, err)
	defer s.Close()
	want(t, s.Connect(path, nil), syscall.ENOENT)
	want(t, s.Connect(path, &vh.Reconnect{Jitter: 101}), syscall.EINVAL)
	must(t, s.Connect(path, &vh.Reconnect{MaxTries: 3, FirstMS: 1, MaxMS: 4}))
	for {
		_, err := s.Dispatch()
		must(t, err)
		event, ok, err := s.NextEvent()
		must(t, err)
		if ok && event.Kind == vh.EventGaveUp {
			if event.Value != 3 {
				t.Fatalf("after %d failures", event.Value)
			}
			return
		}
		if !ok {
			must(t, s.Wait(within(t)))
		}
	}
}

func TestScenarioAddresses(t *testing.T) {
	name := fmt.Sprintf("@vh-sockets-%d", os.Getpid())
	s, err := vh.Listen(name, ram(t))
	must(t, err)
	serving(t, s)
	b, err := vh.OpenBlk(within(t), "unix:"+name)
	must(t, err)
	must(t, b.Close())

	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	must(t, err)
	defer l.Close()
	f, err := l.File()
	must(t, err)
	defer f.Close()
	s, err = vh.Listen(fmt.Sprintf("fd:%d", f.Fd()), ram(t))
	must(t, err)
	serving(t, s)
	b, err = vh.OpenBlk(within(t), path)
	must(t, err)
	must(t, b.Close())

	_, err = vh.Listen("vsock:3:1234", ram(t))
	want(t, err, syscall.EINVAL)
	_, err = vh.Listen("systemd:disk", ram(t)) // nobody started us with one
	want(t, err, syscall.EINVAL)
}

func TestWhatIsOfferedOnlyWhenAsked(t *testing.T) {
	s, err := vh.NewSlave(device(t, newDisk()), &vh.SlaveOpts{MoreProtocolFeatures: 1<<vh.PFXenMmap | 1<<vh.PFCrossEndian})
	must(t, err)
	must(t, s.Close())

	mem, err := vh.NewMemory(nil)
	must(t, err)
	defer mem.Close()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(4096))
	want(t, mem.AddFile(f, &vh.Region{Len: 4096, MapFlags: vh.MapXenForeign, MapDomain: 1}), syscall.ENOTTY)
}
