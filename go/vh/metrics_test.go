// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/libvh/libvh/go/vh"
)

func TestPropertiesHaveWords(t *testing.T) {
	for _, kind := range []uint32{vh.MetricsConnection, vh.MetricsQueue} {
		properties := vh.MetricsProperties(kind)
		if len(properties) < 10 {
			t.Fatal(properties)
		}
		for _, p := range properties {
			if p.Name == "" || !strings.HasSuffix(p.Help, ".") || p.Type == 0 {
				t.Fatal(p)
			}
		}
	}
	if got := vh.MetricsProperties(99); got != nil {
		t.Fatal(got)
	}
}

func TestABackEndIsLookedAt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "socket")
	m, err := vh.NewMetrics(&vh.MetricsOpts{IntervalMS: 1}, "a test")
	must(t, err)
	defer m.Close()
	dev, err := vh.NewRAM(1 << 20)
	must(t, err)
	defer dev.Close()
	s, err := vh.NewSlave(dev, nil)
	must(t, err)
	defer s.Close()
	must(t, s.SetMetrics(m, "disk"))
	must(t, s.Listen(path))

	r, err := vh.NewMetricsReader(os.Getpid(), 0)
	must(t, err)
	defer r.Close()
	info, err := r.Info()
	must(t, err)
	if info.PID != os.Getpid() || info.Name != "a test" || info.Interval != time.Millisecond {
		t.Fatalf("%+v", info)
	}
	rows, err := r.Connections()
	must(t, err)
	if len(rows) != 1 || rows[0].Name != "disk" || rows[0].Address != path || rows[0].Values["state"] != "listening" {
		t.Fatalf("%+v", rows)
	}
	if _, ok := rows[0].Values["connected"]; ok {
		t.Fatalf("%+v", rows)
	}
	queues, err := r.Queues()
	must(t, err)
	if len(queues) == 0 || queues[0].Connection != rows[0].Row || queues[0].Values["requests"] != uint64(0) {
		t.Fatalf("%+v", queues)
	}
	text, err := r.OpenMetrics()
	must(t, err)
	if !strings.HasSuffix(string(text), "# EOF\n") || !strings.Contains(string(text), `name="disk"`) {
		t.Fatal(string(text))
	}

	f, err := m.File()
	must(t, err)
	defer f.Close()
	same, err := vh.AdoptMetrics(f)
	must(t, err)
	must(t, same.Close())
	must(t, s.SetMetrics(nil, ""))
	rows, err = r.Connections()
	must(t, err)
	if len(rows) != 0 {
		t.Fatal(rows)
	}
}

func TestServeShowsWhatItDoes(t *testing.T) {
	dev, err := vh.NewRAM(1 << 20)
	must(t, err)
	defer dev.Close()
	s, err := vh.NewSlave(dev, nil)
	must(t, err)
	defer s.Close()
	must(t, s.Listen(filepath.Join(t.TempDir(), "socket")))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.ServeWithMetrics(ctx, "served") }()
	for name := ""; name != "served"; time.Sleep(time.Millisecond) {
		r, err := vh.NewMetricsReader(os.Getpid(), 0)
		if err != nil {
			continue
		}
		info, err := r.Info()
		must(t, err)
		name = info.Name
		must(t, r.Close())
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	_, err = vh.NewMetricsReader(os.Getpid(), 0)
	want(t, err, syscall.ENOENT)
}
