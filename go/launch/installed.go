// SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0

package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	fileMax  = 64 << 10 // bytes of a description, and of what a program says of itself
	depthMax = 32       // of nested lists and objects
	askFor   = 5 * time.Second
)

// Description is a file that tells of an installed back-end.
type Description struct {
	Path        string
	Type        string // "block", "fs", "net" ...
	Binary      string
	Description string
	Tags        []string
	Problem     string // why it can't be used; then there is nothing else
}

// Name is the file's name, by which it is ordered, replaced and hidden.
func (d *Description) Name() string { return filepath.Base(d.Path) }

// Capabilities is what a back-end says of itself.
type Capabilities struct {
	Type     string
	Features []string
	Raw      json.RawMessage // all that it said
}

// Has says whether it has all of these.
func (c *Capabilities) Has(features ...string) bool { return len(c.missing(features)) == 0 }

func (c *Capabilities) missing(features []string) (missing []string) {
	for _, f := range features {
		found := false
		for _, has := range c.Features {
			found = found || has == f
		}
		if !found {
			missing = append(missing, f)
		}
	}
	sort.Strings(missing)
	return missing
}

// Folders is where descriptions lie. One that comes earlier hides files of the same name in those after it.
func Folders() []string {
	config := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(config) {
		home, _ := os.UserHomeDir()
		config = filepath.Join(home, ".config")
	}
	return []string{config + "/qemu/vhost-user", "/etc/qemu/vhost-user", "/usr/share/qemu/vhost-user"}
}

// Descriptions are all in the order in which they are to be tried, those that can't be used among them.
func (h *Host) Descriptions() []Description {
	dirs := h.Dirs
	if dirs == nil {
		dirs = Folders()
	}
	files := map[string]string{}
	names := []string{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			name := entry.Name()
			if _, has := files[name]; !has && strings.HasSuffix(name, ".json") && !strings.HasPrefix(name, ".") {
				files[name] = filepath.Join(dir, name)
				names = append(names, name)
			}
		}
	}
	sort.Strings(names)
	found := []Description{}
	for _, name := range names {
		if d := read(files[name]); d != nil {
			found = append(found, *d)
		}
	}
	return found
}

// Discover is those that can be used, of that type only unless it is empty.
func (h *Host) Discover(kind string) []Description {
	found := []Description{}
	for _, d := range h.Descriptions() {
		if d.Problem == "" && OfType(kind, d.Type) {
			found = append(found, d)
		}
	}
	return found
}

// OfType says whether a type is the wanted one: "" is anything, "blk", as the rest of libvh says, is "block", as the conventions of back-ends do.
func OfType(wanted, kind string) bool {
	called := map[string]string{"blk": "block"}
	if other, has := called[wanted]; has {
		wanted = other
	}
	if other, has := called[kind]; has {
		kind = other
	}
	return wanted == "" || wanted == kind
}

// read is nil for an empty file, which hides others.
func read(path string) *Description {
	text, err := readFile(path)
	if err == nil && len(text) == 0 {
		return nil
	}
	d := &Description{Path: path}
	if err == nil {
		err = d.fill(text)
	}
	if err != nil {
		var errno syscall.Errno
		if errors.As(err, &errno) {
			err = errno
		}
		return &Description{Path: path, Problem: err.Error()}
	}
	return d
}

func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("no file")
	}
	return io.ReadAll(io.LimitReader(f, fileMax+1))
}

func (d *Description) fill(text []byte) error {
	told, err := parse(text)
	if err != nil {
		return err
	}
	if d.Tags, err = texts(told, "tags"); err != nil {
		return err
	}
	if d.Type, err = oneText(told, "type"); err != nil {
		return err
	}
	if d.Binary, err = oneText(told, "binary"); err != nil {
		return err
	}
	if !filepath.IsAbs(d.Binary) {
		return errors.New("binary is no absolute path")
	}
	if _, has := told["description"]; has {
		d.Description, err = oneText(told, "description")
	}
	return err
}

// parse reads an object of JSON from somebody who may be anybody.
func parse(text []byte) (map[string]json.RawMessage, error) {
	if len(text) > fileMax {
		return nil, fmt.Errorf("more than %d bytes", fileMax)
	}
	depth, deepest := 0, 0
	for _, b := range text { // brackets in strings count too, which does no harm
		switch b {
		case '[', '{':
			if depth++; depth > deepest {
				deepest = depth
			}
		case ']', '}':
			depth--
		}
	}
	told := map[string]json.RawMessage{}
	switch {
	case deepest > depthMax:
		return nil, errors.New("nested too deeply")
	case !utf8.Valid(text):
		return nil, errors.New("not UTF-8")
	case !json.Valid(text):
		return nil, errors.New("not JSON")
	case !strings.HasPrefix(strings.TrimLeft(string(text), " \t\r\n"), "{"), json.Unmarshal(text, &told) != nil:
		return nil, errors.New("no object")
	}
	return told, nil
}

func plain(value interface{}) (string, bool) {
	text, is := value.(string)
	return text, is && strings.IndexFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func oneText(told map[string]json.RawMessage, key string) (string, error) {
	var value interface{}
	_ = json.Unmarshal(told[key], &value)
	text, is := plain(value)
	if !is || text == "" {
		return "", fmt.Errorf("%s is missing, or no plain text", key)
	}
	return text, nil
}

func texts(told map[string]json.RawMessage, key string) ([]string, error) {
	raw, has := told[key]
	if !has {
		return nil, nil
	}
	var value interface{}
	_ = json.Unmarshal(raw, &value)
	list, is := value.([]interface{})
	found := []string{}
	for _, v := range list {
		text, plain := plain(v)
		is = is && plain
		found = append(found, text)
	}
	if !is {
		return nil, fmt.Errorf("%s is no list of plain texts", key)
	}
	return found, nil
}

// Capabilities runs a program, and words that come before it if it needs them, with --print-capabilities. BadOutput: it failed,
// or said something else; TimedOut, after 5 s unless the context says otherwise; NotFound.
func (h *Host) Capabilities(ctx context.Context, command ...string) (*Capabilities, error) {
	if len(command) == 0 {
		return nil, errors.New("a command has at least one word")
	}
	ctx, allowed, cancel := withDeadline(ctx, askFor)
	defer cancel()
	who := command[0] + " --print-capabilities"
	said, code, last, err := ask(ctx, append(append([]string{}, command...), "--print-capabilities"))
	switch {
	case err == context.DeadlineExceeded:
		return nil, timedOut(last, "%s: no end after %s s", who, seconds(allowed))
	case err != nil:
		return nil, err
	case len(said) > fileMax: // it was ended for that
		return nil, badOutput("", code, "%s: more than %d bytes", who, fileMax)
	case code != 0:
		return nil, badOutput(last, code, "%s: %s", who, howItEnded(code))
	}
	told, err := parse(said)
	can := &Capabilities{Raw: said}
	if err == nil {
		can.Type, err = oneText(told, "type")
	}
	if err == nil {
		can.Features, err = texts(told, "features")
	}
	if err != nil {
		return nil, badOutput(last, code, "%s: %s", who, err)
	}
	return can, nil
}

// ask runs a program that is to say something and end. It is killed when it writes too much, or takes longer.
func ask(ctx context.Context, argv []string) (said []byte, code int, last string, err error) {
	var mu sync.Mutex
	var kept words
	full := make(chan struct{})
	out, err := newOutput(func(b []byte) {
		mu.Lock()
		defer mu.Unlock()
		if len(said) > fileMax {
			return
		}
		if said = append(said, b...); len(said) > fileMax {
			said = said[:fileMax+1]
			close(full)
		}
	})
	if err != nil {
		return nil, 0, "", err
	}
	errs, err := newOutput(kept.take)
	if err != nil {
		out.begin()
		out.finish()
		return nil, 0, "", err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out.to, errs.to
	finish := func() { out.finish(); errs.finish() }
	c, err := run(cmd, false, finish)
	out.begin()
	errs.begin()
	if err != nil {
		finish()
		return nil, 0, "", err
	}
	select {
	case <-c.ended:
	case <-full:
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.tell(syscall.SIGKILL)
	<-c.ended
	mu.Lock()
	defer mu.Unlock()
	return said, c.code, kept.text(tail), err
}

// Find is the first installed back-end of a type that has all those features. NotFound says why each other one was not it.
func (h *Host) Find(ctx context.Context, kind string, features ...string) (*Description, *Capabilities, error) {
	why := ""
	for _, d := range h.Discover(kind) {
		d := d
		can, err := h.Capabilities(ctx, d.Binary)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, nil, err
		case err != nil:
			why += "\n" + d.Path + ": " + err.Error()
		case !OfType(kind, can.Type):
			why += "\n" + d.Path + ": it says that it is " + can.Type
		case !can.Has(features...):
			why += "\n" + d.Path + ": it has no " + strings.Join(can.missing(features), ", ")
		default:
			return &d, can, nil
		}
	}
	return nil, nil, notFound("no back-end of type %s is installed%s", kind, why)
}

// Descriptions are those of this machine.
func Descriptions() []Description { return (&Host{}).Descriptions() }

// Discover is what can be used of this machine.
func Discover(kind string) []Description { return (&Host{}).Discover(kind) }

// Find is the first of this machine that has what is wanted.
func Find(ctx context.Context, kind string, features ...string) (*Description, *Capabilities, error) {
	return (&Host{}).Find(ctx, kind, features...)
}
