package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// Measures of the picture, in pixels.
const (
	laneLeft  = 92.0 // where time starts
	laneWidth = 1020.0
	laneTop   = 26.0
	rowHeight = 10.0
	barHeight = 8.0
	lanePad   = 5.0
	maxSub    = 5 // rows of one lane: calls of one process at a time; more share the last
	maxLabels = 60
)

// x is where a moment is, at the window's edge if it is beyond.
func (c *canvas) x(at int64) float64 {
	part := float64(at-c.from) / float64(c.to-c.from)
	return math.Round(10*(laneLeft+laneWidth*min(1, max(0, part)))) / 10
}

func (c *canvas) add(class, title, format string, args ...any) {
	c.Shapes = append(c.Shapes, shape{fmt.Sprintf(format, args...), class, title})
}

// span is a box from one moment to another, at least so wide that it can be seen.
func (c *canvas) span(class, title string, from, to int64, y, height float64) {
	x := c.x(from)
	c.add(class, title, "M%.1f %.1fh%.1fv%.1fh-%.1fz", x, y, max(1.2, c.x(to)-x), height, max(1.2, c.x(to)-x))
}

// lane starts a lane of the given height, and returns where it begins.
func (c *canvas) lane(name, class string, height float64) float64 {
	top := c.y
	c.Names = append(c.Names, label{X: laneLeft - 8, Y: top + height/2 + 4, Text: clip(name, 12), Class: class})
	c.y += height
	c.Rules = append(c.Rules, rule{c.y})
	return top
}

func (c *canvas) label(at int64, y float64, text string) {
	if len(c.Labels) < maxLabels && at >= c.from {
		class := ""
		x := c.x(at) + 7
		if x > laneLeft+laneWidth-90 {
			class, x = "end", c.x(at)-7
		}
		c.Labels = append(c.Labels, label{X: x, Y: y, Text: clip(text, 40), Class: class})
	}
}

// member is the lane of a member of the cluster, or of the store as a whole.
func (c *canvas) member(name string, faults []trace.Fault) {
	height := 22.0
	y := c.lane(name, "member", height)
	for _, f := range faults {
		c.seen[f.Kind]++
		if end := c.end(f); end > f.At {
			c.span("down", faultTitle(c.scene, f), f.At, end, y+3, height-6)
		} else {
			c.cross("kill", faultTitle(c.scene, f), f.At, y+height/2)
		}
		c.label(f.At, y+height/2+4, f.Kind)
	}
}

func (c *canvas) cross(class, title string, at int64, y float64) {
	c.add(class, title, "M%.1f %.1fl8 8m0 -8l-8 8", c.x(at)-4, y-4)
}

// process is the lane of a worker's process: its life, its calls with their attempts, and what was done to it.
func (c *canvas) process(name string, faults []trace.Fault) {
	ops := c.ops[name]
	slices.SortStableFunc(ops, func(a, b op) int { return cmp.Compare(a.From, b.From) })
	died := c.lives[name].died
	if died == 0 {
		died = c.to
	}
	rows, used := rowsOf(ops, died)
	height := float64(used)*rowHeight + 2*lanePad
	y := c.lane(name, "", height)
	c.bottoms[name] = y + height - lanePad
	c.born(name, y, height, died)
	for _, f := range faults { // below the calls: what lasts
		if end := c.end(f); end > f.At && f.Kind != trace.FaultKill {
			class := "cut"
			if f.Kind == trace.FaultPause {
				class = "pause"
			}
			c.span(class, faultTitle(c.scene, f), f.At, end, y+1, height-2)
		}
	}
	for i, o := range ops {
		class := "call"
		switch o.Kind {
		case trace.Attempt:
			class = "attempt"
			c.seen["attempt"]++
		case trace.Query:
			class = "query"
		default:
			c.seen["guarded call"]++
		}
		if c.focus != "" && o.ID == c.focus {
			class += " focus"
		}
		top, tall, end := y+lanePad+float64(rows[i])*rowHeight, barHeight, o.To
		if o.Kind == trace.Attempt || o.Kind == trace.Query {
			top, tall = top+1.5, tall-3
		}
		if o.open() {
			class, end = class+" open", min(died, c.to)
		}
		c.span(class, opTitle(c.scene, o), o.From, end, top, tall)
	}
	for _, f := range faults {
		if f.Kind == trace.FaultStart || f.Kind == trace.FaultExit {
			continue
		}
		c.seen[f.Kind]++
		text := f.Kind
		if f.InCall {
			text += " after effect"
		}
		if c.end(f) == f.At {
			c.cross("kill", faultTitle(c.scene, f), f.At, y+height/2)
		}
		c.label(f.At, y+height/2+4, text)
	}
}

// born draws the line of a process's life.
func (c *canvas) born(name string, y, height float64, died int64) {
	from := max(c.lives[name].born, c.from)
	if to := min(died, c.to); to > from {
		c.add("life", name+" lives", "M%.1f %.1fH%.1f", c.x(from), y+height-2, c.x(to))
	}
}

// rowsOf gives each operation a row, so that those of one time do not cover each
// other. A part of a call shares the call's row.
func rowsOf(ops []op, died int64) (rows []int, used int) {
	free := []int64{}
	of := map[uint64]int{}
	used = 1
	for _, o := range ops {
		row, ok := of[o.In]
		if o.In == 0 || !ok {
			row = slices.IndexFunc(free, func(at int64) bool { return at <= o.From })
			if row < 0 && len(free) < maxSub {
				free, row = append(free, 0), len(free)
			}
			if row < 0 {
				row = maxSub - 1
			}
			free[row] = max(free[row], min(o.To, died))
			of[o.N] = row
		}
		rows = append(rows, row)
		used = max(used, row+1)
	}
	return rows, used
}

// world is the lane of the downstream: what it did with each request. Those of the highlighted call come
// last, so that no other covers them, each with a thread up to the process that asked.
func (c *canvas) world() {
	if len(c.effects) == 0 {
		return
	}
	y := c.lane("world", "member", 44)
	var focus []trace.Effect
	for _, e := range c.effects {
		if c.focus != "" && e.ID == c.focus {
			focus = append(focus, e)
			continue
		}
		c.effect(e, y)
	}
	for _, e := range focus {
		if from, ok := c.bottoms[e.Worker]; ok {
			c.add("thread", "from "+clip(e.Worker, 40), "M%.1f %.1fV%.1f", c.x(e.At), from, y+4)
		}
		c.effect(e, y)
	}
}

func (c *canvas) effect(e trace.Effect, y float64) {
	x, class := c.x(e.At), ""
	if c.focus != "" && e.ID == c.focus {
		class = " focus"
	}
	switch e.Did {
	case trace.Done:
		c.seen["effect"]++
		half := 5.0
		if class != "" {
			half = 8
		}
		c.add("effect"+class, effectTitle(c.scene, e), "M%.1f %.1fl4 -%[3]gl4 %[3]gl-4 %[3]gz", x-4, y+13, half)
	case trace.Asked:
		c.seen["reconcile query"]++
		c.add("asked"+class, effectTitle(c.scene, e), "M%.1f %.1fh6v8h-6z", x-3, y+29)
	default:
		c.seen["request without effect"]++
		c.add("noeffect"+class, effectTitle(c.scene, e), "M%.1f %.1fl6 6m0 -6l-6 6", x-3, y+30)
	}
}
