package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/gofrs/flock"
)

// Prepare makes dir ready for an etcd of n members (1 to 9) that are to run in
// processes of their own, by Member, and returns their endpoints. It starts the
// members once, in this process, and stops them again: a member that is killed
// in its very first moments could never be started again. Where an earlier
// Prepare or Cluster left its data, they stay; n must be the same.
// Its errors are those of Cluster.
func Prepare(ctx context.Context, n int, dir string, o *Options) (endpoints []string, err error) {
	c, err := Cluster(ctx, n, dir, o)
	if err != nil {
		return nil, err
	}
	if err := c.Close(); err != nil {
		return nil, err
	}
	return c.Endpoints(), nil
}

// Member starts member i, counted from 0, of the etcd that Prepare or Cluster
// left in dir, and nothing else of it. The other members may run in other
// processes, and any of them can be killed and started again, at the same
// endpoint and with all that it has confirmed. Options that members must agree
// upon, such as Election, are to be the same for all.
//
// It returns once the server runs. That answers as soon as it finds a majority
// of the members, and goes on trying until then.
//
// Member returns an error that matches ErrInUse if that member runs, or if all
// of them do in one process. All errors name the directory.
func Member(i int, dir string, o *Options) (*Server, error) {
	s, err := startMember(i, dir, o)
	if err != nil {
		return nil, fmt.Errorf("embedded: start member %d of the etcd in %s: %w", i, dir, err)
	}
	return s, nil
}

func startMember(i int, dir string, o *Options) (_ *Server, err error) {
	o = o.copied()
	if err := o.check(); err != nil {
		return nil, err
	}
	p, err := sharePlace(dir, i)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil && !errors.Is(err, errStuck) {
			p.close()
		}
	}()
	at, err := p.listenAt(context.Background(), i)
	if err != nil {
		at.close()
		return nil, err
	}
	s, err := boot(context.Background(), o, p, i, at)
	if err != nil {
		return nil, err
	}
	s.whenStopped(p.close)
	return s, nil
}

// sharePlace takes member i of a directory, whose other members are free for
// other processes: the directory's lock is shared among them, and each holds
// another one beside its data.
func sharePlace(dir string, i int) (_ *place, err error) {
	dir, err = absolute(dir)
	if err != nil {
		return nil, err
	}
	unprepared := errors.New("it holds no etcd that was ever ready: call Prepare first, or wait for it")
	if _, err := os.Stat(filepath.Join(dir, noteName)); errors.Is(err, fs.ErrNotExist) {
		return nil, unprepared // and nothing is made there
	}
	p := &place{dir: dir, lock: flock.New(filepath.Join(dir, lockName), flock.SetPermissions(0o600))}
	locked, err := p.lock.TryRLock()
	if err != nil {
		return nil, fmt.Errorf("the directory can not be used: change its permissions: %w", err)
	}
	if !locked {
		return nil, fmt.Errorf("%w%s: stop it", ErrInUse, holder(p.lock))
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if err := p.read(); err != nil {
		return nil, err
	}
	if !p.note.Ready {
		return nil, unprepared
	}
	if i < 0 || i >= len(p.note.Members) {
		return nil, fmt.Errorf("it holds an etcd of %s, counted from 0", members(len(p.note.Members)))
	}
	own := flock.New(p.member(i)+".lock", flock.SetPermissions(0o600))
	if locked, err = own.TryLock(); err != nil {
		return nil, fmt.Errorf("the directory can not be written to: change its permissions: %w", err)
	}
	if !locked {
		return nil, fmt.Errorf("%w%s: stop it", ErrInUse, holder(own))
	}
	p.own = own
	// For holder: this one is known, and whoever had the whole directory is gone.
	_ = os.WriteFile(own.Path(), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600)
	_ = os.Truncate(p.lock.Path(), 0)
	if err := p.hasData(i); err != nil {
		return nil, err
	}
	return p, p.probe()
}
