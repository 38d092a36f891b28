package powercut

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/sqlitestore"
)

// shown is a string as strace -xx shows it.
func shown(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteString(`\x` + hex.EncodeToString([]byte{c}))
	}
	return `"` + b.String() + `"`
}

// replay reads a trace in which 'text' stands for a string.
func replay(t *testing.T, trace string) *disk {
	t.Helper()
	parts := strings.Split(strings.TrimSpace(trace), "'")
	for i := 1; i < len(parts); i += 2 {
		parts[i] = shown(parts[i])
	}
	d := newDisk("/d")
	var err error
	if d.length, err = read(strings.NewReader(strings.Join(parts, "")+"\n"), d.enter); err != nil {
		t.Fatal(err)
	}
	return d
}

// built returns the files that a cut leaves, by name.
func built(t *testing.T, d *disk, c cut) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := d.build(dir, c, nil); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir+"/")] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

const made = `
1 openat(AT_FDCWD, '/d/a', O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 5
1 openat(AT_FDCWD, '/d', O_RDONLY|O_CLOEXEC) = 6
1 fsync(6)                          = 0
`

// What is on the disk after a cut, rule by rule. made are lines 1 to 3.
func TestCuts(t *testing.T) {
	for name, c := range map[string]struct {
		trace         string
		at            int
		dropped, kept string // the files
	}{
		"a name that was not synced": {
			"1 openat(AT_FDCWD, '/d/a', O_RDWR|O_CREAT, 0600) = 5\n1 fsync(5) = 0", 3, "map[]", "map[a:]"},
		"a name that was":     {made, 4, "map[a:]", "map[a:]"},
		"a write":             {made + `1 pwrite64(5, 'xyz', 3, 0) = 3`, 5, "map[a:]", "map[a:xyz]"},
		"a write, synced":     {made + "1 pwrite64(5, 'xyz', 3, 0) = 3\n1 fdatasync(5) = 0", 6, "map[a:xyz]", "map[a:xyz]"},
		"a sync not returned": {made + "1 pwrite64(5, 'xyz', 3, 0) = 3\n1 fsync(5 <unfinished ...>\n1 <... fsync resumed>) = 0", 6, "map[a:]", "map[a:xyz]"},
		"a sync that failed":  {made + "1 pwrite64(5, 'xyz', 3, 0) = 3\n1 fsync(5) = -1 EIO (Input/output error)", 6, "map[a:]", "map[a:xyz]"},
		"a write that a sync did not wait for": {
			made + "1 pwrite64(5, 'xyz', 3, 0 <unfinished ...>\n2 fsync(5) = 0\n1 <... pwrite64 resumed>) = 3", 7, "map[a:]", "map[a:xyz]"},
		"a short write":            {made + "1 write(5, 'xyz', 3) = 2\n1 write(5, 'z', 1) = 1\n1 fsync(5) = 0", 7, "map[a:xyz]", "map[a:xyz]"},
		"a write that failed":      {made + "1 write(5, 'xyz', 3) = -1 ENOSPC (No space left on device)", 5, "map[a:]", "map[a:]"},
		"parts of a write":         {made + `1 writev(5, [{iov_base='ab', iov_len=2}, {iov_base='c', iov_len=1}], 2) = 3`, 5, "map[a:]", "map[a:abc]"},
		"a hole":                   {made + `1 pwrite64(5, 'x', 1, 2) = 1`, 5, "map[a:]", "map[a:\x00\x00x]"},
		"a truncation":             {made + "1 pwrite64(5, 'xyz', 3, 0) = 3\n1 fsync(5) = 0\n1 ftruncate(5, 1) = 0", 7, "map[a:xyz]", "map[a:x]"},
		"a descriptor of yore":     {made + "1 close(5) = 0\n1 openat(AT_FDCWD, '/e', O_RDONLY) = 5\n1 write(5, 'xyz', 3) = 3", 7, "map[a:]", "map[a:]"},
		"a removal":                {made + `1 unlinkat(AT_FDCWD, '/d/a', 0) = 0`, 5, "map[a:]", "map[]"},
		"a removal, synced":        {made + "1 unlink('/d/a') = 0\n1 fsync(6) = 0", 6, "map[]", "map[]"},
		"a renaming":               {made + `1 renameat(AT_FDCWD, '/d/a', AT_FDCWD, '/d/b') = 0`, 5, "map[a:]", "map[b:]"},
		"a renaming, synced":       {made + "1 rename('/d/a', '/d/b') = 0\n1 fsync(6) = 0", 6, "map[b:]", "map[b:]"},
		"a directory":              {made + "1 mkdirat(AT_FDCWD, '/d/s', 0700) = 0\n1 openat(6, 's/f', O_CREAT|O_WRONLY, 0600) = 7", 6, "map[a:]", "map[a: s/f:]"},
		"a file made anew":         {made + "1 openat(AT_FDCWD, '/d/a', O_RDWR|O_CREAT|O_TRUNC, 0600) = 9\n1 write(9, 'n', 1) = 1\n1 close(9) = 0", 7, "map[a:]", "map[a:n]"},
		"what came after":          {made + `1 pwrite64(5, 'xyz', 3, 0) = 3`, 4, "map[a:]", "map[a:]"},
		"elsewhere":                {made + "1 openat(AT_FDCWD, '/dd/a', O_RDWR|O_CREAT, 0600) = 7\n1 write(7, 'x', 1) = 1", 6, "map[a:]", "map[a:]"},
		"a thread that was killed": {made + "2 ???( <unfinished ...>\n3 ???() = ?\n2 +++ exited with 0 +++", 7, "map[a:]", "map[a:]"},
		"a thread let go of":       {made + "2 ???( <detached ...>\n2 +++ exited with 0 +++", 6, "map[a:]", "map[a:]"},
		"a file that is no file":   {made + "1 openat(AT_FDCWD, '/d/b', O_RDWR) = -1 ENOENT (No such file or directory)\n1 +++ exited with 0 +++", 6, "map[a:]", "map[a:]"},
	} {
		t.Run(name, func(t *testing.T) {
			d := replay(t, c.trace)
			for v, want := range map[Variant]string{Dropped: c.dropped, Kept: c.kept} {
				if got := fmt.Sprint(built(t, d, cut{at: c.at, variant: v})); got != want {
					t.Errorf("%s: got %q, want %q", v, got, want)
				}
			}
		})
	}
}

// Random cuts keep pages or sectors as they were at some moment, and sizes; the same seed gives the same.
func TestRandomCuts(t *testing.T) {
	page := func(c string) string { return strings.Repeat(c, 4096) }
	d := replay(t, made+"1 pwrite64(5, '"+page("a")+page("a")+"', 8192, 0) = 8192\n1 fsync(5) = 0\n"+
		"1 pwrite64(5, '"+page("b")+page("b")+"', 8192, 0) = 8192\n1 pwrite64(5, '"+page("c")+"', 4096, 4096) = 4096\n"+
		"1 pwrite64(5, '"+page("d")+"', 4096, 8192) = 4096")
	content := func(c cut) string {
		n := d.files[0]
		return string(n.content(c, synced(n.syncs, c.at), c.chooser()))
	}
	for variant, unit := range map[Variant]int{Paged: 4096, Torn: 512} {
		seen := map[string]bool{}
		for seed := range uint64(1000) {
			c := cut{at: d.length + 1, variant: variant, seed: seed}
			got := content(c)
			if again := content(c); again != got {
				t.Fatalf("%s differs when it is repeated", c)
			}
			if len(got) != 8192 && len(got) != 12288 {
				t.Fatalf("%s: the file has %d bytes", c, len(got))
			}
			picture := ""
			for from := 0; from < len(got); from += unit {
				part := got[from : from+unit]
				if strings.Trim(part, part[:1]) != "" || !strings.Contains([]string{"ab", "abc", "\x00d"}[from/4096], part[:1]) {
					t.Fatalf("%s: at %d stands %.20q...", c, from, part)
				}
				picture += part[:1]
			}
			seen[picture] = true
		}
		// Two, three and two ways for three pages, and two and three for the first two alone.
		if want := 18; variant == Paged && len(seen) != want || variant == Torn && len(seen) < 2*want {
			t.Errorf("%s: %d outcomes", variant, len(seen))
		}
	}
}

// A model that misses something is found out, and what it does not know is refused.
func TestUnfaithful(t *testing.T) {
	live := t.TempDir()
	if err := os.WriteFile(filepath.Join(live, "a"), []byte("xyz"), 0o600); err != nil {
		t.Fatal(err)
	}
	for trace, want := range map[string]string{
		`1 pwrite64(5, 'xyz', 3, 0) = 3`: "",
		`1 pwrite64(5, 'xy', 2, 0) = 2`:  "differ",
		`1 unlink('/d/a') = 0`:           "no such file",
	} {
		err := replay(t, made+trace).faithful(live, t.TempDir())
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", trace, err, want)
		}
	}
	for _, line := range []string{
		`1 fallocate(5, 0, 0, 4096) = 0`, `1 dup(5) = 9`, `1 link("\x2f\x64\x2f\x61", "\x2f\x64\x2f\x62") = 0`,
		`1 pwrite64(5, "\x61"..., 4096, 0) = 4096`, `1 pwrite64 oh`, `1 ???() = 3`, `1 fsync(5 <detached ...>`, `1 openat(AT_FDCWD, "\x2f\x64\x2f\x71", O_RDWR) = 8`,
	} {
		d := newDisk("/d")
		in := fmt.Sprintf("1 openat(AT_FDCWD, %s, O_RDWR|O_CREAT, 0600) = 5\n%s\n", shown("/d/a"), line)
		if _, err := read(strings.NewReader(in), d.enter); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: got %v, want an error that names line 2", line, err)
		}
	}
}

// verify sees each way in which a ledger may differ from what was acknowledged.
func TestVerify(t *testing.T) {
	dir := t.TempDir()
	store, err := sqlitestore.Open(t.Context(), filepath.Join(dir, ledgerFile), nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	id := ledger.ID{Workflow: "w", Tool: "t", Fingerprint: strings.Repeat("a", 32)}
	r, won, err := store.Claim(t.Context(), ledger.Claim{Next: ledger.Record{ID: id, State: ledger.StateRunning, Nonce: "n", Token: "k", Created: now, Started: now}})
	if err != nil || !won {
		t.Fatal(won, err)
	}
	r.State, r.Result, r.Finished = ledger.StateSucceeded, []byte("1"), now
	if err := store.Finish(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	image := func() string {
		copied := t.TempDir()
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		return copied
	}
	fence := int64(r.Fence)
	claim := say{Op: opClaim, ID: id.String(), Nonce: "n", At: fence}
	finish := say{Op: opFinish, ID: id.String(), Nonce: "n", At: fence, State: "succeeded", Result: "1"}
	other := claim
	other.ID = "w/t/" + strings.Repeat("b", 32)
	wrong := finish
	wrong.Result = "2"
	gone := say{Op: opRemove, ID: id.String(), At: fence + 1}
	asked := func(s say) say { s.Asked = true; return s }
	for name, c := range map[string]struct {
		says []say
		want string // "": nothing is wrong
	}{
		"as acknowledged":                {[]say{asked(claim), claim, asked(finish), finish}, ""},
		"more than was acknowledged":     {[]say{asked(claim), claim, asked(finish)}, ""},
		"a claim of which there is none": {[]say{asked(claim), claim, asked(finish), finish, asked(other), other}, "there is no record"},
		"given back perhaps":             {[]say{asked(other), other, asked(say{Op: opRemove, ID: other.ID, At: fence})}, ""},
		"another result":                 {[]say{asked(claim), claim, asked(wrong), wrong}, "instead of"},
		"a removal undone":               {[]say{asked(claim), claim, asked(finish), finish, asked(gone), gone}, "removal"},
		"a later claim":                  {[]say{asked(claim), claim, asked(finish), finish, {Op: opClaim, ID: id.String(), Nonce: "m", At: fence + 2}}, "fence"},
		"nobody asked for the outcome":   {[]say{asked(claim), claim}, "nobody had asked"},
		"nobody asked for the claim":     {[]say{{Op: opClaim, ID: id.String(), Nonce: "m", At: fence - 1}}, "nobody had asked"},
		"a version that comes again":     {[]say{{Op: opClaim, ID: other.ID, At: 1000}, {Op: opRemove, ID: other.ID, At: 1001}}, "got the version"},
	} {
		t.Run(name, func(t *testing.T) {
			var all []heard
			for i, s := range c.says {
				all = append(all, heard{s, i + 1})
			}
			lost, err := verify(t.Context(), image(), cut{at: len(all) + 1}, all)
			if err != nil {
				t.Fatal(err)
			}
			if c.want == "" && len(lost) != 0 || c.want != "" && (len(lost) != 1 || !strings.Contains(lost[0].Text, c.want)) {
				t.Errorf("got %v, want %q", lost, c.want)
			}
			// At a cut before anything was said nothing is owed.
			if lost, err := verify(t.Context(), image(), cut{at: 0}, all); err != nil || len(lost) != 0 {
				t.Errorf("before all: %v, %v", lost, err)
			}
		})
	}
	broken := image()
	if err := os.WriteFile(filepath.Join(broken, ledgerFile), []byte(strings.Repeat("no database ", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	lost, err := verify(t.Context(), broken, cut{at: 9}, nil)
	if err != nil || len(lost) != 1 || !strings.Contains(lost[0].Text, "can not be opened") {
		t.Errorf("no database: %v, %v", lost, err)
	}
}
