package powercut

import "fmt"

// A handle is an open file.
type handle struct {
	n        *node
	pos      int64
	appended bool
}

// enter takes note of a system call on an open file.
func (h *handle) enter(d *disk, start int, c call) (returned, error) {
	n := h.n
	switch c.name {
	case "fsync", "fdatasync":
		return func(end int, result int64) error {
			if result == 0 {
				n.syncs = append(n.syncs, span{start, end})
				d.syncs++
			}
			return nil
		}, nil
	case "lseek":
		return func(_ int, pos int64) error {
			if pos >= 0 {
				h.pos = pos
			}
			return nil
		}, nil
	}
	if n.unmodelled() {
		return nothing, nil
	}
	switch c.name {
	case "write", "writev", "pwrite64", "pwritev":
		data, err := text(c.args[1])
		if err != nil {
			return nil, err
		}
		off := h.pos
		positioned := c.name[0] == 'p'
		if positioned {
			if off, err = number(c.args[3]); err != nil {
				return nil, err
			}
		}
		return func(end int, written int64) error {
			if written <= 0 {
				return nil
			}
			if h.appended {
				off = int64(len(n.live))
			}
			if !positioned {
				h.pos = off + written
			}
			n.change(change{span{start, end}, off, data[:written]})
			return nil
		}, nil
	case "ftruncate":
		size, err := number(c.args[1])
		return func(end int, result int64) error {
			if result == 0 {
				n.change(change{span{start, end}, size, nil})
			}
			return nil
		}, err
	}
	return func(_ int, result int64) error {
		if result < 0 {
			return nil
		}
		return fmt.Errorf("the model knows no %s, which was called for %s", c.name, n.name)
	}, nil
}
