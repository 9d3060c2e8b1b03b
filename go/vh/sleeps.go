// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/libvh/libvh/go/internal/raw"
)

// look is how often a waiting goroutine looks whether the connection is still there: another's call may have seen its end.
const look = 100 * time.Millisecond

// sleeps are the waiters of who drives the queues of a session, one for each queue.
type sleeps struct {
	mu     sync.Mutex
	of     map[int]*waiter
	closed bool
}

// wait parks the goroutine until ready, a call of the library with a time-out of 0, is. The connection is served meanwhile.
func (s *sleeps) wait(ctx context.Context, d *Driver, queue int, ready func() error) error {
	for {
		var w *waiter
		err := d.do(func() (err error) {
			if w, err = s.waiter(d, queue); err != nil {
				return err
			}
			return ready()
		})
		if !errors.Is(err, syscall.ETIMEDOUT) {
			return err
		}
		if err := w.wait(ctx, look); err != nil {
			return err
		}
	}
}

// waiter waits for the queue and for the connection.
func (s *sleeps) waiter(d *Driver, queue int) (*waiter, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, os.ErrClosed
	}
	if w := s.of[queue]; w != nil {
		return w, nil
	}
	var q *raw.Queue
	if err := raw.DriverQueue(d.s.p, u32(queue), &q); err != nil {
		return nil, err
	}
	fd, err := raw.QueueFD(q).Get()
	if err != nil {
		return nil, err
	}
	session, err := raw.DriverFD(d.s.p).Get()
	if err != nil {
		return nil, err
	}
	w, err := waiterFor(fd, session)
	if err != nil {
		return nil, err
	}
	if s.of == nil {
		s.of = map[int]*waiter{}
	}
	s.of[queue] = w
	return w, nil
}

func (s *sleeps) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.of {
		w.close()
	}
	s.of, s.closed = nil, true
}
