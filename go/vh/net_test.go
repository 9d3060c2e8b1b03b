// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"bytes"
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/libvh/libvh/go/vh"
)

func newNet(t *testing.T, device vh.NetdevOpts, opts *vh.NetOpts) *vh.Net {
	t.Helper()
	dev, err := vh.NewNetDev(&device, nil)
	must(t, err)
	t.Cleanup(func() { dev.Close() })
	m, s := pair(t, dev)
	serve(t, s)
	d := driven(t, m, &vh.DriverOpts{Type: vh.TypeNet, QueueSize: 64})
	n, err := vh.NewNet(within(t), d, opts)
	must(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

func TestNetSendsAndReceives(t *testing.T) {
	n := newNet(t, vh.NetdevOpts{Kind: vh.NetdevLoopback, MTU: 3000, Mac: [6]uint8{2, 0, 0, 0, 0, 1}}, nil)
	if info := n.Info(); info.Mac != [6]uint8{2, 0, 0, 0, 0, 1} || info.FrameMax != 3018 || info.LinkUp != 1 {
		t.Fatalf("%+v", info)
	}
	for i := 0; i < 60; i++ {
		var sent [][]byte
		for k := 0; k <= i%50; k++ {
			sent = append(sent, pattern(14+(i*50+k)%3000))
		}
		must(t, n.Send(within(t), sent...))
		for _, frame := range sent {
			got, err := n.Receive(within(t))
			must(t, err)
			if !bytes.Equal(got, frame) {
				t.Fatalf("round %d: %d bytes came back of %d", i, len(got), len(frame))
			}
		}
	}
}

func TestNetRefuses(t *testing.T) {
	n := newNet(t, vh.NetdevOpts{Kind: vh.NetdevLoopback}, &vh.NetOpts{FrameMax: 100})
	want(t, n.Send(within(t), make([]byte, 13)), syscall.EMSGSIZE)
	want(t, n.Send(within(t), make([]byte, 101)), syscall.EMSGSIZE)
	_, err := n.Reap(1, 1)
	want(t, err, syscall.EINVAL)
	must(t, n.Close())
	if _, err := n.Reap(0, 1); !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
}

func TestANetworkDeviceIsOpenedInOneStep(t *testing.T) {
	path := socketPath(t)
	dev, err := vh.NewNetDev(&vh.NetdevOpts{Kind: vh.NetdevLoopback}, nil)
	must(t, err)
	defer dev.Close()
	s, err := vh.Listen("unix:"+path, dev)
	must(t, err)
	serve(t, s)
	for i := 0; i < 3; i++ { // each time the connection ends with the device
		n, err := vh.OpenNet(within(t), "unix:"+path)
		must(t, err)
		must(t, n.Send(within(t), pattern(60)))
		got, err := n.Receive(within(t))
		must(t, err)
		if !bytes.Equal(got, pattern(60)) {
			t.Fatalf("% x", got)
		}
		must(t, n.Close())
		must(t, n.Close())
	}
	_, err = vh.OpenNet(within(t), "unix:"+path+"-nobody")
	want(t, err, syscall.ENOENT)
}
