// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

// Package launchtest has a launch.Launcher that starts no programs, for tests of those who use one.
//
// What it "starts" listens on a real socket, so that whoever is given the path can connect; how it fails is for the test to say.
package launchtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/libvh/libvh/go/launch"
)

// Launcher is what a test gives to the code that it tests.
type Launcher struct {
	Installed []launch.Description                 // what there is; Discover leaves out those with a Problem
	Can       map[string]launch.Capabilities       // by binary; another one is NotFound
	OnStart   func(c launch.Command) error         // may refuse, nil = never
	Serve     func(p *Process, conn *net.UnixConn) // for each connection, on a goroutine; nil = nothing is answered

	mu      sync.Mutex
	started []*Process
}

var _ launch.Launcher = (*Launcher)(nil)

// Descriptions is what the test has said.
func (l *Launcher) Descriptions() []launch.Description { return l.Installed }

// Discover is those of a type.
func (l *Launcher) Discover(kind string) []launch.Description {
	found := []launch.Description{}
	for _, d := range l.Installed {
		if d.Problem == "" && launch.OfType(kind, d.Type) {
			found = append(found, d)
		}
	}
	return found
}

// Capabilities is what the test has said of that program.
func (l *Launcher) Capabilities(ctx context.Context, command ...string) (*launch.Capabilities, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(command) > 0 {
		if can, has := l.Can[command[0]]; has {
			return &can, nil
		}
	}
	return nil, &launch.Error{Kind: launch.NotFound, Errno: syscall.ENOENT, Text: fmt.Sprintf("there is no %v", command)}
}

// Find is the first that has all those features.
func (l *Launcher) Find(ctx context.Context, kind string, features ...string) (*launch.Description, *launch.Capabilities, error) {
	for _, d := range l.Discover(kind) {
		d := d
		if can, err := l.Capabilities(ctx, d.Binary); err == nil && can.Has(features...) {
			return &d, can, nil
		}
	}
	return nil, nil, &launch.Error{Kind: launch.NotFound, Errno: syscall.ENOENT, Text: "no back-end of type " + kind + " is installed"}
}

// Start "starts" something that listens.
func (l *Launcher) Start(ctx context.Context, c launch.Command) (launch.Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l.OnStart != nil {
		if err := l.OnStart(c); err != nil {
			return nil, err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &Process{Command: c, pid: 1<<22 + len(l.started) + 1, done: make(chan struct{})} // no process has such a number
	if err := p.open(l.Serve); err != nil {
		return nil, err
	}
	l.started = append(l.started, p)
	return p, nil
}

// Started is all that was started, in that order, ended or not.
func (l *Launcher) Started() []*Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*Process{}, l.started...)
}

// Process is what it has started.
type Process struct {
	Command launch.Command // as it was asked for

	pid      int
	path     string
	dir      string // of its own
	conn     *net.UnixConn
	listener net.Listener
	done     chan struct{}
	once     sync.Once
	mu       sync.Mutex
	output   string
	code     int
	stopped  bool
}

var _ launch.Process = (*Process)(nil)

func (p *Process) open(serve func(*Process, *net.UnixConn)) (err error) {
	if serve == nil {
		serve = func(p *Process, _ *net.UnixConn) { <-p.done }
	}
	if p.Command.How == launch.Connected {
		return p.connect(serve)
	}
	if p.path = p.Command.Socket; p.path == "" {
		if p.dir, err = os.MkdirTemp("", "vh-"); err != nil {
			return err
		}
		p.path = filepath.Join(p.dir, "socket")
	}
	f, err := launch.Listen(p.path, 0o600)
	if err != nil {
		os.RemoveAll(p.dir)
		return err
	}
	defer f.Close()
	if p.listener, err = net.FileListener(f); err != nil {
		return err
	}
	go func() {
		for {
			c, err := p.listener.Accept()
			if err != nil {
				return
			}
			go p.serve(serve, c.(*net.UnixConn))
		}
	}()
	return nil
}

func (p *Process) serve(serve func(*Process, *net.UnixConn), c *net.UnixConn) {
	defer c.Close()
	serve(p, c)
}

func (p *Process) connect(serve func(*Process, *net.UnixConn)) error {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var conns [2]*net.UnixConn
	for i, fd := range pair {
		f := os.NewFile(uintptr(fd), "connection")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			return err
		}
		conns[i] = c.(*net.UnixConn)
	}
	p.conn = conns[0]
	go p.serve(serve, conns[1])
	return nil
}

// Say adds to its output.
func (p *Process) Say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.output += text
}

// Exit ends it by itself, with that exit code; -N is signal N.
func (p *Process) Exit(code int) { p.end(code, false) }

func (p *Process) end(code int, stopped bool) {
	p.once.Do(func() {
		p.mu.Lock()
		p.code, p.stopped = code, stopped
		p.mu.Unlock()
		if p.listener != nil {
			p.listener.Close()
			os.Remove(p.path)
		}
		if p.dir != "" {
			os.RemoveAll(p.dir)
		}
		close(p.done)
	})
}

// Stopped says whether Stop or Close ended it.
func (p *Process) Stopped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped
}

// PID is a number that no process has.
func (p *Process) PID() int { return p.pid }

// Path is that of its socket.
func (p *Process) Path() string { return p.path }

// Conn is the other end of the connection that it was started with.
func (p *Process) Conn() *net.UnixConn { return p.conn }

// Done is closed when it has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Output is what the test let it say.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output
}

// Err is Died when the test ended it with another code than 0.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.code == 0 || p.stopped {
		return nil
	}
	return &launch.Error{Kind: launch.Died, Errno: syscall.ECHILD, Text: fmt.Sprintf("it ended with %d", p.code), Output: p.output, Code: p.code}
}

// Wait is until it has ended.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.code, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Stop ends it at once.
func (p *Process) Stop(context.Context) error {
	p.end(-int(syscall.SIGTERM), true)
	return p.Err()
}

// Close is Stop, and closes the connection.
func (p *Process) Close() error {
	if p.conn != nil {
		p.conn.Close()
	}
	return p.Stop(context.Background())
}
