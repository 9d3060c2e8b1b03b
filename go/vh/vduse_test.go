// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"github.com/libvh/libvh/go/vh"
)

// On a machine whose kernel has no VDUSE: what is said. A kernel that has it is in tests/kern.
func TestVduseIsMissing(t *testing.T) {
	dev, err := vh.NewNull(1 << 20)
	must(t, err)
	defer dev.Close()
	if _, err := os.Stat("/dev/vduse/control"); err != nil {
		if _, err := vh.NewVduse("vh-test", dev, nil, &vh.VduseOpts{Flags: vh.VduseUmem}); !errors.Is(err, syscall.ENOENT) {
			t.Fatal(err)
		}
		if err := vh.VduseRemove("vh-test"); !errors.Is(err, syscall.ENOENT) {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "a/b", "control"} {
		if _, err := vh.NewVduse(name, dev, nil, nil); !errors.Is(err, syscall.EINVAL) {
			t.Fatal(name, err)
		}
	}
	if _, err := vh.NewVduse("vh-test", nil, nil, nil); err == nil {
		t.Fatal("a device of nothing")
	}
	s, err := vh.NewSlave(dev, nil) // it was refused, and is free
	must(t, err)
	s.Close()
}
