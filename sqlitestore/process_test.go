//go:build unix

package sqlitestore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

func init() {
	roles["hammer"] = hammer
	roles["starve"] = starve
	roles["look"] = lookOnly
}

// start runs the test binary in a role.
func start(t *testing.T, role string, adapt func(*exec.Cmd), args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), roleEnv+"="+role, "SQLITESTORE_TEST_ARGS="+strings.Join(args, "\n"))
	cmd.Stderr = os.Stderr
	if adapt != nil {
		adapt(cmd)
	}
	return cmd
}

func roleArgs() []string { return strings.Split(os.Getenv("SQLITESTORE_TEST_ARGS"), "\n") }

// hammer claims, finishes and deletes from many goroutines until it is killed. It prints
// each acknowledged write, in one write(2) a line.
func hammer() error {
	ctx := context.Background()
	s, err := Open(ctx, roleArgs()[0], nil)
	if err != nil {
		return err
	}
	fmt.Println("open", s.owner.session)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				r, won, err := s.Claim(ctx, sampleClaim(randomID()))
				if err != nil || !won {
					fmt.Println("error", err)
					return
				}
				fmt.Println("running", r.ID.Fingerprint, r.Version)
				if rand.IntN(4) == 0 {
					continue // stays running
				}
				if err := s.Finish(ctx, sampleDone(r)); err != nil {
					fmt.Println("error", err)
					return
				}
				fmt.Println("succeeded", r.ID.Fingerprint, r.Version)
			}
		})
	}
	wg.Wait()
	return errors.New("stopped")
}

// TestKill kills processes in the middle of their batches. What they said was
// written must be there, and their claims must be dead at once.
func TestKill(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	s := openTest(t, path)
	acknowledged := map[string]string{}
	var last ledger.Version
	for round := range rounds {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range 2 {
			cmd := start(t, "hammer", nil, path)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				stop := 20 + rand.IntN(600)
				lines := bufio.NewScanner(out)
				for n := 0; lines.Scan(); n++ {
					if f := strings.Fields(lines.Text()); len(f) == 3 {
						mu.Lock()
						acknowledged[f[1]] = f[0]
						mu.Unlock()
					} else if f[0] == "error" {
						t.Error(lines.Text())
					}
					if n == stop {
						cmd.Process.Kill()
					}
				}
				cmd.Wait()
			})
		}
		wg.Wait()
		if _, won, err := s.Claim(t.Context(), sampleClaim(randomID())); err != nil || !won {
			t.Fatalf("round %d: got %v, %v; want a win right after the death of others", round, won, err)
		}
		seen := map[string]ledger.Record{}
		for r, err := range s.List(t.Context(), ledger.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			seen[r.ID.Fingerprint] = r
			last = max(last, r.Version)
			if r.Alive && r.Owner.PID != os.Getpid() {
				t.Errorf("round %d: %s is alive; its process was killed", round, r.ID)
			}
		}
		for fp, state := range acknowledged {
			r, ok := seen[fp]
			if !ok || state == "succeeded" && r.State != ledger.StateSucceeded {
				t.Errorf("round %d: %s was acknowledged as %s, and is %q", round, fp, state, r.State)
			}
		}
		r, _, err := s.Claim(t.Context(), sampleClaim(randomID()))
		if err != nil || r.Version <= last {
			t.Errorf("round %d: got version %d, %v; want more than %d", round, r.Version, err, last)
		}
	}
	var verdict string
	err := s.readers.use(t.Context(), s, func(r *reader) (err error) {
		verdict, err = r.c.text("PRAGMA integrity_check")
		return err
	})
	if err != nil || verdict != "ok" {
		t.Errorf("integrity_check: got %q, %v", verdict, err)
	}
	t.Logf("%d acknowledged calls over %d kills", len(acknowledged), 2*rounds)
}

// starve makes calls by 8 callers and prints the worst latency.
func starve() error {
	ctx := context.Background()
	s, err := Open(ctx, roleArgs()[0], nil)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(roleArgs()[1])
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var worst time.Duration
	errs := make(chan error, 8)
	begin := time.Now()
	for range 8 {
		wg.Go(func() {
			for range n {
				start := time.Now()
				if err := (plain{s}).call(ctx, randomID()); err != nil {
					errs <- err
					return
				}
				mu.Lock()
				worst = max(worst, time.Since(start))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	close(errs)
	fmt.Println(worst.Microseconds(), time.Since(begin).Microseconds())
	return errors.Join(<-errs, s.Close())
}

// TestStarvation: 4 processes of 8 callers each all finish. It reports the worst call; it does not judge it.
func TestStarvation(t *testing.T) {
	n := 400
	if testing.Short() {
		n = 50
	}
	path := filepath.Join(t.TempDir(), "ledger.db")
	openTest(t, path)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range 4 {
		wg.Go(func() {
			out, err := start(t, "starve", nil, path, fmt.Sprint(n)).Output()
			if err != nil {
				t.Error(err)
				return
			}
			var worst, all int64
			if _, err := fmt.Sscan(string(out), &worst, &all); err != nil {
				t.Error(err)
			}
			t.Logf("process %d: worst call %v, mean of each caller's %v", i, time.Duration(worst)*time.Microsecond, time.Duration(all)*time.Microsecond/time.Duration(n))
		})
	}
	wg.Wait()
	t.Logf("%.0f calls/s", float64(4*8*n)/time.Since(begin).Seconds())
}

// TestModes: whatever the umask, nobody else can read the files.
func TestModes(t *testing.T) {
	for _, umask := range []int{0, 0o777} {
		path := filepath.Join(t.TempDir(), "ledger.db")
		old := syscall.Umask(umask)
		s, err := Open(t.Context(), path, nil)
		if err == nil {
			_, _, err = s.Claim(t.Context(), sampleClaim(randomID()))
		}
		syscall.Umask(old)
		if err != nil {
			t.Fatalf("umask %o: %v", umask, err)
		}
		defer s.Close()
		for file, want := range map[string]os.FileMode{
			path: 0o600, path + "-wal": 0o600, path + "-shm": 0o600, path + lockSuffix: 0o600,
			path + ownersSuffix: 0o700, s.owner.path(): 0o600,
		} {
			info, err := os.Stat(file)
			if err != nil || info.Mode().Perm() != want {
				t.Errorf("umask %o: %s: got %v, %v; want %v", umask, file, info.Mode().Perm(), err, want)
			}
		}
	}
}

// lookOnly opens read-only, as a user who can not write, and prints what it sees.
func lookOnly() error {
	ctx := context.Background()
	if _, err := Open(ctx, roleArgs()[0], &Options{BusyTimeout: time.Millisecond}); !errors.Is(err, ledger.ErrNotWritten) || !strings.Contains(err.Error(), "writable") {
		return fmt.Errorf("open to write: got %v; want ErrNotWritten that says what to make writable", err)
	}
	s, err := OpenReadOnly(ctx, roleArgs()[0], nil)
	if err != nil {
		return err
	}
	n, alive := 0, 0
	for r, err := range s.List(ctx, ledger.Filter{}) {
		if err != nil {
			return err
		}
		n++
		if r.Alive {
			alive++
		}
	}
	fmt.Println(n, alive)
	return s.Close()
}

// TestReadOnlyDirectory looks at a ledger as a user who can write neither the files nor the directory.
func TestReadOnlyDirectory(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	dir, err := os.MkdirTemp("", "ledger-readonly-") // t.TempDir has a parent that others can not enter
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "ledger.db")
	s, err := Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, _, err := s.Claim(t.Context(), sampleClaim(randomID())); err != nil {
			t.Fatal(err)
		}
	}
	look := func(want string) {
		t.Helper()
		for file, mode := range map[string]os.FileMode{
			dir: 0o555, path: 0o444, path + "-wal": 0o444, path + "-shm": 0o444, path + lockSuffix: 0o444, path + ownersSuffix: 0o555,
		} {
			if err := os.Chmod(file, mode); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
		names, _ := filepath.Glob(path + ownersSuffix + "/*")
		for _, name := range names {
			if err := os.Chmod(name, 0o444); err != nil {
				t.Fatal(err)
			}
		}
		binary := filepath.Join(dir, "test")
		if data, err := os.ReadFile(os.Args[0]); err != nil {
			t.Fatal(err)
		} else if err := os.WriteFile(binary, data, 0o755); err != nil {
			t.Fatal(err)
		}
		out, err := start(t, "look", func(cmd *exec.Cmd) {
			cmd.Path = binary
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}, path).Output()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("got %q, %v; want %q", out, err, want)
		}
	}
	look("3 3")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	look("3 0")
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + suffix); !os.IsNotExist(err) {
			t.Errorf("looking left %s behind", suffix)
		}
	}
}

// TestReadOnly looks while others write, and refuses to write itself.
func TestReadOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	s := openTest(t, path)
	ro, err := OpenReadOnly(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	r, _, err := s.Claim(t.Context(), sampleClaim(randomID()))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ro.Get(t.Context(), r.ID); err != nil || !got.Alive {
		t.Errorf("got %v, %v; want the claim alive", got.Alive, err)
	}
	_, _, claim := ro.Claim(t.Context(), sampleClaim(randomID()))
	for _, err := range []error{claim, ro.Finish(t.Context(), sampleDone(r)), ro.Delete(t.Context(), r.ID, r.Version), ro.Tally(t.Context(), nil)} {
		if !errors.Is(err, ledger.ErrUnavailable) || !errors.Is(err, ledger.ErrNotWritten) {
			t.Errorf("got %v; want ErrUnavailable and ErrNotWritten", err)
		}
	}
	done := make(chan error)
	go func() { done <- ro.Await(t.Context(), r.ID, r.Version) }()
	if err := s.Finish(t.Context(), sampleDone(r)); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if sessions, err := ro.Sessions(t.Context()); err != nil || len(sessions) != 1 {
		t.Errorf("got %v, %v; want the writer alone", sessions, err)
	}
}
