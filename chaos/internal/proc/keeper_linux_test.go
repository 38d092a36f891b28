package proc

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

func TestCloseAndContextEndAll(t *testing.T) {
	for _, by := range []string{"close", "context"} {
		t.Run(by, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			dir := t.TempDir()
			k, err := NewKeeper(ctx, dir)
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			a, _, _ := child(t, k, "echo-deaf")
			b, _, _ := child(t, k, "echo")
			if _, err := b.Stop(); err != nil {
				t.Fatal(err)
			}
			if by == "context" {
				cancel()
				ended(t, a)
				ended(t, b)
			}
			if err := k.Close(); err != nil {
				t.Error(err)
			}
			if alive(t, a.Child) || alive(t, b.Child) {
				t.Error("a child is left")
			}
			if a, b := ended(t, a), ended(t, b); a.Signal != "killed" || b.Signal != "killed" {
				t.Errorf("exits %+v and %+v", a, b)
			}
			if _, err := k.Start(Spec{Name: "late", Argv: os.Args[:1]}); !errors.Is(err, ErrClosed) {
				t.Errorf("a start after the end: %v", err)
			}
			var named []Child
			for c, err := range trace.Read[Child](filepath.Join(dir, PIDsFile)) {
				if err != nil {
					t.Fatal(err)
				}
				named = append(named, c)
			}
			if diff := cmp.Diff([]Child{a.Child, b.Child}, named); diff != "" {
				t.Errorf("%s (-want +got):\n%s", PIDsFile, diff)
			}
		})
	}
}

func TestWhatCanNotStart(t *testing.T) {
	k, dir := keeper(t)
	for _, s := range []Spec{
		{Name: "w09.9"},
		{Name: "w09.9", Argv: []string{filepath.Join(dir, "nothing")}, Stdin: true},
		{Name: "w09.9", Argv: os.Args[:1], Stderr: filepath.Join(dir, "no", "such", "directory")},
	} {
		if _, err := k.Start(s); err == nil || !strings.Contains(err.Error(), "w09.9") {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if _, err := NewKeeper(t.Context(), dir); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second keeper of one directory: %v", err)
	}
}

// A harness that is killed leaves no process, only its directory.
func TestKilledHarnessLeavesNoChild(t *testing.T) {
	k, _ := keeper(t)
	root := t.TempDir()
	dir := filepath.Join(root, DirPrefix+"1")
	h, _, first := child(t, k, "harness", "DIR="+dir)
	var grandchild Child
	if err := json.Unmarshal([]byte(first), &grandchild); err != nil {
		t.Fatalf("%q: %v", first, err)
	}
	if !alive(t, grandchild) {
		t.Fatal("there is no grandchild")
	}
	if found, err := Leftovers(root); err != nil || len(found) != 0 {
		t.Errorf("of a run that is going on: %v, %v", found, err)
	}
	h.Kill()
	eventually(t, "the grandchild is gone", func() bool { return !alive(t, grandchild) })
	found, err := Leftovers(root)
	if err != nil || len(found) != 1 || found[0].Dir != dir || found[0].Harness.PID != h.PID || len(found[0].Alive) != 0 {
		t.Errorf("of a killed run: %v, %v", found, err)
	}
}

func TestLeftovers(t *testing.T) {
	k, _ := keeper(t)
	p, _, _ := child(t, k, "echo")
	dead, _, _ := child(t, k, "echo")
	dead.Kill()
	me, err := whoami()
	if err != nil {
		t.Fatal(err)
	}
	gone := me
	gone.PID, gone.Start = dead.PID, dead.Child.Start
	reused := me // this process has the number, and began at another time
	reused.Start--
	other := me
	other.Boot = "another"
	closed := gone
	closed.Ended = &me.Since

	root := t.TempDir()
	dir := func(name string, h *Harness, pids ...Child) string {
		dir := filepath.Join(root, name)
		w, err := trace.Create(filepath.Join(dir, PIDsFile), false)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range pids {
			if err := w.Write(c); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if h != nil {
			if err := trace.Save(filepath.Join(dir, HarnessFile), h); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	before := p.Child // that had the number before
	before.Start--
	want := map[string][]Child{
		dir(DirPrefix+"gone", &gone, before, p.Child, dead.Child): {p.Child},
		dir(DirPrefix+"reused", &reused, dead.Child):              nil,
		dir(DirPrefix+"boot", &other, p.Child):                    nil,
	}
	dir(DirPrefix+"live", &me, p.Child)
	dir(DirPrefix+"closed", &closed, p.Child)
	dir(DirPrefix+"new", nil, p.Child)
	dir("something-else", &gone, p.Child)

	found, err := Leftovers(root)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]Child{}
	for _, l := range found {
		got[l.Dir] = l.Alive
		text := l.String()
		if !strings.Contains(text, l.Dir) || strings.Contains(text, "kill -KILL") != (len(l.Alive) > 0) || len(l.Alive) > 0 && !strings.Contains(text, "w00.0 (pid ") {
			t.Errorf("text %q", text)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("leftovers (-want +got):\n%s", diff)
	}
	if !alive(t, p.Child) {
		t.Error("Leftovers ended a process")
	}

	// One that can not be read spares the others.
	bad := dir(DirPrefix+"bad", nil)
	if err := os.WriteFile(filepath.Join(bad, HarnessFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := Leftovers(root)
	if err == nil || !strings.Contains(err.Error(), bad) || len(again) != len(found) || slices.ContainsFunc(again, func(l Leftover) bool { return l.Dir == bad }) {
		t.Errorf("with a bad one: %v, %v", again, err)
	}
}
