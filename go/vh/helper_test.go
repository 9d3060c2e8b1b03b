// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/libvh/libvh/go/vh"
)

const patience = 10 * time.Second

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%v, not %v", err, target)
	}
}

// eventually fails when what does not become true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in %v: %s", patience, what)
		}
	}
}

// disk is a block device in Go. What its members return or do is up to the test.
type disk struct {
	sectors     uint64
	readConfig  func() error
	writeConfig func(later vh.Later) error
	features    func(features uint64, later vh.Later) error
	batch       func(q *vh.Queue, budget int) (bool, error)
	closed      chan struct{}
}

func newDisk() *disk { return &disk{sectors: 128, closed: make(chan struct{}, 10)} }

func (d *disk) ReadConfig(offset uint32, buf []byte, _ vh.Later) error {
	if d.readConfig != nil {
		if err := d.readConfig(); err != nil {
			return err
		}
	}
	config := make([]byte, vh.ConfigMax)
	binary.LittleEndian.PutUint64(config, d.sectors)
	copy(buf, config[offset:])
	return nil
}

func (d *disk) WriteConfig(offset uint32, buf []byte, flags uint32, later vh.Later) error {
	if d.writeConfig == nil {
		return syscall.EPERM
	}
	return d.writeConfig(later)
}

func (d *disk) SetFeatures(features uint64, later vh.Later) error {
	if d.features == nil {
		return nil
	}
	return d.features(features, later)
}

func (d *disk) OnBatch(q *vh.Queue, index, budget int) (bool, error) {
	if d.batch != nil {
		return d.batch(q, budget)
	}
	return q.Each(budget, func(r *vh.Req) uint32 {
		r.Fill(0)
		return uint32(r.WrLen)
	})
}

func (d *disk) Close() error {
	d.closed <- struct{}{}
	return nil
}

// device is one in Go.
func device(t *testing.T, handler any) *vh.Device {
	t.Helper()
	dev, err := vh.NewDevice(&vh.DeviceOpts{Type: vh.TypeBlk, MaxQueues: 2}, handler)
	must(t, err)
	t.Cleanup(func() { dev.Close() })
	return dev
}

func ram(t *testing.T) *vh.Device {
	t.Helper()
	dev, err := vh.NewRAM(1 << 20)
	must(t, err)
	t.Cleanup(func() { dev.Close() })
	return dev
}

// pair is a front-end and a back-end, connected and not served yet.
func pair(t *testing.T, dev *vh.Device) (*vh.Master, *vh.Slave) {
	t.Helper()
	return pairWith(t, dev, nil)
}

func pairWith(t *testing.T, dev *vh.Device, opts *vh.SlaveOpts) (*vh.Master, *vh.Slave) {
	t.Helper()
	s, err := vh.NewSlave(dev, opts)
	must(t, err)
	t.Cleanup(func() { s.Close() })
	m, err := vh.NewMaster(nil, nil)
	must(t, err)
	t.Cleanup(func() { m.Close() })
	meet(t, m, s)
	return m, s
}

// meet connects them to each other.
func meet(t *testing.T, m *vh.Master, s *vh.Slave) {
	t.Helper()
	end, err := m.Socketpair()
	must(t, err)
	must(t, s.Adopt(end))
	must(t, end.Close())
}

// serve serves until the test ends; what Serve returned, or panicked with, comes out of the channel.
func serve(t *testing.T, s *vh.Slave) <-chan any {
	ctx, cancel := context.WithCancel(context.Background())
	result, over := make(chan any, 1), make(chan struct{})
	go func() {
		defer close(over)
		defer func() {
			if value := recover(); value != nil {
				result <- value
			}
		}()
		result <- s.Serve(ctx)
	}()
	t.Cleanup(func() { cancel(); <-over })
	return result
}

// served is what Serve ended with.
func served(t *testing.T, result <-chan any) any {
	t.Helper()
	select {
	case got := <-result:
		return got
	case <-time.After(patience):
		t.Fatal("Serve does not end")
		return nil
	}
}

// driven is a running driver.
func driven(t *testing.T, m *vh.Master, opts *vh.DriverOpts) *vh.Driver {
	t.Helper()
	d, err := vh.NewDriver(within(t), m, opts)
	must(t, err)
	t.Cleanup(func() { d.Close() })
	must(t, d.Start(within(t)))
	return d
}

func blk(t *testing.T, m *vh.Master) *vh.Blk {
	t.Helper()
	b, err := vh.NewBlk(within(t), driven(t, m, &vh.DriverOpts{Type: vh.TypeBlk}))
	must(t, err)
	t.Cleanup(func() { b.Close() })
	return b
}

func socketPath(t *testing.T) string {
	dir, err := os.MkdirTemp("", "vh")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

var errClosed = os.ErrClosed
