package embedded

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
	"github.com/google/uuid"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// ErrInUse is matched by the error for a directory whose servers already run,
// in this process or another.
var ErrInUse = errors.New("in use")

const (
	lockName = "ledger-etcd.lock"
	noteName = "ledger-etcd.json"
)

// A place is a directory that this process holds: a lock, a note of who lives
// there, and a subdirectory for each member.
type place struct {
	dir  string
	lock *flock.Flock
	own  *flock.Flock // of the only member that this process runs; see Member
	note note
}

// note is what ledger-etcd.json holds.
type note struct {
	Version int `json:"version"`
	// Ready is false until all members were up once. Before, their logs may lack
	// the first entries, without which they never elect anybody, and nobody was
	// told where they are: they are made anew.
	Ready   bool         `json:"ready"`
	Token   string       `json:"token"`
	Members []memberNote `json:"members"`
}

type memberNote struct {
	Name   string `json:"name"` // and the name of the subdirectory
	Client string `json:"client"`
	Peer   string `json:"peer"`
}

// nowhere is the peers' address of an only member.
const nowhere = "127.0.0.1:0"

func newNote(members int) note {
	n := note{Version: 1, Token: uuid.NewString()}
	for i := range members {
		n.Members = append(n.Members, memberNote{Name: "m" + strconv.Itoa(i), Peer: nowhere})
	}
	return n
}

func (n *note) initialCluster() string {
	var all []string
	for _, m := range n.Members {
		all = append(all, m.Name+"=http://"+m.Peer)
	}
	return strings.Join(all, ",")
}

func absolute(dir string) (string, error) {
	if dir == "" {
		return "", errors.New("name a directory")
	}
	return filepath.Abs(dir)
}

// openPlace makes the directory if need be and takes it for n members.
func openPlace(dir string, n int) (_ *place, err error) {
	dir, err = absolute(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		if fi, serr := os.Stat(dir); serr == nil && !fi.IsDir() {
			return nil, errors.New("it is a file: name a directory, or a path where one can be made")
		}
		return nil, fmt.Errorf("make the directory, or choose one that can be made: %w", err)
	}
	p := &place{dir: dir, lock: flock.New(filepath.Join(dir, lockName), flock.SetPermissions(0o600))}
	locked, err := p.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("the directory can not be written to: change its permissions, or choose another: %w", err)
	}
	if !locked {
		return nil, fmt.Errorf("%w%s: stop it, or choose another directory", ErrInUse, holder(p.lock))
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	// For people, and for holder. Where locks forbid writing (Windows) it is left out.
	_ = os.WriteFile(p.lock.Path(), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	if err := p.load(n); err != nil {
		return nil, err
	}
	if err := p.probe(); err != nil {
		return nil, err
	}
	return p, nil
}

// holder returns " by process 123" if that can be told.
func holder(lock *flock.Flock) string {
	b, err := os.ReadFile(lock.Path())
	if err != nil {
		return ""
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return ""
	}
	if pid == os.Getpid() {
		return " by this process"
	}
	return fmt.Sprintf(" by process %d", pid)
}

func (p *place) member(i int) string { return filepath.Join(p.dir, p.note.Members[i].Name) }

// load reads the note; where there is none it makes one for n members.
func (p *place) load(n int) error {
	err := p.read()
	if errors.Is(err, fs.ErrNotExist) {
		for _, name := range []string{"member", "m0"} {
			if _, err := os.Lstat(filepath.Join(p.dir, name)); err == nil {
				return fmt.Errorf("it holds %s, but no %s: another program's etcd, or one whose note was deleted; choose another directory", name, noteName)
			}
		}
		p.note = newNote(n)
		return nil
	}
	if err != nil {
		return err
	}
	if !p.note.Ready {
		if err := p.clear(); err != nil {
			return err
		}
		p.note = newNote(n)
	}
	for i := range p.note.Members {
		if err := p.hasData(i); p.note.Ready && err != nil {
			return err
		}
	}
	if len(p.note.Members) != n {
		return fmt.Errorf("it holds an etcd of %s, not of %s: start that many, or choose another directory", members(len(p.note.Members)), members(n))
	}
	return nil
}

// read reads the note. Its error matches fs.ErrNotExist if there is none.
func (p *place) read() error {
	b, err := os.ReadFile(filepath.Join(p.dir, noteName))
	if err != nil {
		return err
	}
	damaged := fmt.Errorf("its %s is damaged: restore it, or delete the directory with all its data", noteName)
	if err := json.Unmarshal(b, &p.note); err != nil {
		return fmt.Errorf("%w (%w)", damaged, err)
	}
	if p.note.Version > 1 {
		return fmt.Errorf("its %s has version %d, and this program knows 1: use a newer program", noteName, p.note.Version)
	}
	if p.note.Version != 1 || len(p.note.Members) == 0 {
		return damaged
	}
	for i, m := range p.note.Members {
		if m.Name != "m"+strconv.Itoa(i) || p.note.Ready && !(onLoopback(m.Client) && onLoopback(m.Peer)) {
			return damaged
		}
	}
	return nil
}

// hasData returns an error if the log of a member is gone: etcd would begin
// anew, and forget what it has confirmed.
func (p *place) hasData(i int) error {
	if _, err := os.Stat(filepath.Join(p.member(i), "member", "wal")); err != nil {
		return fmt.Errorf("the data of member %d are gone: restore %s, or delete the whole directory: %w", i, p.note.Members[i].Name, err)
	}
	return nil
}

// clear removes the members, if none was ever ready.
func (p *place) clear() error {
	if p.note.Ready {
		return nil
	}
	for i := range p.note.Members {
		if err := os.RemoveAll(p.member(i)); err != nil {
			return err
		}
	}
	return nil
}

func members(n int) string {
	if n == 1 {
		return "1 member"
	}
	return strconv.Itoa(n) + " members"
}

// save writes the note so that it outlives a power cut.
func (p *place) save() error {
	b, err := json.MarshalIndent(&p.note, "", "\t")
	if err != nil {
		return err // unreachable unless program bug
	}
	name := filepath.Join(p.dir, noteName)
	f, err := os.OpenFile(name+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		return nil // a directory can not be synced there
	}
	d, err := os.Open(p.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// probe finds out whether there is room for what etcd takes at once: it has no
// error for a disk that is full.
func (p *place) probe() error {
	bytes := int64(8 << 20)
	if !p.note.Ready {
		// Two segments of the log for each member, which etcd allocates ahead.
		bytes += int64(len(p.note.Members)) * 2 * wal.SegmentSizeBytes
	}
	f, err := os.CreateTemp(p.dir, "ledger-etcd-*.probe")
	if err != nil {
		return fmt.Errorf("the directory can not be written to: change its permissions, or choose another: %w", err)
	}
	_ = os.Remove(f.Name())   // so that a process that is killed leaves none behind,
	defer os.Remove(f.Name()) // and once more, where an open file can not be removed
	err = fileutil.Preallocate(f, bytes, true)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("etcd needs %d MiB here: free some space, or choose another directory: %w", bytes>>20, err)
	}
	return nil
}

func (p *place) close() {
	if p.own != nil {
		_ = p.own.Unlock()
	}
	_ = p.lock.Unlock()
}
