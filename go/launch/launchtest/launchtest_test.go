// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package launchtest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"testing"

	"github.com/libvh/libvh/go/launch"
	"github.com/libvh/libvh/go/launch/launchtest"
)

// mount is what somebody might have, who starts a virtiofsd for each directory.
func mount(ctx context.Context, l launch.Launcher, dir string) (launch.Process, error) {
	d, _, err := l.Find(ctx, "fs", "migrate-precopy")
	if err != nil {
		return nil, err
	}
	p, err := l.Start(ctx, launch.Command{Words: []string{d.Binary, "--shared-dir", dir}})
	if err != nil {
		return nil, fmt.Errorf("no file system for %s: %w", dir, err)
	}
	return p, nil
}

func fake() *launchtest.Launcher {
	return &launchtest.Launcher{
		Installed: []launch.Description{{Path: "10-old.json", Type: "fs", Binary: "/old"}, {Path: "20-new.json", Type: "fs", Binary: "/new"}},
		Can: map[string]launch.Capabilities{
			"/old": {Type: "fs"}, "/new": {Type: "fs", Features: []string{"migrate-precopy"}}}}
}

func TestWhatIsStartedListensAndEnds(t *testing.T) {
	l := fake()
	l.Serve = func(p *launchtest.Process, c *net.UnixConn) {
		fmt.Fprint(c, "hello")
		p.Say("somebody came\n")
		p.Exit(3)
	}
	ctx := context.Background()
	p, err := mount(ctx, l, "/srv")
	if err != nil {
		t.Fatal(err)
	}
	if !launch.Listening(p.Path()) || p.Err() != nil {
		t.Error("it does not listen")
	}
	c, err := launch.Connect(ctx, p.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	<-p.Done()
	if code, err := p.Wait(ctx); code != 3 || err != nil || !errors.Is(p.Err(), launch.Died) || p.Output() != "somebody came\n" {
		t.Error(code, err, p.Err(), p.Output())
	}
	started := l.Started()
	if len(started) != 1 || started[0].Command.Words[2] != "/srv" || started[0].Stopped() || p.Close() == nil {
		t.Error(started)
	}
	if _, err := os.Stat(p.Path()); !os.IsNotExist(err) {
		t.Error(err)
	}
}

func TestItRefusesAsItIsTold(t *testing.T) {
	l := fake()
	l.OnStart = func(c launch.Command) error {
		return &launch.Error{Kind: launch.Died, Text: c.Words[0] + " has no memory"}
	}
	if _, err := mount(context.Background(), l, "/srv"); !errors.Is(err, launch.Died) {
		t.Error(err)
	}
	l.Can = nil
	if _, err := mount(context.Background(), l, "/srv"); !errors.Is(err, launch.NotFound) {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := l.Start(ended, launch.Command{}); err != context.Canceled {
		t.Error(err)
	}
}

func TestConnectedAndStopped(t *testing.T) {
	l := &launchtest.Launcher{Serve: func(_ *launchtest.Process, c *net.UnixConn) { fmt.Fprint(c, "hello") }}
	p, err := l.Start(context.Background(), launch.Command{How: launch.Connected})
	if err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 9)
	if n, err := p.Conn().Read(said); string(said[:n]) != "hello" {
		t.Error(err)
	}
	if err := p.Close(); err != nil || p.Close() != nil || !l.Started()[0].Stopped() {
		t.Error(err)
	}
	if code, _ := p.Wait(context.Background()); code != -15 || p.PID() == 0 || p.Path() != "" {
		t.Error(code)
	}
}
