// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"io"
	"path"
	"strings"
)

// Target is what a Driver can drive, and who opened it closes.
type Target interface {
	Drivable
	io.Closer
}

// OpenTarget opens what is behind "unix:/path" or another address of a socket (a *Master), "vdpa:NAME" or /dev/vhost-vdpa-N (a
// *Vdpa), or /dev/vhost-net, -vsock, -scsi (a *Kern).
func OpenTarget(ctx context.Context, target string) (Target, error) {
	file := ""
	if strings.HasPrefix(target, "/dev/") {
		file = path.Base(target)
	}
	switch {
	case strings.HasPrefix(target, "vdpa:"), strings.HasPrefix(file, "vhost-vdpa-"):
		return opened(OpenVdpa(strings.TrimPrefix(target, "vdpa:"), nil))
	case file == "vhost-net", file == "vhost-vsock", file == "vhost-scsi":
		return opened(OpenKern(target, nil))
	}
	return opened(Dial(ctx, target))
}

// opened keeps a pointer that is nil from becoming an interface that is not.
func opened[T Target](t T, err error) (Target, error) {
	if err != nil {
		return nil, err
	}
	return t, nil
}

// startSession is a started session of a type with what is behind a target, which it is given back with.
func startSession(ctx context.Context, target string, kind uint32) (*Driver, Target, error) {
	t, err := OpenTarget(ctx, target)
	if err != nil {
		return nil, nil, err
	}
	d, err := NewDriver(ctx, t, &DriverOpts{Type: kind})
	if err == nil {
		err = d.Start(ctx)
	}
	if err != nil {
		t.Close()
		return nil, nil, err
	}
	return d, t, nil
}

// endSession ends what is over a session: it is freed there, its sleeps end, and who opened the session's target closes that.
func endSession(d *Driver, own Target, s *sleeps, free func()) error {
	err := d.b.do(func() error {
		d.b.last(free)
		return nil
	})
	s.close()
	if isClosed(err) {
		err = nil
	}
	if own != nil {
		if of := own.Close(); err == nil {
			err = of
		}
	}
	return err
}
