package embedded

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
)

// A Server is one etcd member in this process. Its methods may be called from
// any goroutine. Once stopped it stays stopped: to go on, call Start again, or
// Servers.Restart for a member of a cluster.
type Server struct {
	endpoint string
	dir      string
	fault    *fault
	etcd     *embed.Etcd
	grpc     *grpc.Server // what clients talk to
	client   net.Listener
	peers    *http.Server // what the other members talk to

	once     sync.Once
	stopping chan struct{} // closed when stop begins
	done     chan struct{} // closed when it ended
	watched  chan struct{} // closed when watch returned
	running  sync.WaitGroup

	mu      sync.Mutex
	err     error
	ended   bool   // stopped, and all files closed
	release func() // gives the directory up; nil for a member of a cluster
}

// Start starts an etcd of one member that keeps its data below dir, which is
// made if it does not exist. Where an earlier one left its data, Start resumes
// with them, and at the same endpoint unless somebody else took the port since.
// It returns once the server answers.
//
// If ctx ends first, Start stops what it began and returns an error that
// matches ctx's. It returns an error that matches ErrInUse if the directory's
// server already runs. All errors name the directory.
func Start(ctx context.Context, dir string, o *Options) (*Server, error) {
	servers, err := start(ctx, 1, dir, o)
	if err != nil {
		return nil, fmt.Errorf("embedded: start an etcd in %s: %w", dir, err)
	}
	s := servers.Member(0)
	s.whenStopped(servers.place.close)
	return s, nil
}

// Endpoints returns the server's URL, for clientv3.Config.Endpoints.
func (s *Server) Endpoints() []string { return []string{s.endpoint} }

// Client returns a client of this server that logs nothing and sends no request
// twice by itself. It needs a tlsConfig if the server has Options.TLS, and none
// otherwise. The caller closes it.
func (s *Server) Client(tlsConfig *tls.Config) (*clientv3.Client, error) {
	return newClient(s.Endpoints(), tlsConfig)
}

func newClient(endpoints []string, tlsConfig *tls.Config) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{
		Endpoints:       endpoints,
		TLS:             tlsConfig,
		DialTimeout:     5 * time.Second,
		MaxUnaryRetries: 1,
		Logger:          zap.NewNop(),
	})
}

// Done returns a channel that is closed when the server has stopped: after
// Close or Kill, or because it can not go on. Err says which.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err returns nil while the server runs and after Close or Kill, and otherwise
// why it stopped, such as a full disk.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close stops the server and waits for it. Requests under way get a tenth of a
// second to end. The leader of a cluster hands its place to another member
// first, which takes a few heartbeats, and up to five seconds and two election
// timeouts if none can take it. The data stay. Close returns Err.
func (s *Server) Close() error {
	s.stop(handOver)
	return s.Err()
}

// Kill stops the server and waits for it, as abruptly as can be done within a
// process: connections break, requests under way stay unanswered, and nothing
// is handed to another member. What etcd has in memory is written to its files
// nevertheless; only a process of its own can be killed for real. The data stay.
func (s *Server) Kill() { s.stop(kill) }

// whenStopped has f called once the server is stopped and its files are closed,
// which may be now.
func (s *Server) whenStopped(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		f()
		return
	}
	s.release = f
}

// fail adds to what Err returns.
func (s *Server) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err == nil:
		s.err = fmt.Errorf("embedded: the etcd in %s can not go on: %w", s.dir, err)
	case !errors.Is(s.err, err):
		s.err = fmt.Errorf("%w; %w", s.err, err)
	}
}

// gone is the error of waiting for a server that was stopped.
func (s *Server) gone() error {
	if err := s.Err(); err != nil {
		return err
	}
	return errors.New("it was stopped meanwhile")
}

func (s *Server) isStopping() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

func (s *Server) isDone() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}
