// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libvh/libvh/go/vh"
)

// The program of these tests once more, before whose library stands one that says another version.
func withVersion(t *testing.T, version int) (string, error) {
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "gcc"
	}
	dir := t.TempDir()
	source, library := filepath.Join(dir, "other.c"), filepath.Join(dir, "other.so")
	must(t, os.WriteFile(source, []byte(fmt.Sprintf("unsigned vh_version(void) { return %d; }", version)), 0o600))
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c := exec.Command(os.Args[0], "-test.run=^$")
	c.Env = append(os.Environ(), "LD_PRELOAD="+library)
	out, err := c.CombinedOutput()
	return string(out), err
}

func TestALibraryOfAnotherVersionIsRefused(t *testing.T) {
	const own = vh.VersionMajor<<16 | vh.VersionMinor<<8
	for _, fits := range []int{own, own | 77} {
		if out, err := withVersion(t, fits); err != nil {
			t.Errorf("%#x: %v: %s", fits, err, out)
		}
	}
	for _, other := range []int{own + 1<<8, own + 1<<16} {
		out, err := withVersion(t, other)
		if err == nil || !strings.Contains(out, "panic: vh: this module is made for libvh 0.1.0, and the library that is loaded is") {
			t.Errorf("%#x: %v: %s", other, err, out)
		}
	}
}
