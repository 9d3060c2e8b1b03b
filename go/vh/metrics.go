// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/libvh/libvh/go/internal/raw"
)

type MetricsOpts = raw.MetricsOpts

// MetricsProperty is what a value of a connection or a queue is.
type MetricsProperty struct {
	Name, Unit, Help string
	Type             uint32 // MetricsNumber ... MetricsText
	Space            uint32 // of feature bits, as of FeatureName
	Brief            bool   // belongs into a table that is to fit on a screen
}

// MetricsRow is a connection or a queue, as it was at one moment.
type MetricsRow struct {
	Row        int // its number, the same as long as it exists
	Connection int // row of the connection that it belongs to; of a connection its own
	Name       string
	Address    string
	// Values by name of their properties: uint64 of numbers, counters and feature bits; time.Duration since a moment; string
	// of choices, requests and texts. What is not known, and a moment that there was not, is not in it.
	Values map[string]any
}

// MetricsInfo says whose page it is.
type MetricsInfo struct {
	Version, PID, MaxRows int
	Interval              time.Duration
	Name                  string
}

// MetricsProperties are those of MetricsConnection or MetricsQueue, in their order.
func MetricsProperties(kind uint32) []MetricsProperty {
	var found []MetricsProperty
	for {
		var p raw.MetricsProp
		if raw.MetricsGetProp(kind, uint32(len(found)), &p) != nil {
			return found
		}
		found = append(found, MetricsProperty{Name: cstring(p.Name[:]), Unit: cstring(p.Unit[:]), Help: cstring(p.Help[:]),
			Type: p.Type, Space: p.Space, Brief: p.Flags&MetricsBrief != 0})
	}
}

// They are the same for ever.
var metricsProperties = map[uint32][]MetricsProperty{
	MetricsConnection: MetricsProperties(MetricsConnection), MetricsQueue: MetricsProperties(MetricsQueue)}

// Metrics is a page that other processes of this user can look at, by a MetricsReader or vhctl state. Its calls
// may come from several goroutines.
type Metrics struct {
	life life
	p    *raw.Metrics
}

// NewMetrics makes a page; name is what to call this program. Slave.SetMetrics puts something on it.
func NewMetrics(opts *MetricsOpts, name string) (*Metrics, error) {
	if err := plain(name); err != nil {
		return nil, err
	}
	p, err := made(func(out **raw.Metrics) error { return raw.MetricsNew(opts, name, out) })
	if err != nil {
		return nil, err
	}
	m := &Metrics{p: p}
	runtime.SetFinalizer(m, forgotten[*Metrics])
	return m, nil
}

// Close takes it away. What is shown there stays until it ends or is told otherwise.
func (m *Metrics) Close() error {
	runtime.SetFinalizer(m, nil)
	if m.life.end() {
		raw.MetricsFree(m.p)
	}
	return nil
}

func (m *Metrics) with(call func(*raw.Metrics) error) error {
	if m == nil {
		return call(nil)
	}
	if err := m.life.enter(); err != nil {
		return err
	}
	defer m.life.leave()
	defer runtime.KeepAlive(m)
	return call(m.p)
}

// File is the page's file, for someone who can't find it by /proc.
func (m *Metrics) File() (*os.File, error) {
	var fd int32
	if m == nil {
		return nil, missing("page")
	}
	if err := m.with(func(p *raw.Metrics) error { return raw.MetricsDupFD(p, &fd) }); err != nil {
		return nil, err
	}
	return fileOf(fd, "metrics"), nil
}

// SetMetrics shows this back-end and its queues on a page, by this name; nil: no more.
func (s *Slave) SetMetrics(m *Metrics, name string) error {
	if err := plain(name); err != nil {
		return err
	}
	return m.with(func(p *raw.Metrics) error {
		return s.do(func() error { return raw.SlaveSetMetrics(s.p, p, name) })
	})
}

// SetMetrics shows this device and its queues on a page, by this name; nil: no more.
func (v *Vduse) SetMetrics(m *Metrics, name string) error {
	if err := plain(name); err != nil {
		return err
	}
	return m.with(func(p *raw.Metrics) error {
		return v.do(func() error { return raw.VduseSetMetrics(v.p, p, name) })
	})
}

// SetMetrics shows this session and its queues on a page, by this name; nil: no more, once it is stopped.
func (d *Driver) SetMetrics(m *Metrics, name string) error {
	if err := plain(name); err != nil {
		return err
	}
	return m.with(func(p *raw.Metrics) error {
		return d.do(func() error { return raw.DriverSetMetrics(d.s.p, p, name) })
	})
}

// ServeWithMetrics is Serve, and shows meanwhile on a page of its own what the back-end does.
func (s *Slave) ServeWithMetrics(ctx context.Context, name string) error {
	m, err := NewMetrics(nil, name)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := s.SetMetrics(m, name); err != nil {
		return err
	}
	defer s.SetMetrics(nil, "")
	return s.Serve(ctx)
}

// MetricsReader looks at the page of a process. Its calls may come from several goroutines.
type MetricsReader struct {
	life life
	mu   sync.Mutex
	p    *raw.MetricsReader
}

// NewMetricsReader looks at a process; nth is which of its pages.
func NewMetricsReader(pid, nth int) (*MetricsReader, error) {
	return madeReader(func(out **raw.MetricsReader) error { return raw.MetricsReaderOpen(uint32(pid), uint32(nth), out) })
}

// AdoptMetrics looks at the page in a file, from Metrics.File.
func AdoptMetrics(f *os.File) (r *MetricsReader, err error) {
	err = withFd(f, func(fd int32) error {
		r, err = madeReader(func(out **raw.MetricsReader) error { return raw.MetricsReaderAdopt(fd, out) })
		return err
	})
	return r, err
}

func madeReader(open func(**raw.MetricsReader) error) (*MetricsReader, error) {
	p, err := made(open)
	if err != nil {
		return nil, err
	}
	r := &MetricsReader{p: p}
	runtime.SetFinalizer(r, forgotten[*MetricsReader])
	return r, nil
}

// Close stops looking.
func (r *MetricsReader) Close() error {
	runtime.SetFinalizer(r, nil)
	if r.life.end() {
		raw.MetricsReaderFree(r.p)
	}
	return nil
}

func (r *MetricsReader) do(call func() error) error {
	if err := r.life.enter(); err != nil {
		return err
	}
	defer r.life.leave()
	defer runtime.KeepAlive(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	return call()
}

// Info says whose page it is.
func (r *MetricsReader) Info() (MetricsInfo, error) {
	var info raw.MetricsInfo
	err := r.do(func() error { return raw.MetricsReaderGetInfo(r.p, &info) })
	return MetricsInfo{Version: int(info.Version), PID: int(info.Pid), MaxRows: int(info.MaxRows),
		Interval: time.Duration(info.IntervalMS) * time.Millisecond, Name: cstring(info.Name[:])}, err
}

// Connections are what is shown of each connection.
func (r *MetricsReader) Connections() ([]MetricsRow, error) { return r.rows(MetricsConnection) }

// Queues are what is shown of each queue.
func (r *MetricsReader) Queues() ([]MetricsRow, error) { return r.rows(MetricsQueue) }

func (r *MetricsReader) rows(kind uint32) (found []MetricsRow, err error) {
	err = r.do(func() error {
		for from := uint32(0); ; {
			var row raw.MetricsRow
			n, err := raw.MetricsReaderNext(r.p, kind, from, &row).Get()
			if err != nil || n == 0 {
				return err
			}
			found = append(found, rowOf(&row))
			from = row.Row + 1
		}
	})
	return found, err
}

// A stamp may be of a moment after the one at which the row was read.
func sinceThen(now, then uint64) time.Duration {
	if now < then {
		return 0
	}
	return time.Duration(now - then)
}

func rowOf(row *raw.MetricsRow) MetricsRow {
	out := MetricsRow{Row: int(row.Row), Connection: int(row.Connection), Name: cstring(row.Name[:]),
		Address: cstring(row.Address[:]), Values: map[string]any{}}
	for i, p := range metricsProperties[row.Kind] {
		value := row.Values[i]
		switch {
		case p.Type == MetricsText && p.Space == 0:
			out.Values[p.Name] = out.Name
		case p.Type == MetricsText:
			out.Values[p.Name] = out.Address
		case i >= int(row.NValues) || value == MetricsUnknown:
		case p.Type == MetricsTime && value == 0:
		case p.Type == MetricsTime:
			out.Values[p.Name] = sinceThen(row.NowNS, value)
		case p.Type == MetricsChoice:
			out.Values[p.Name] = raw.MetricsChoice(row.Kind, uint32(i), value)
		case p.Type == MetricsRequest && value == 0:
		case p.Type == MetricsRequest:
			out.Values[p.Name] = raw.MsgName(MsgChannelMain, uint32(value))
		default:
			out.Values[p.Name] = value
		}
	}
	return out
}

// OpenMetrics is all that is counted, in the OpenMetrics text format.
func (r *MetricsReader) OpenMetrics() (text []byte, err error) {
	err = r.do(func() error {
		for {
			n, err := raw.MetricsReaderOpenmetrics(r.p, text)
			if err != nil {
				return err
			}
			if n < len(text) {
				text = text[:n]
				return nil
			}
			text = make([]byte, n+4096)
		}
	})
	return text, err
}
