// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"os"

	"github.com/libvh/libvh/go/internal/raw"
)

// InflightInfo says what a file of inflight records has room for, and where they are in it.
type InflightInfo = raw.Inflight

// Inflight is a file of records of what is in flight, by which a back-end that crashed is continued.
type Inflight struct {
	InflightInfo
	File *os.File
}

// Close closes the file; whoever was given it keeps it.
func (i *Inflight) Close() error { return i.File.Close() }

// NewInflight is a new file, in which nothing is in flight. Of the features RingPacked counts.
func NewInflight(numQueues, queueSize uint32, features uint64) (*Inflight, error) {
	return newInflight(func(info *raw.Inflight, fd *int32) error {
		return raw.InflightMake(numQueues, queueSize, features, info, fd)
	})
}

func newInflight(get func(*raw.Inflight, *int32) error) (*Inflight, error) {
	i, fd := &Inflight{}, int32(-1)
	err := get(&i.InflightInfo, &fd)
	i.File = fileCame(fd, "inflight records", err)
	if err != nil {
		return nil, err
	}
	return i, nil
}

// Start starts a stand-alone queue that was opened with QueueHold, or stopped.
func (q *Queue) Start() error { return q.call(func() error { return raw.QueueStart(q.p) }) }

// SetInflight has a stand-alone queue that stands keep records, from its next start on; nil: none. What they say was in
// flight is popped first, with ReqResubmitted.
func (q *Queue) SetInflight(i *Inflight) error {
	if i == nil {
		return q.call(func() error { return raw.QueueSetInflight(q.p, nil, -1) })
	}
	return withFd(i.File, func(fd int32) error {
		return q.call(func() error { return raw.QueueSetInflight(q.p, &i.InflightInfo, fd) })
	})
}

// Inflight is a new file for records of what is in flight, from the back-end.
func (m *Master) Inflight(ctx context.Context, numQueues, queueSize uint32) (*Inflight, error) {
	return newInflight(func(info *raw.Inflight, fd *int32) error {
		return m.tell(ctx, func(p *raw.Master) error { return raw.MasterGetInflight(p, numQueues, queueSize, info, fd) })
	})
}

// SetInflight has the back-end keep its records there, and first do again what they say was in flight. On every connection,
// before rings start.
func (m *Master) SetInflight(ctx context.Context, i *Inflight) error {
	if i == nil {
		return missing("inflight records")
	}
	return withFd(i.File, func(fd int32) error {
		return m.tell(ctx, func(p *raw.Master) error { return raw.MasterSetInflight(p, &i.InflightInfo, fd) })
	})
}

// VringBaseSkipDrain stops a ring and leaves what is in flight in the records; where it goes on, behind that.
func (m *Master) VringBaseSkipDrain(ctx context.Context, queue uint32) (uint32, error) {
	return ask(ctx, m, func(p *raw.Master, base *uint32) error { return raw.MasterGetVringBaseSkipDrain(p, queue, base) })
}

// VringKick is a kick by message, with PFInbandNotifications.
func (m *Master) VringKick(ctx context.Context, queue uint32) error {
	return m.tell(ctx, func(p *raw.Master) error { return raw.MasterVringKick(p, queue) })
}
