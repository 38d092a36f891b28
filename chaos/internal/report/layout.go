package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// canvas places the parts of a scene.
type canvas struct {
	*scene
	*lanes
	y float64
	// seen counts what there is of each kind.
	seen map[string]int
	// bottoms is where the calls of a process end, in pixels.
	bottoms map[string]float64
}

func (sc *scene) layout() *lanes {
	c := &canvas{scene: sc, lanes: &lanes{W: laneLeft + laneWidth + 8}, y: laneTop, seen: map[string]int{}, bottoms: map[string]float64{}}
	targets := map[string][]trace.Fault{}
	for _, f := range sc.faults {
		target := f.Target
		if target == "" {
			target = "store"
		}
		targets[target] = append(targets[target], f)
	}
	processes, left := c.processes(targets)
	for _, name := range sortedKeys(targets) {
		if !isProcess(name) {
			c.member(name, targets[name])
		}
	}
	for _, name := range processes {
		c.process(name, targets[name])
	}
	c.world()
	c.axis()
	c.H = c.y + 4
	c.Events, c.MoreRows = sc.events()

	c.Text = c.inventory(len(processes))
	if left > 0 {
		c.Text += fmt.Sprintf("; %s more processes are not shown", count(left))
	}
	if sc.left > 0 {
		c.Text += fmt.Sprintf("; %s more operations had no room", count(sc.left))
	}
	return c.lanes
}

// inventory says how much there is of what.
func (c *canvas) inventory(processes int) string {
	name := "processes"
	if processes == 1 {
		name = "process"
	}
	parts := []string{count(processes) + " " + name}
	for _, k := range sortedKeys(c.seen) {
		one, rest, _ := strings.Cut(k, " without")
		text := plural(c.seen[k], one)
		if rest != "" {
			text += " without" + rest
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// isProcess tells "w03.2" from "member-1".
func isProcess(name string) bool {
	return len(name) > 4 && name[0] == 'w' && strings.Contains(name, ".")
}

// processes that did or suffered something in the window, by name; those with the focus first if there are too many.
func (c *canvas) processes(targets map[string][]trace.Fault) (names []string, left int) {
	weight := map[string]int{}
	for name, ops := range c.ops {
		for _, o := range ops {
			weight[name]++
			if o.ID == c.focus && c.focus != "" {
				weight[name] += maxOps
			}
		}
	}
	for name, faults := range targets {
		if isProcess(name) {
			weight[name] += 10 * len(faults)
		}
	}
	names = slices.SortedFunc(maps.Keys(weight), func(a, b string) int {
		return cmp.Or(cmp.Compare(weight[b], weight[a]), cmp.Compare(a, b))
	})
	left = max(0, len(names)-maxLanes)
	names = names[:len(names)-left]
	slices.Sort(names)
	return names, left
}

// axis sets ticks at round numbers of seconds.
func (c *canvas) axis() {
	length := float64(c.to-c.from) / 1e9
	step := math.Pow(10, math.Floor(math.Log10(length/4)))
	for _, m := range []float64{5, 2} {
		if length/(step*m) >= 5 {
			step *= m
			break
		}
	}
	digits := max(0, int(math.Ceil(-math.Log10(step))))
	first := math.Ceil(float64(c.from-c.start)/1e9/step) * step
	for n := range 40 {
		s := first + float64(n)*step
		at := c.start + int64(s*1e9)
		if at > c.to {
			return
		}
		c.Ticks = append(c.Ticks, tick{c.x(at), fmt.Sprintf("%.*f s", digits, s)})
	}
}
