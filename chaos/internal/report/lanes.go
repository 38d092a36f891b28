package report

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// lanes is the picture of a window of a run. If there is none, Why says so.
type lanes struct {
	Why      string
	Title    string // which window, and why that one
	Text     string // what is in it
	Focus    string // the call that is highlighted
	FocusWhy string
	W, H     float64
	Names    []label
	Ticks    []tick
	Shapes   []shape
	Labels   []label
	Rules    []rule
	Events   []event // the same faults and effects as a table
	MoreRows int
}

type label struct {
	X, Y        float64
	Text, Class string
}

type tick struct {
	X    float64
	Text string
}

type rule struct{ Y float64 }

// A shape is a path, with what it stands for.
type shape struct{ D, Class, Title string }

type event struct{ At, Lane, What string }

func worldFile(dir string) string { return filepath.Join(dir, trace.WorldFile) }

// life is when a process started and ended, as far as the faults have it; 0 where they do not.
type life struct{ born, died int64 }

// scene is what happened in a window.
type scene struct {
	start    int64 // of the run: times are shown from it
	from, to int64
	ops      map[string][]op // by process
	faults   []trace.Fault   // that touch the window
	lives    map[string]life // of processes
	effects  []trace.Effect
	focus    string
	left     int // operations that there was no room for
}

// drawLanes draws the surroundings of the first violation, else the densest
// window. It returns nil if there is no directory to draw from.
func drawLanes(s *trace.Summary, dir string) *lanes {
	from, id := source(s, dir)
	if from == "" {
		return nil
	}
	l, err := draw(from, id)
	if err != nil {
		return &lanes{Why: clip(err.Error(), maxText)}
	}
	return l
}

func draw(dir, id string) (*lanes, error) {
	run, err := trace.Load(dir)
	if err != nil {
		return nil, err
	}
	faults, err := readAll(filepath.Join(dir, trace.FaultsFile), maxFaults, func(trace.Fault) bool { return true })
	if err != nil {
		return nil, err
	}
	sc := &scene{start: run.From}
	why, found := "", false
	if id != "" {
		if sc.from, sc.to, found, err = surroundings(dir, id); err != nil {
			return nil, err
		}
		sc.focus, why = id, "the surroundings of the first violation"
	}
	if !found {
		sc.focus = ""
		if why, err = sc.choose(dir, run, faults); err != nil {
			return nil, err
		}
	}
	if sc.to <= sc.from {
		return nil, fmt.Errorf("%s has nothing to draw", dir)
	}
	if err := sc.read(dir, faults); err != nil {
		return nil, err
	}
	sc.narrow()
	focusWhy := "the call of the first violation"
	if sc.focus == "" {
		sc.focus = sc.takenOver()
		focusWhy = "a call that another process took over"
	}
	l := sc.layout()
	l.Title = fmt.Sprintf("%s of the run, from %s s to %s s: %s", took(time.Duration(sc.to-sc.from)), sc.seconds(sc.from), sc.seconds(sc.to), why)
	if l.Focus = clip(sc.focus, maxLine); l.Focus != "" {
		l.FocusWhy = focusWhy
	}
	return l, nil
}

// choose picks the window of a run in which nothing is violated.
func (sc *scene) choose(dir string, run trace.Run, faults []trace.Fault) (why string, err error) {
	if length := run.To - run.From; length > 0 && length <= windowLength*5/3 {
		sc.from, sc.to = run.From, run.To
		return "all of it", nil
	}
	var moments []moment
	for _, f := range faults {
		if w := interesting(f); w > 0 {
			moments = append(moments, moment{f.At, w})
		}
	}
	why = "where the faults are densest"
	if len(moments) == 0 {
		type at struct {
			At int64 `json:"at"`
		}
		effects, err := readAll(worldFile(dir), maxEffects, func(at) bool { return true })
		if err != nil {
			return "", err
		}
		for _, e := range effects {
			moments = append(moments, moment{e.At, 1})
		}
		why = "where the effects are densest"
	}
	sc.from, sc.to = densest(moments, windowLength)
	return why, nil
}

// read fills the scene.
func (sc *scene) read(dir string, faults []trace.Fault) (err error) {
	sc.lives = map[string]life{}
	for _, f := range faults {
		l := sc.lives[f.Target]
		switch f.Kind {
		case trace.FaultStart:
			l.born = f.At
		case trace.FaultExit, trace.FaultKill:
			l.died = f.At
		}
		sc.lives[f.Target] = l
		if f.At <= sc.to && sc.end(f) >= sc.from {
			sc.faults = append(sc.faults, f)
		}
	}
	sc.effects, err = readAll(worldFile(dir), maxOps, func(e trace.Effect) bool { return e.At >= sc.from && e.At <= sc.to })
	if err != nil {
		return err
	}
	sc.ops = map[string][]op{}
	held := 0
	names, file := histories(dir)
	for _, name := range names {
		err := scan(file(name), sc.from, sc.to, func(op) bool { return true }, func(o op) {
			if died := sc.lives[name].died; o.open() && died != 0 && died < sc.from {
				return // it was cut short before the window
			}
			if held++; held > maxOps && o.ID != sc.focus {
				sc.left++
				return
			}
			sc.ops[name] = append(sc.ops[name], o)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// end is when a fault is over; one that lasts is over with the window.
func (sc *scene) end(f trace.Fault) int64 {
	switch f.Kind {
	case trace.FaultPause, trace.FaultCut, trace.FaultCutIn, trace.FaultCutOut, trace.FaultDelay, trace.FaultMember, trace.FaultLeader:
		if f.Until == 0 {
			return sc.to
		}
		return f.Until
	}
	return f.At
}

func (sc *scene) size() int {
	n := len(sc.faults) + 2*len(sc.effects)
	for _, ops := range sc.ops {
		n += len(ops)
	}
	return n
}

// narrow halves the window around its middle until it has few enough shapes, so that
// what it shows is complete; only what is still too much then is left out, and counted.
func (sc *scene) narrow() {
	for sc.size() > maxShapes && sc.to-sc.from > leastWindow {
		quarter := (sc.to - sc.from) / 4
		sc.from, sc.to = sc.from+quarter, sc.to-quarter
		sc.left = 0
		sc.faults = slices.DeleteFunc(sc.faults, func(f trace.Fault) bool { return f.At > sc.to || sc.end(f) < sc.from })
		sc.effects = slices.DeleteFunc(sc.effects, func(e trace.Effect) bool { return e.At < sc.from || e.At > sc.to })
		for name, ops := range sc.ops {
			sc.ops[name] = slices.DeleteFunc(ops, func(o op) bool { return o.From > sc.to || o.To < sc.from })
		}
	}
	room := maxShapes - len(sc.faults) - 2*len(sc.effects)
	if room < 0 {
		sc.left += len(sc.effects)
		sc.effects = nil
		sc.faults = sc.faults[:min(len(sc.faults), maxShapes/2)]
		room = maxShapes / 2
	}
	for _, name := range sortedKeys(sc.ops) {
		sc.ops[name] = slices.DeleteFunc(sc.ops[name], func(o op) bool {
			if room--; room >= 0 || o.ID == sc.focus && sc.focus != "" {
				return false
			}
			sc.left++
			return true
		})
	}
}

// takenOver is the call in the window that was tried by the most processes; "" if none was by two.
func (sc *scene) takenOver() string {
	tried := map[string]map[string]bool{}
	for name, ops := range sc.ops {
		for _, o := range ops {
			if o.Kind != trace.Attempt || o.ID == "" {
				continue
			}
			if tried[o.ID] == nil {
				tried[o.ID] = map[string]bool{}
			}
			tried[o.ID][name] = true
		}
	}
	best, most := "", 1
	for _, id := range sortedKeys(tried) {
		if n := len(tried[id]); n > most {
			best, most = id, n
		}
	}
	return best
}

func (sc *scene) seconds(at int64) string {
	digits := 2
	if sc.to-sc.from < 5e8 {
		digits = 4
	}
	return fmt.Sprintf("%.*f", digits, float64(at-sc.start)/1e9)
}
