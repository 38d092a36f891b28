package powercut

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"
)

// A span is a system call: the lines of the trace in which it began and returned.
type span struct{ start, end int }

// A change is a write to a file, or a truncation of it.
type change struct {
	span
	off  int64
	data []byte // nil: the file ends at off from here on
}

// A node is a file or a directory.
type node struct {
	name    string // when it was made
	dir     bool
	changes []change // in the order of their ends
	syncs   []span
	live    []byte           // of a file: its content now
	entries map[string]*node // of a directory: its names now
}

// An edit gives a name in a directory to a node, or takes it away (nil). A renaming is two of them.
type edit struct {
	in   *node
	name string
	to   *node
}

// An entry is a change of directories.
type entry struct {
	span
	edits []edit
}

// A line is what the worker wrote on its standard output.
type line struct {
	start int // of the write that ended it: from then on somebody may have read it
	text  string
}

// A disk is all that happened below one directory, which was empty at the beginning.
type disk struct {
	path    string // of the directory, absolute and clean
	root    *node
	files   []*node // all that ever were
	entries []entry // in the order of their ends
	fds     map[int64]*handle
	out     []byte // of a line that has not ended
	lines   []line
	syncs   int
	length  int // of the trace, in lines
}

func newDisk(dir string) *disk {
	return &disk{path: path.Clean(dir), root: newDir("."), fds: make(map[int64]*handle)}
}

func newDir(name string) *node { return &node{name: name, dir: true, entries: make(map[string]*node)} }

// unmodelled reports whether the content of a file is left out: SQLite's index of its log, which is written through memory.
func (n *node) unmodelled() bool { return strings.HasSuffix(n.name, "-shm") }

func nothing(int, int64) error { return nil }

// enter takes note of a system call.
func (d *disk) enter(start int, c call) (returned, error) {
	switch c.name {
	case "open", "creat", "openat", "openat2":
		return d.open(start, c)
	case "close":
		if fd, err := number(c.args[0]); err == nil {
			delete(d.fds, fd) // now: before it returns, the number may be another file's
		}
		return nothing, nil
	case "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat":
		dir, name, err := d.locate(c.name, c.args)
		return func(end int, result int64) error {
			if result != 0 || dir == nil {
				return nil
			}
			var to *node
			if strings.HasPrefix(c.name, "mkdir") {
				to = newDir(path.Join(dir.name, name))
			}
			d.edit(span{start, end}, edit{dir, name, to})
			return nil
		}, err
	case "rename", "renameat", "renameat2":
		return d.rename(start, c)
	case "???": // strace could not read it any more: its thread was killed on entry
		return func(int, int64) error { return errors.New("a call without a name has returned") }, nil
	case "sync", "syncfs", "io_uring_enter", "truncate", "link", "linkat", "symlink", "symlinkat":
		return func(_ int, result int64) error {
			if result < 0 {
				return nil
			}
			return fmt.Errorf("the model knows no %s", c.name)
		}, nil
	}
	if len(c.args) == 0 {
		return nil, fmt.Errorf("no arguments")
	}
	fd, err := number(c.args[0])
	if err != nil {
		return nothing, nil // AT_FDCWD and the like
	}
	if fd == 1 && (c.name == "write" || c.name == "writev") {
		return d.print(start, c)
	}
	h := d.fds[fd]
	if h == nil {
		return nothing, nil
	}
	return h.enter(d, start, c)
}

// locate returns the directory and the name that a path leads to; no directory if it is not below the disk's, or names
// the disk's itself. The path is the first of args, or the second after a descriptor where the call ends in "at".
func (d *disk) locate(call string, args []string) (dir *node, name string, err error) {
	base := ""
	if strings.HasSuffix(strings.TrimSuffix(call, "2"), "at") {
		if fd, err := number(args[0]); err == nil {
			h := d.fds[fd]
			if h == nil {
				return nil, "", nil
			}
			base = h.n.name
		}
		args = args[1:]
	}
	raw, err := text(args[0])
	if err != nil {
		return nil, "", err
	}
	p := string(raw)
	if base == "" {
		if !path.IsAbs(p) {
			return nil, "", nil
		}
		rel, below := strings.CutPrefix(path.Clean(p), d.path+"/")
		if !below {
			return nil, "", nil
		}
		p = rel
	} else {
		p = path.Join(base, p)
	}
	dir = d.root
	parts := strings.Split(p, "/")
	for _, part := range parts[:len(parts)-1] {
		if dir = dir.entries[part]; dir == nil || !dir.dir {
			return nil, "", nil
		}
	}
	return dir, parts[len(parts)-1], nil
}

func (d *disk) edit(at span, edits ...edit) {
	for _, e := range edits {
		if e.to == nil {
			delete(e.in.entries, e.name)
		} else {
			e.in.entries[e.name] = e.to
		}
	}
	d.entries = append(d.entries, entry{at, edits})
}

func (d *disk) rename(start int, c call) (returned, error) {
	from, name, err := d.locate(c.name, c.args)
	if err != nil {
		return nil, err
	}
	args := c.args[1:]
	if c.name != "rename" {
		args = c.args[2:]
	}
	to, newName, err := d.locate(c.name, args)
	return func(end int, result int64) error {
		switch {
		case result != 0 || from == nil && to == nil:
			return nil
		case from == nil || to == nil || from.entries[name] == nil:
			return fmt.Errorf("%s was renamed from or to elsewhere", name)
		}
		d.edit(span{start, end}, edit{from, name, nil}, edit{to, newName, from.entries[name]})
		return nil
	}, err
}

// open follows the opening of a file, at its end: only then its number is known.
func (d *disk) open(start int, c call) (returned, error) {
	dir, name, err := d.locate(c.name, c.args)
	if err != nil {
		return nil, err
	}
	at := 0
	if strings.HasPrefix(c.name, "openat") {
		at = 1
	}
	raw, err := text(c.args[at])
	if err != nil {
		return nil, err
	}
	itself := path.Clean(string(raw)) == d.path
	flags := strings.Join(c.args, " ")
	return func(end int, fd int64) error {
		if fd < 0 || dir == nil && !itself {
			return nil
		}
		if itself {
			d.fds[fd] = &handle{n: d.root}
			return nil
		}
		n := dir.entries[name]
		if n == nil {
			if !strings.Contains(flags, "O_CREAT") && c.name != "creat" {
				return fmt.Errorf("%s was opened, and nobody made it", name)
			}
			n = &node{name: path.Join(dir.name, name)}
			d.files = append(d.files, n)
			d.edit(span{start, end}, edit{dir, name, n})
		} else if strings.Contains(flags, "O_TRUNC") && len(n.live) > 0 {
			n.change(change{span{start, end}, 0, nil})
		}
		d.fds[fd] = &handle{n: n, appended: strings.Contains(flags, "O_APPEND")}
		return nil
	}, nil
}

// print collects the lines of the worker.
func (d *disk) print(start int, c call) (returned, error) {
	data, err := text(c.args[1])
	if err != nil {
		return nil, err
	}
	d.out = append(d.out, data...)
	for {
		l, rest, whole := bytes.Cut(d.out, []byte{'\n'})
		if !whole {
			break
		}
		d.lines = append(d.lines, line{start, string(l)})
		d.out = rest
	}
	return func(_ int, n int64) error {
		if n != int64(len(data)) {
			return fmt.Errorf("%d of %d bytes of a line were written", n, len(data))
		}
		return nil
	}, nil
}

func (n *node) change(c change) {
	n.changes = append(n.changes, c)
	n.live = c.apply(n.live)
}

// apply returns the content after the change.
func (c *change) apply(content []byte) []byte {
	size := c.off + int64(len(c.data))
	if c.data == nil && size < int64(len(content)) {
		return content[:size]
	}
	content = grow(content, size)
	copy(content[c.off:], c.data)
	return content
}

// grow adds zeros, up to size.
func grow(content []byte, size int64) []byte {
	if missing := size - int64(len(content)); missing > 0 {
		content = append(content, make([]byte, missing)...)
	}
	return content
}
