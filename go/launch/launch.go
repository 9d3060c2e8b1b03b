// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

// Package launch starts vhost-user back-ends: it finds installed ones by their JSON descriptions, asks them for their
// capabilities, gives them a socket, waits until they listen without using up the one connection that some of them serve, tells
// of their end with their last words, and tidies up. It is plain Go and needs neither cgo nor the library.
//
//	b, err := launch.Start(ctx, launch.Command{Words: []string{"vhctl", "serve", "blk", "--ram", "1G"}})
//	if err != nil { ... }   // errors.Is(err, launch.Died): its last words are in the text
//	defer b.Close()
//	fmt.Println(b.Path())
//
// Who wants to test without programs takes a Launcher: launchtest has one that starts nothing. docs/launch.md tells more; Python's
// vh.launch does the same.
package launch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// How a program gets its socket, when its words have no {socket} and no {fd}.
type How string

const (
	BySocket  How = "socket"    // --socket-path=PATH is added; it listens by itself. The default.
	ByFD      How = "fd"        // --fd=N is added, a socket that listens already
	Connected How = "connected" // --fd=N is added, one end of a connection; Conn is the other
)

// DefaultGrace is from SIGTERM to SIGKILL.
const DefaultGrace = 5 * time.Second

// Command is what is to be started, and how.
type Command struct {
	Words    []string      // {socket} becomes the path of the socket, {fd} the number of an inherited one
	How      How           // for words without these
	Socket   string        // where; "" = in a folder of its own, which goes with it. It may be longer than NameMax
	Listener *os.File      // a socket that listens already, for ByFD, such as Listen makes; it stays the caller's
	Env      []string      // nil = ours
	Dir      string        // in which it runs
	Files    []*os.File    // it has them as 3, 4 ...
	Log      io.Writer     // gets all that it writes
	PidFile  string        // gets its number, and goes with it
	Grace    time.Duration // 0 = DefaultGrace
	Alone    bool          // what it has started stays when it has ended
	Prompt   bool          // it reads from a terminal as a rule: its stdin stays open, and nothing comes there
}

// Process is a back-end that runs.
type Process interface {
	PID() int
	Path() string                          // of its socket; "" = it has a connection instead
	Conn() *net.UnixConn                   // to a Connected one, nil otherwise
	Done() <-chan struct{}                 // closed when it has ended, and was tidied up after
	Err() error                            // nil: it runs, or ended with 0, or was told to end
	Wait(ctx context.Context) (int, error) // its exit code, -N for signal N; an error is that of the context
	Stop(ctx context.Context) error        // SIGTERM; SIGKILL after the grace, or when the context ends
	Close() error                          // Stop, and the connection is closed
	Output() string                        // the last 64 KiB of what it wrote
}

// Launcher is what Host does, for those who want to put something else in its place.
type Launcher interface {
	Descriptions() []Description
	Discover(kind string) []Description
	Capabilities(ctx context.Context, command ...string) (*Capabilities, error)
	Find(ctx context.Context, kind string, features ...string) (*Description, *Capabilities, error)
	Start(ctx context.Context, c Command) (Process, error)
}

// Host is this machine.
type Host struct {
	Dirs []string // where descriptions lie, nil = Folders()
}

var _ Launcher = (*Host)(nil)

// Backend is a program that Start has started.
type Backend struct {
	Command []string // with what it was started

	child    *child
	conn     *net.UnixConn
	path     string
	words    words
	grace    time.Duration
	after    []func() // what is done when it has ended, the last first
	mu       sync.Mutex
	stopping bool
	late     bool
	waited   time.Duration // from SIGTERM to SIGKILL
	listened bool
	socket   os.FileInfo // which file it listens on
}

var _ Process = (*Backend)(nil)

// Start starts a back-end, and comes back when it listens. The context is for that only: what runs is ended by Stop or Close.
// Died, with its last words, as soon as it ends before; TimedOut after 10 s unless the context says otherwise; NotFound; InUse.
func (h *Host) Start(ctx context.Context, c Command) (Process, error) {
	b, err := Start(ctx, c)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Start is that of a Host.
func Start(ctx context.Context, c Command) (*Backend, error) {
	words, how, err := c.words()
	if err != nil {
		return nil, err
	}
	b := &Backend{Command: words, grace: c.Grace}
	if b.grace <= 0 {
		b.grace = DefaultGrace
	}
	inherited, err := b.prepare(c, how)
	if err == nil {
		err = b.run(c, how, inherited)
	}
	if inherited != nil && inherited != c.Listener {
		inherited.Close()
	}
	if err != nil && b.child == nil { // nothing was started
		b.tidy()
	}
	if err == nil {
		err = b.ready(ctx, c, how)
	}
	if err != nil {
		b.end(err)
		return nil, err
	}
	return b, nil
}

// words gives the command with the option that tells of the socket.
func (c *Command) words() ([]string, How, error) {
	how := c.How
	if how == "" {
		if how = BySocket; c.Listener != nil {
			how = ByFD
		}
	}
	option, known := map[How]string{BySocket: "--socket-path={socket}", ByFD: "--fd={fd}", Connected: "--fd={fd}"}[how]
	line := strings.Join(c.Words, " ")
	byPath, byFD := strings.Contains(line, "{socket}"), strings.Contains(line, "{fd}")
	switch {
	case len(c.Words) == 0 || c.Words[0] == "":
		return nil, "", errors.New("a command has at least one word")
	case !known:
		return nil, "", fmt.Errorf("there is no How %q", how)
	case byPath && byFD:
		return nil, "", errors.New("{socket} and {fd} exclude each other")
	case byPath:
		return c.Words, BySocket, nil
	case byFD && how == Connected:
		return c.Words, how, nil
	case byFD:
		return c.Words, ByFD, nil
	}
	return append(append([]string{}, c.Words...), option), how, nil
}

// prepare makes what the program inherits: a socket, or the folder of one whose path is too long; nil = nothing.
func (b *Backend) prepare(c Command, how How) (*os.File, error) {
	if how == Connected {
		return b.connected()
	}
	if err := b.place(c); err != nil {
		return nil, err
	}
	if how == ByFD && c.Listener != nil {
		return c.Listener, nil
	}
	if how == ByFD {
		f, err := Listen(b.path, 0o600)
		if err == nil {
			b.socket, _ = os.Stat(b.path)
			b.goesWithIt()
		}
		return f, err
	}
	if err := makeRoom(b.path); err != nil {
		return nil, err
	}
	b.goesWithIt()
	if _, err := os.Stat(filepath.Dir(b.path)); err != nil {
		return nil, failed(filepath.Dir(b.path), err)
	}
	return throughFolder(b.path)
}

func (b *Backend) connected() (*os.File, error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, failed("socketpair", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "connection"), os.NewFile(uintptr(pair[1]), "connection")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, err
	}
	b.conn = conn.(*net.UnixConn)
	return theirs, nil
}

// place finds out where its socket is to be.
func (b *Backend) place(c Command) (err error) {
	if c.Socket != "" {
		b.path, err = filepath.Abs(c.Socket)
		return err
	}
	if c.Listener != nil {
		if name, err := syscall.Getsockname(int(c.Listener.Fd())); err == nil {
			if unix, is := name.(*syscall.SockaddrUnix); is {
				b.path = unix.Name
			}
		}
		return nil
	}
	dir, err := "", error(nil)
	if parent := os.Getenv("XDG_RUNTIME_DIR"); parent != "" {
		dir, err = os.MkdirTemp(parent, "vh-")
	}
	if dir == "" {
		dir, err = os.MkdirTemp("", "vh-")
	}
	if err != nil {
		return failed("a folder", err)
	}
	b.after = append(b.after, func() { os.RemoveAll(dir) })
	b.path = filepath.Join(dir, "socket")
	return nil
}

// goesWithIt: the socket that it listened on, or one that it never listened on; and PATH.pid, where virtiofsd has its number.
func (b *Backend) goesWithIt() {
	b.after = append(b.after, func() {
		b.mu.Lock()
		socket := b.socket
		b.mu.Unlock()
		if now, err := os.Lstat(b.path); socket == nil {
			_ = makeRoom(b.path)
		} else if err == nil && os.SameFile(now, socket) {
			os.Remove(b.path)
		}
		if text, err := os.ReadFile(b.path + ".pid"); err == nil && b.child != nil &&
			strings.TrimSpace(string(text)) == strconv.Itoa(b.PID()) {
			os.Remove(b.path + ".pid")
		}
	})
}

// run starts the program.
func (b *Backend) run(c Command, how How, inherited *os.File) error {
	name, number := b.path, ""
	files := append([]*os.File{}, c.Files...)
	if inherited != nil {
		fd := 3 + len(files)
		files = append(files, inherited)
		if how == BySocket {
			var err error
			if name, err = through(fd, filepath.Base(b.path)); err != nil {
				return err
			}
		} else {
			number = strconv.Itoa(fd)
		}
	}
	argv := make([]string, len(b.Command))
	for i, word := range b.Command {
		argv[i] = strings.ReplaceAll(strings.ReplaceAll(word, "{socket}", name), "{fd}", number)
	}
	b.Command = argv
	out, err := newOutput(func(data []byte) {
		b.words.take(data)
		if c.Log != nil {
			_, _ = c.Log.Write(data) // a full disk is no reason to hold up the program
		}
	})
	if err != nil {
		return err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = c.Env, c.Dir, files, out.to, out.to
	if c.Prompt {
		stdin, err := b.silence()
		if err != nil {
			out.begin()
			out.finish()
			return err
		}
		defer stdin.Close() // it has its own
		cmd.Stdin = stdin
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.child, err = run(cmd, c.Alone, func() {
		out.finish()
		b.mu.Lock() // Start has told what there is to do
		after := b.after
		b.mu.Unlock()
		for i := len(after) - 1; i >= 0; i-- {
			after[i]()
		}
	})
	out.begin()
	if err != nil {
		out.finish()
		return err
	}
	if c.PidFile != "" {
		b.after = append(b.after, func() { os.Remove(c.PidFile) })
		if err := os.WriteFile(c.PidFile, []byte(strconv.Itoa(b.PID())+"\n"), 0o644); err != nil {
			return failed(c.PidFile, err)
		}
	}
	return nil
}

// silence is a pipe where nothing comes as long as the program runs.
func (b *Backend) silence() (*os.File, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, failed("pipe", err)
	}
	b.after = append(b.after, func() { write.Close() })
	return read, nil
}

func (b *Backend) tidy() {
	for i := len(b.after) - 1; i >= 0; i-- {
		b.after[i]()
	}
}

// ready waits until it listens.
func (b *Backend) ready(ctx context.Context, c Command, how How) error {
	if how == BySocket {
		there, err := waitListening(ctx, b.path, b.PID(), b.child.ended)
		if err != nil {
			return err
		}
		if !there {
			return b.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listened = true
	if how == BySocket {
		b.socket, _ = os.Stat(b.path)
	}
	return nil
}

// end is that of one that was not started whole.
func (b *Backend) end(err error) {
	if b.conn != nil {
		b.conn.Close()
	}
	if b.child == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = b.Stop(ctx)
	var e *Error
	if errors.As(err, &e) && e.Output == "" {
		e.Output = b.words.text(tail)
	}
}

// PID is its number.
func (b *Backend) PID() int { return b.child.cmd.Process.Pid }

// Path is that of its socket.
func (b *Backend) Path() string { return b.path }

// Conn is the other end of the connection that it was started with.
func (b *Backend) Conn() *net.UnixConn { return b.conn }

// Done is closed when it has ended.
func (b *Backend) Done() <-chan struct{} { return b.child.ended }

// Output is the last 64 KiB of what it wrote to stdout and stderr.
func (b *Backend) Output() string { return b.words.text(keep + 1) }

// Err is nil while it runs, when it ended with 0, and when Stop ended it. Died: it ended otherwise. TimedOut: it had to be killed.
func (b *Backend) Err() error {
	select {
	case <-b.child.ended:
	default:
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	who, code := b.Command[0], b.child.code
	switch {
	case b.late:
		return timedOut(b.words.text(tail), "%s: no end %s s after SIGTERM, so it was killed", who, seconds(b.waited))
	case b.stopping || code == 0 && b.listened:
		return nil
	}
	text := who + ": it ended with " + howItEnded(code)
	if !b.listened {
		text += " before it listened"
	}
	if code == 0 {
		text += "; does it go into the background? It must stay in front"
	}
	return &Error{Kind: Died, Errno: syscall.ECHILD, Text: text, Output: b.words.text(tail), Code: code}
}

// Wait is until it has ended: its exit code, -N for signal N.
func (b *Backend) Wait(ctx context.Context) (int, error) {
	select {
	case <-b.child.ended:
		return b.child.code, nil
	default:
	}
	select {
	case <-b.child.ended:
		return b.child.code, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// Stop sends SIGTERM, and SIGKILL when it has not ended after the grace, or when the context ends. Then what it has started is
// killed too, and its socket goes. It says what Err does.
func (b *Backend) Stop(ctx context.Context) error {
	select {
	case <-b.child.ended:
		return b.Err()
	default:
	}
	b.mu.Lock()
	b.stopping = true
	b.mu.Unlock()
	b.child.tell(syscall.SIGTERM)
	told := time.Now()
	grace := time.NewTimer(b.grace)
	defer grace.Stop()
	select {
	case <-b.child.ended:
		return b.Err()
	case <-grace.C:
	case <-ctx.Done():
	}
	b.mu.Lock()
	b.late, b.waited = true, time.Since(told)
	b.mu.Unlock()
	b.child.tell(syscall.SIGKILL)
	<-b.child.ended
	return b.Err()
}

// Close is Stop, and closes the connection. Again it does nothing.
func (b *Backend) Close() error {
	if b.conn != nil {
		b.conn.Close()
	}
	return b.Stop(context.Background())
}
