// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = time.Minute

// scenario is a row of launch.json, which Python's vh.launch reads too.
type scenario struct {
	Name     string
	Files    map[string]string
	Type     string
	Found    []string
	Problems map[string]string
	Program  string
	Steps    []string
	How      How
	Long     bool
	Before   string
	Folder   string
	Connect  bool
	Child    bool
	Prompt   bool
	Timeout  float64
	Grace    float64
	Features []string
	Code     int
	Error    string
	Err      string
	Says     []string
}

var kinds = map[string]Kind{"Died": Died, "TimedOut": TimedOut, "NotFound": NotFound, "InUse": InUse, "BadOutput": BadOutput}

func peer() []string {
	path, _ := filepath.Abs("../../tests/data/launch_peer.py")
	return []string{"/usr/bin/python3", "-I", "-S", path}
}

func (s *scenario) words() []string {
	if s.Program != "" {
		return append([]string{s.Program}, s.Steps...)
	}
	return append(peer(), s.Steps...)
}

func (s *scenario) context() (context.Context, context.CancelFunc) {
	if s.Timeout != 0 {
		return context.WithTimeout(context.Background(), time.Duration(s.Timeout*float64(time.Second)))
	}
	return context.WithTimeout(context.Background(), patience)
}

func (s *scenario) saidSo(t *testing.T, kind string, err error) {
	t.Helper()
	if !errors.Is(err, kinds[kind]) {
		t.Fatalf("%v is not %s", err, kind)
	}
	for _, text := range s.Says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in %q", text, err)
		}
	}
}

func each(t *testing.T, kind string, do func(t *testing.T, s *scenario)) {
	text, err := os.ReadFile("../../tests/data/launch.json")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]*scenario{}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all[kind]) < 10 {
		t.Fatalf("%d scenarios", len(all[kind]))
	}
	for _, s := range all[kind] {
		s := s
		t.Run(s.Name, func(t *testing.T) {
			defer nothingStays(t)()
			do(t, s)
		})
	}
}

func fds(t *testing.T) []string {
	runtime.GC()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	found := []string{}
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.Contains(to, "/fd") && !strings.HasPrefix(to, "anon_inode:") {
			found = append(found, e.Name()+" "+to)
		}
	}
	return found
}

// nothingStays: no fd, no process, no goroutine.
func nothingStays(t *testing.T) func() {
	before, routines := fds(t), runtime.NumGoroutine()
	return func() {
		t.Helper()
		if after := fds(t); !reflect.DeepEqual(before, after) {
			t.Errorf("fds were %v, are %v", before, after)
		}
		var status syscall.WaitStatus
		if pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil); err != syscall.ECHILD {
			t.Errorf("a process stays: %d %v", pid, err)
		}
		for end := time.Now().Add(patience); runtime.NumGoroutine() > routines; runtime.Gosched() {
			if time.Now().After(end) {
				t.Errorf("goroutines: %d, were %d", runtime.NumGoroutine(), routines)
				break
			}
		}
	}
}

func gone(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + string(text) + "/stat")
		if err != nil || bytes.Contains(stat, []byte(") Z ")) {
			return
		}
	}
	t.Errorf("%s is still there", text)
}

func TestDiscovery(t *testing.T) {
	each(t, "discover", func(t *testing.T, s *scenario) {
		top := t.TempDir()
		for name, text := range s.Files {
			path := filepath.Join(top, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz") == "" {
				text = fmt.Sprintf(`{"description": "d", "type": %q, "binary": "/bin/%s"}`, text, text)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		h := Host{Dirs: []string{top + "/home", top + "/etc", top + "/usr"}}
		found := []string{}
		for _, d := range h.Discover(s.Type) {
			name, _ := filepath.Rel(top, d.Path)
			found = append(found, name)
		}
		if !reflect.DeepEqual(found, s.Found) {
			t.Errorf("found %v, not %v", found, s.Found)
		}
		problems := 0
		for _, d := range h.Descriptions() {
			if d.Problem == "" {
				continue
			}
			problems++
			name, _ := filepath.Rel(top, d.Path)
			if said := s.Problems[name]; said == "" || !strings.Contains(d.Problem, said) {
				t.Errorf("%s: %q, not %q", name, d.Problem, said)
			}
		}
		if problems != len(s.Problems) {
			t.Errorf("%d problems, not %d", problems, len(s.Problems))
		}
	})
}

func TestCapabilities(t *testing.T) {
	each(t, "capabilities", func(t *testing.T, s *scenario) {
		child := filepath.Join(t.TempDir(), "child")
		ctx, cancel := s.context()
		defer cancel()
		can, err := (&Host{}).Capabilities(ctx, append(s.words(), "--child="+child)...)
		if s.Error != "" {
			s.saidSo(t, s.Error, err)
		} else if err != nil {
			t.Fatal(err)
		} else if can.Type != s.Type || len(can.Features) != len(s.Features) || !can.Has(s.Features...) {
			t.Errorf("it can %v", can)
		}
		if s.Child {
			gone(t, child)
		}
	})
}

// before makes what lies where the socket is to be; what comes back ends that.
func (s *scenario) before(t *testing.T, path string) func() {
	switch s.Before {
	case "file":
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	case "datagrams":
		conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path})
		if err != nil {
			t.Fatal(err)
		}
		return func() { conn.Close() }
	case "left", "listens":
		f, err := Listen(path, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if s.Before == "listens" {
			return func() { f.Close() }
		}
		f.Close()
	}
	return func() {}
}

func (s *scenario) start(c Command) (*Backend, error) {
	ctx, cancel := s.context()
	defer cancel()
	return Start(ctx, c)
}

func TestStart(t *testing.T) {
	each(t, "start", func(t *testing.T, s *scenario) {
		top := t.TempDir()
		folder := top + "/f"
		if s.Long {
			folder = top + "/" + strings.Repeat("x", 110)
		}
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, s.Folder, "s")
		defer s.before(t, path)()
		c := Command{Words: append(s.words(), "--child="+top+"/child"), How: s.How, Socket: path, Grace: patience, Prompt: s.Prompt}
		if s.Grace != 0 {
			c.Grace = time.Duration(s.Grace * float64(time.Second))
		}
		b, err := s.start(c)
		for s.Error == "TimedOut" && !strings.Contains(err.Error(), s.Says[1]) && s.Timeout < 60 {
			s.Timeout *= 4 // a busy machine: it had not come so far
			b, err = s.start(c)
		}
		if s.Error != "" {
			if b != nil {
				t.Fatal("it was started")
			}
			s.saidSo(t, s.Error, err)
			if errors.Is(err, os.ErrNotExist) != (s.Error == "NotFound") || errors.Is(err, context.DeadlineExceeded) != (s.Error == "TimedOut") {
				t.Errorf("%v is of another kind", err)
			}
		} else if err != nil {
			t.Fatal(err)
		} else {
			s.lives(t, b)
		}
		left, _ := os.ReadDir(folder)
		if want := s.Before == "listens" || s.Before == "datagrams" || s.Before == "file"; (len(left) > 0) != want {
			t.Errorf("left: %v", left)
		}
		if s.Before == "listens" && !Listening(path) {
			t.Error("who listened there does not any more")
		}
		if s.Child {
			gone(t, top+"/child")
		}
	})
}

func (s *scenario) lives(t *testing.T, b *Backend) {
	defer b.Close()
	if s.How == Connected {
		said := make([]byte, 9)
		if n, err := b.Conn().Read(said); err != nil || string(said[:n]) != "here" || b.Path() != "" {
			t.Errorf("it said %q, %v", said[:n], err)
		}
	} else if !Listening(b.Path()) {
		t.Error("it does not listen")
	}
	if s.Connect {
		c, err := Connect(context.Background(), b.Path())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		<-b.Done()
	} else {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := b.Wait(ended); err != context.Canceled || b.Err() != nil {
			t.Errorf("it ended: %v", b.Err())
		}
		_ = b.Stop(context.Background())
	}
	code, err := b.Wait(context.Background())
	if err != nil || code != s.Code {
		t.Errorf("it ended with %d, %v", code, err)
	}
	if s.Err != "" {
		s.saidSo(t, s.Err, b.Err())
	} else if b.Err() != nil || b.Close() != nil || b.Stop(context.Background()) != nil {
		t.Error(b.Err())
	}
}

func TestInAFolderOfItsOwn(t *testing.T) {
	defer nothingStays(t)()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	log, pid := &bytes.Buffer{}, t.TempDir()+"/pid"
	b, err := Start(context.Background(), Command{Words: append(peer(), "say=hello", "bind", "listen", "stay"), Log: log, PidFile: pid})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(pid); string(text) != strconv.Itoa(b.PID())+"\n" {
		t.Error(string(text), err)
	}
	if b.Command[len(b.Command)-1] != "--socket-path="+b.Path() {
		t.Error(b.Command)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if log.String() != "hello\n" || b.Output() != "hello\n" {
		t.Errorf("%q %q", log, b.Output())
	}
	for _, path := range []string{pid, filepath.Dir(b.Path())} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestAListenerOfTheCaller(t *testing.T) {
	defer nothingStays(t)()
	path := t.TempDir() + "/s"
	f, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	null, _ := os.Open(os.DevNull)
	defer null.Close()
	b, err := Start(context.Background(), Command{Words: append(peer(), "inherit", "accept"), Listener: f, Files: []*os.File{null}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Path() != path || b.Command[len(b.Command)-1] != "--fd=4" {
		t.Error(b.Path(), b.Command)
	}
	c, err := Connect(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	<-b.Done()
	if b.Err() != nil || !Listening(path) {
		t.Error(b.Err())
	}
}

func TestStartCanBeCancelled(t *testing.T) {
	defer nothingStays(t)()
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := Start(ctx, Command{Words: append(peer(), "stay")}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWhatMeansNothing(t *testing.T) {
	for _, c := range []Command{{}, {Words: []string{""}}, {Words: []string{"x"}, How: "maybe"}, {Words: []string{"{fd}", "{socket}"}}} {
		if _, err := Start(context.Background(), c); err == nil {
			t.Errorf("%v", c)
		}
	}
	if _, err := Listen("/tmp/"+strings.Repeat("x", 120), 0o600); !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Error(err)
	}
}

func TestHowLongItHad(t *testing.T) {
	b, err := Start(context.Background(), Command{Words: append(peer(), "deaf", "bind", "listen", "stay"), Socket: t.TempDir() + "/s",
		Grace: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := b.Stop(ctx); !errors.Is(err, TimedOut) || strings.Contains(err.Error(), "no end 60 s") {
		t.Error(err)
	}
	for d, text := range map[time.Duration]string{2 * time.Minute: "120", 1500 * time.Millisecond: "1.5", -time.Second: "0"} {
		if said := seconds(d); said != text {
			t.Errorf("%v is %q", d, said)
		}
	}
}

func TestWhatTheDiagnosticsDontKnow(t *testing.T) {
	asked := diagnosed
	defer func() { diagnosed = asked }()
	path := t.TempDir() + "/s"
	theirs, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	diagnosed = func(string) (bool, error) { return false, nil } // as of one in another network namespace
	for i := 0; i < 4; i++ {                                     // more than its backlog has room for
		if _, err := Listen(path, 0o600); !errors.Is(err, InUse) {
			t.Error(err)
		}
	}
	theirs.Close()
	ours, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ours.Close()
}

func TestWhoListens(t *testing.T) {
	asked := diagnosed
	defer func() { diagnosed = asked }()
	for _, how := range []string{"diagnostics", "names"} {
		if how == "names" {
			diagnosed = func(string) (bool, error) { return false, syscall.ENOENT }
		}
		path := t.TempDir() + "/s"
		if Listening(path) {
			t.Error("nothing listens")
		}
		f, err := Listen(path, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := WaitListening(context.Background(), path); err != nil {
			t.Error(how, err)
		}
		f.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		if err := WaitListening(ctx, path); !errors.Is(err, TimedOut) || !strings.Contains(err.Error(), "there is a socket, but nobody") {
			t.Error(how, err)
		}
		cancel()
		name := fmt.Sprintf("@launch-%d-%s", os.Getpid(), how)
		l, err := Listen(name, 0)
		if err != nil {
			t.Fatal(err)
		}
		if !Listening(name) || Listening(name+"x") {
			t.Error(how, name)
		}
		l.Close()
	}
}

func installed(t *testing.T, dir, name string, steps ...string) {
	binary := filepath.Join(dir, name+".sh")
	script := "#!/bin/sh\nexec '" + strings.Join(append(peer(), steps...), "' '") + "' \"$@\"\n"
	if err := os.WriteFile(binary, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(map[string]string{"type": "block", "binary": binary})
	if err := os.WriteFile(filepath.Join(dir, name+".json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestListenThatFailsLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	listenOn = func(int, int) error { return syscall.ENOBUFS }
	t.Cleanup(func() { listenOn = syscall.Listen })
	if _, err := Listen(path, 0o600); !errors.Is(err, syscall.ENOBUFS) {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("its file is left", err)
	}
}

func TestFindSaysWhyOthersWereNotIt(t *testing.T) {
	dir := t.TempDir()
	installed(t, dir, "10-broken", "exit=1")
	installed(t, dir, "20-liar", `out={"type": "net"}`)
	installed(t, dir, "30-poor", `out={"type": "block"}`)
	installed(t, dir, "40-good", `out={"type": "block", "features": ["read-only", "blk-file"]}`)
	h := Host{Dirs: []string{dir}}
	d, can, err := h.Find(context.Background(), "blk", "blk-file")
	if err != nil || d.Name() != "40-good.json" || !can.Has("read-only") {
		t.Fatal(d, can, err)
	}
	_, _, err = h.Find(context.Background(), "block", "teleport")
	lines := strings.Split(fmt.Sprint(err), "\n")
	if !errors.Is(err, NotFound) || len(lines) != 5 || !strings.Contains(lines[1], "exit code 1") ||
		!strings.Contains(lines[2], "it is net") || !strings.Contains(lines[3], "no teleport") {
		t.Error(err)
	}
}

func TestThisMachine(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	dir := os.Getenv("XDG_CONFIG_HOME") + "/qemu/vhost-user"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	installed(t, dir, "00-ours", `out={"type": "block", "features": ["ours"]}`)
	d, _, err := Find(context.Background(), "block", "ours")
	if err != nil || Discover("block")[0].Path != d.Path || Descriptions()[0].Path != d.Path {
		t.Error(d, err)
	}
}

func TestFoldersFollowTheUser(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", "relative")
	t.Setenv("HOME", "/h")
	if got := Folders(); got[0] != "/h/.config/qemu/vhost-user" || len(got) != 3 || sort.StringsAreSorted(got[1:]) == false {
		t.Error(got)
	}
	t.Setenv("XDG_CONFIG_HOME", "/c")
	if got := Folders(); got[0] != "/c/qemu/vhost-user" {
		t.Error(got)
	}
}
