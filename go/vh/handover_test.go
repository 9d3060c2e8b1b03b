// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"bytes"
	"context"
	"math/rand"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/libvh/libvh/go/vh"
)

// successor goes on where old stood, over the same file.
func successor(t *testing.T, old *vh.Slave, disk *os.File) (*vh.Slave, *vh.Device) {
	t.Helper()
	must(t, old.Pause(within(t)))
	state, err := old.Export()
	must(t, err)
	defer state.Close()
	dev, err := vh.NewFile(disk)
	must(t, err)
	s, err := vh.NewSlave(dev, nil)
	must(t, err)
	must(t, s.Import(state))
	must(t, old.Close())
	return s, dev
}

func TestIOGoesOnWithASuccessor(t *testing.T) {
	disk, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	must(t, err)
	defer disk.Close()
	must(t, disk.Truncate(1<<20))
	dev, err := vh.NewFile(disk)
	must(t, err)
	path := filepath.Join(t.TempDir(), "s")
	s, err := vh.Listen(path, dev)
	must(t, err)
	over := make(chan error, 1)
	go func() {
		b, err := vh.OpenBlk(within(t), path)
		for i := 0; err == nil && i < 200; i++ {
			p, got := make([]byte, 4096), make([]byte, 4096)
			rand.Read(p)
			if _, err = b.WriteAt(p, int64(i)*4096); err == nil {
				_, err = b.ReadAt(got, int64(i)*4096)
			}
			if err == nil && !bytes.Equal(p, got) {
				err = syscall.EILSEQ
			}
		}
		if b != nil {
			b.Close()
		}
		over <- err
	}()
	for replaced := 0; ; replaced++ {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		want(t, s.Serve(ctx), context.DeadlineExceeded)
		cancel()
		select {
		case err := <-over:
			must(t, err)
			if replaced == 0 {
				t.Fatal("it was over before anybody was replaced")
			}
			must(t, s.Close())
			must(t, dev.Close())
			return
		default:
		}
		old := dev
		s, dev = successor(t, s, disk)
		must(t, old.Close())
	}
}

func TestAStateThatDoesNotFitIsRefused(t *testing.T) {
	m, s := pair(t, ram(t))
	serve(t, s)
	_, err := m.Negotiate(within(t), 1<<vh.FVersion1)
	must(t, err)
	_, err = s.Export()
	want(t, err, syscall.EAGAIN)
	must(t, s.Pause(within(t)))
	state, err := s.Export()
	must(t, err)
	defer state.Close()
	other, err := vh.NewSlave(ram(t), &vh.SlaveOpts{MaskFeatures: 1 << vh.FVersion1})
	must(t, err)
	defer other.Close()
	want(t, other.Import(state), syscall.EOPNOTSUPP)
	want(t, other.Import(&vh.SlaveState{Data: state.Data[:8]}), syscall.EINVAL)
	must(t, s.Resume())
	_, err = m.Features(within(t))
	must(t, err)
}
