// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libvh/libvh/go/internal/raw"
)

// look is how often a waiting goroutine looks whether the connection is still there: another's call may have seen its end.
const look = 100 * time.Millisecond

// between is how long a goroutine that never sleeps looks at a queue before it looks at the connection.
const between = time.Millisecond

// sleeps are the waiters of who drives the queues of a session, one for each queue.
type sleeps struct {
	mu     sync.Mutex
	of     map[int]*sleeper
	closed bool
}

// sleeper waits at a queue.
type sleeper struct {
	*waiter
	q    *raw.Queue
	spin atomic.Int64 // nanoseconds: less where it was in vain lately
}

// wait parks the goroutine until ready, a call of the library with a time-out of 0, is. The connection is served meanwhile.
// Before, it spins for what comes into the queue, if that is all that is waited for and the session's options want it.
func (s *sleeps) wait(ctx context.Context, d *Driver, queue int, spins bool, ready func() error) error {
	var w *sleeper
	err := d.do(func() (err error) {
		w, err = s.sleeper(d, queue)
		return err
	})
	if err != nil {
		return err
	}
	if spins && d.spin > 0 {
		began := time.Now()
		defer func() { w.learn(int64(d.spin), int64(time.Since(began))) }()
		if w.found(d.s, began.Add(time.Duration(w.spin.Load()))) {
			return nil
		}
	}
	for {
		if err := d.do(ready); !errors.Is(err, syscall.ETIMEDOUT) {
			return err
		}
		if !d.sleepless {
			err = w.wait(ctx, look)
		} else if err = ctx.Err(); err == nil && w.found(d.s, time.Now().Add(between)) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// found looks at the queue until there is something, and lets others run meanwhile. A queue with a failure is for the caller to
// tell of.
func (w *sleeper) found(s *session, end time.Time) (found bool) {
	for now := time.Now(); now.Before(end); now = time.Now() {
		err := s.use(func() error {
			state, err := raw.QueueLook(w.q).Get()
			found = state == QueueMore
			return err
		})
		if found || err != nil {
			return found
		}
		runtime.Gosched()
	}
	return false
}

// learn: spinning that would have been enough is done next time, and less of it where it was in vain.
func (w *sleeper) learn(most, took int64) {
	switch spin := w.spin.Load(); {
	case took <= most:
		w.spin.Store(most)
	case spin > most/8:
		w.spin.Store(spin / 2)
	default:
		w.spin.Store(0)
	}
}

// sleeper waits for the queue and for the connection.
func (s *sleeps) sleeper(d *Driver, queue int) (*sleeper, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, os.ErrClosed
	}
	if w := s.of[queue]; w != nil {
		return w, nil
	}
	w := &sleeper{}
	if err := raw.DriverQueue(d.s.p, u32(queue), &w.q); err != nil {
		return nil, err
	}
	fd, err := raw.QueueFD(w.q).Get()
	if err != nil {
		return nil, err
	}
	session, err := raw.DriverFD(d.s.p).Get()
	if err != nil {
		return nil, err
	}
	if w.waiter, err = waiterFor(fd, session); err != nil {
		return nil, err
	}
	w.spin.Store(int64(d.spin))
	if s.of == nil {
		s.of = map[int]*sleeper{}
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
