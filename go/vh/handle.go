// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package vh

import (
	"context"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A handle is apart from the object that it belongs to, so that others may know it and the collector still finds that
// object unused. It lets one call at a time into the library. What that call's callbacks call in turn comes on the same thread,
// which belongs to the goroutine until the call is over, and is let in.
type handle struct {
	held   chan struct{}
	thread atomic.Int32 // that is inside, 0 = none
	depth  int
	closed atomic.Bool
	over   chan struct{} // closed with it: who waits to be let in need not any more
	dead   bool          // a callback ended its goroutine
	frees  []func()      // of what callbacks closed
	caught *caught
	life   life
}

func newHandle(c *caught) *handle {
	return &handle{held: make(chan struct{}, 1), over: make(chan struct{}), caught: c}
}

// enter is followed by leave, unless it failed.
func (h *handle) enter(ctx context.Context) error {
	err := h.acquire(ctx, h.over)
	if err != nil {
		return err
	}
	switch {
	case h.dead:
		err = ErrGoexit
	case h.closed.Load():
		err = os.ErrClosed
	default:
		return nil
	}
	h.leave()
	return err
}

func (h *handle) acquire(ctx context.Context, over <-chan struct{}) error {
	runtime.LockOSThread()
	thread := int32(syscall.Gettid())
	if h.thread.Load() != thread {
		select {
		case h.held <- struct{}{}:
		case <-ctx.Done():
			runtime.UnlockOSThread()
			return ctx.Err()
		case <-over:
			runtime.UnlockOSThread()
			return os.ErrClosed
		}
		h.thread.Store(thread)
	}
	h.depth++
	return nil
}

// busy: another goroutine is inside.
func (h *handle) busy() bool {
	thread := h.thread.Load()
	return thread != 0 && thread != int32(syscall.Gettid())
}

// leave goes on with a panic of the callbacks, if there was one, once the library is left.
func (h *handle) leave() {
	var c outcome
	if h.depth == 1 {
		c = h.settle()
	} else {
		h.depth--
	}
	runtime.UnlockOSThread()
	if c.panicked {
		panic(c.value)
	}
}

// settle ends the outermost call: frees what its callbacks closed, and tells what came out of all of them.
func (h *handle) settle() (c outcome) {
	defer func() { // also when a destroy ends the goroutine
		h.collect(&c)
		h.depth = 0
		h.thread.Store(0)
		<-h.held
	}()
	for h.collect(&c); len(h.frees) > 0 && !h.dead; h.collect(&c) {
		free := h.frees[0]
		h.frees = h.frees[1:]
		free()
	}
	return c
}

func (h *handle) collect(all *outcome) {
	c := h.caught.take()
	h.dead = h.dead || c.goexit
	if !all.panicked {
		all.panicked, all.value = c.panicked, c.value
	}
}

// last frees, once no call is inside any more: the library does not expect that of a callback.
func (h *handle) last(free func()) {
	if h.depth > 1 {
		h.frees = append(h.frees, free)
	} else {
		free()
	}
}

// do is one call that does not block.
func (h *handle) do(call func() error) error {
	if err := h.enter(context.Background()); err != nil {
		return err
	}
	defer h.leave()
	return h.told(call())
}

// told is the error of a call. One that the handle was closed under, by a callback or by another goroutine, says so.
func (h *handle) told(err error) error {
	if err != nil && h.closed.Load() {
		return os.ErrClosed
	}
	return err
}

// shut is for the last call; closing what is closed already is fine. What hangs on the handle is refused from then on.
// Interrupt ends a call that waits, if the handle has such.
func (h *handle) shut(interrupt, free func()) error {
	if !h.closed.CompareAndSwap(false, true) {
		return nil
	}
	close(h.over)
	if interrupt != nil && h.busy() {
		interrupt()
	}
	h.acquire(context.Background(), nil)
	defer h.leave()
	if h.dead {
		return ErrGoexit
	}
	h.last(func() {
		h.life.end()
		free()
	})
	return nil
}

// forgotten closes what nobody closed. Closing may wait, and all finalizers share a goroutine: hence one of its own.
func forgotten[T io.Closer](x T) { go x.Close() }

// made is a handle that a call gives. The library writes it to a place of its own: cgo looks at the whole object.
func made[T any](call func(out **T) error) (*T, error) {
	out := new(*T)
	err := call(out)
	return *out, err
}

// caught is what came out of callbacks during one call into the library.
type caught struct {
	mu sync.Mutex // log lines may come from any call
	outcome
}

type outcome struct {
	value    any
	panicked bool
	err      error // the first that was not just an errno value
	goexit   bool
}

func (c *caught) take() outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.outcome
	c.outcome = outcome{}
	return got
}

// takeErr is the error that a callback returned during this call.
func (c *caught) takeErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.err
	c.err = nil
	return err
}

// run is one callback. C gets the errno value of its error. One that is not just a number is told to the caller as well.
func (c *caught) run(callback func() error) int32 {
	err := c.guard(callback)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goexit { // it came back, so it was panic(nil)
		c.goexit, c.panicked = false, true
	}
	if _, number := err.(syscall.Errno); err != nil && !number && c.err == nil {
		c.err = err
	}
	return code(err)
}

// guard keeps a panic from unwinding the library's frames: it goes on in leave. Goexit can't be kept from that.
func (c *caught) guard(callback func() error) (err error) {
	finished := false
	defer func() {
		if finished {
			return
		}
		value := recover()
		c.mu.Lock()
		defer c.mu.Unlock()
		if value == nil {
			c.goexit = true
		} else if !c.panicked {
			c.panicked, c.value = true, value
		}
		err = syscall.ECANCELED
	}()
	err = callback()
	finished = true
	return err
}

// life is shared by a handle and what hangs on it, such as its queues: once it ends, their calls are refused, and who
// waits is woken.
type life struct {
	users  atomic.Int64
	mu     sync.Mutex
	sleeps map[*waiter]bool
}

const over = -1 << 40

// enter is followed by leave, unless it failed.
func (l *life) enter() error {
	if l.users.Add(1) <= 0 {
		l.users.Add(-1)
		return os.ErrClosed
	}
	return nil
}

func (l *life) leave() { l.users.Add(-1) }

// end waits for the calls in progress, of which Queue.Each may take long; whether it was the first to come.
func (l *life) end() bool {
	for {
		n := l.users.Load()
		if n < 0 {
			return false
		}
		if l.users.CompareAndSwap(n, n+over) {
			break
		}
	}
	for tries := 0; l.users.Load() != over; tries++ {
		if tries < 100 {
			runtime.Gosched()
		} else {
			time.Sleep(100 * time.Microsecond)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.sleeps {
		w.close()
	}
	l.sleeps = nil
	return true
}

// watch is for who is inside: the waiter is closed when the life ends.
func (l *life) watch(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sleeps == nil {
		l.sleeps = map[*waiter]bool{}
	}
	l.sleeps[w] = true
}

func (l *life) forget(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sleeps, w)
}
