// Package lab holds what runs of chaos have in common: worker processes, the cluster and the
// file that they work on, the downstream, the connections between them, and the run's directory.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/version"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger/chaos/internal/cluster"
	"github.com/ledger-once/ledger/chaos/internal/proc"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// How a process of the harness is told its role: exe RoleArgument ROLE, with the spec in the environment.
const (
	RoleArgument = "ledger-chaos-role"
	SpecVariable = "LEDGER_CHAOS_SPEC"
)

// MakeDir makes a run's directory below dir; "" stands for os.TempDir(). Its name begins with ledger-chaos-.
func MakeDir(dir string) (string, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	return os.MkdirTemp(dir, "ledger-chaos-*")
}

// Leftovers says what crashed runs left below dir.
func Leftovers(dir string) []string {
	if dir == "" {
		dir = os.TempDir()
	}
	found, err := proc.Leftovers(dir)
	if err != nil {
		return []string{fmt.Sprintf("what crashed chaos runs left in %s can not be told: %v", dir, err)}
	}
	var lines []string
	for _, l := range found {
		lines = append(lines, l.String())
	}
	return lines
}

// Versions of what takes part.
func Versions() trace.Versions {
	v := trace.Versions{Go: strings.TrimPrefix(runtime.Version(), "go"), Etcd: version.Version, OS: runtime.GOOS + "/" + runtime.GOARCH, Ledger: "(devel)"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Ledger = info.Main.Version
	}
	for _, d := range info.Deps {
		if d.Path == "modernc.org/sqlite" {
			v.SQLite = d.Version
		}
	}
	return v
}

// history is how much of the cluster's the recorders may be behind.
const history = 3 * time.Minute

// Options of a lab.
type Options struct {
	Dir     string       // of the lab; it exists
	Keeper  *proc.Keeper // of its processes
	Command []string     // starts a process; the role is appended
	Members int          // of an etcd cluster; 0: none
	TTL     time.Duration
}

// A Lab is a cluster and its processes. Runs on it are Sites.
type Lab struct {
	o       Options
	ctx     context.Context
	keeper  *proc.Keeper
	cluster *cluster.Cluster // nil: none
	client  *clientv3.Client // on all members

	memberMu sync.Mutex // one member is down at a time
}

// Open starts the cluster, if there is to be one. ctx bounds the lab's life: when it ends, all processes are ended.
func Open(ctx context.Context, o Options) (_ *Lab, err error) {
	l := &Lab{o: o, ctx: ctx, keeper: o.Keeper}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if o.Members == 0 {
		return l, nil
	}
	l.cluster, err = cluster.Start(ctx, cluster.Options{
		Dir: filepath.Join(o.Dir, "etcd"), Members: o.Members, Keeper: o.Keeper,
		Command: l.role(cluster.Role), SpecVariable: SpecVariable, History: history,
	})
	if err != nil {
		return nil, fmt.Errorf("the etcd cluster: %w", err)
	}
	if l.client, err = l.cluster.Client(); err != nil {
		return nil, fmt.Errorf("the etcd cluster: %w", err)
	}
	return l, nil
}

func (l *Lab) role(name string) []string {
	return append(append([]string{}, l.o.Command...), RoleArgument, name)
}

// Close stops the cluster.
func (l *Lab) Close() error {
	var err error
	if l.client != nil {
		err = l.client.Close()
	}
	if l.cluster != nil {
		closing, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), 30*time.Second)
		defer cancel()
		err = errors.Join(err, l.cluster.Close(closing))
	}
	return err
}
