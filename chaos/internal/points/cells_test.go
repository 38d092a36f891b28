package points

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ledger-once/ledger/chaos/internal/point"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/internal/failpoint"
)

var update = flag.Bool("update", false, "write testdata/cells.txt")

// testdata/cells.txt is the list of all cells: which there are, and why there are no others.
func TestCellsAreListed(t *testing.T) {
	var text strings.Builder
	for _, s := range stores(Mode{SQLite: true, Etcd: []int{1, 3}}) {
		for _, f := range faults {
			for _, p := range point.All {
				valid, why := []string{}, []string{}
				for _, d := range policies {
					for _, w := range worlds {
						c := trace.Cell{Store: s.Store, Members: s.Members, Point: string(p), Fault: f, InDoubt: d, World: w}
						if reason := Excluded(c); reason == "" {
							valid = append(valid, d+"/"+w)
						} else if !slices.Contains(why, reason) {
							why = append(why, reason)
						}
					}
				}
				fmt.Fprintf(&text, "%s%d %s %s: %d cells: %s\n", s.Store, s.Members, f, p, len(valid), strings.Join(valid, " "))
				for _, reason := range why {
					fmt.Fprintf(&text, "    not the others: %s\n", reason)
				}
			}
		}
	}
	path := filepath.Join("testdata", "cells.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("the cells are not those of %s; if that is meant: go test ./chaos/internal/points -run TestCells -update\n%s", path, diff)
	}
}

// The short mode has each fault at each point that has cells, and each policy and world somewhere;
// the full mode has all cells.
func TestModes(t *testing.T) {
	short := Cells(Mode{SQLite: true, Etcd: []int{1, 3}})
	full := Cells(Mode{SQLite: true, Etcd: []int{1, 3}, Full: true})
	pairs := func(cells []trace.Cell) map[trace.Cell]bool {
		seen := map[trace.Cell]bool{}
		for _, c := range cells {
			if why := Excluded(c); why != "" {
				t.Errorf("%s: %s", c, why)
			}
			c.InDoubt, c.World = "", ""
			seen[c] = true
		}
		return seen
	}
	if diff := cmp.Diff(pairs(full), pairs(short)); diff != "" {
		t.Errorf("the short mode leaves points or faults out: %s", diff)
	}
	combos := map[string]int{}
	for _, c := range short {
		combos[c.InDoubt+"/"+c.World]++
	}
	if len(combos) != len(policies)*len(worlds) {
		t.Errorf("the short mode has the policies and worlds %v", combos)
	}
	unique := map[string]bool{}
	for _, c := range full {
		if unique[c.String()] {
			t.Errorf("%s is there twice", c)
		}
		unique[c.String()] = true
	}
}

// Each mutant that a kill can show has a recipe, on a store where it shows.
func TestRecipes(t *testing.T) {
	for _, m := range failpoint.Mutants() {
		n := 0
		for _, r := range recipes {
			if r.mutant != m.Name {
				continue
			}
			n++
			if !slices.Contains(m.Stores, r.store) {
				t.Errorf("%s does not show on %s", m.Name, r.store)
			}
		}
		if n == 0 && m.Name != failpoint.MutantSQLiteNormal {
			t.Errorf("nothing provokes %s", m.Name)
		}
	}
}
