package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/etcdhttp"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

const (
	// drainTime is what requests get to end by themselves in a clean stop. It is
	// short because watches never do.
	drainTime = 100 * time.Millisecond

	// giveUpTime is how long a server that can not go on has to stop: its
	// goroutines may wait for ever for one that ended.
	giveUpTime = time.Second
)

// errStuck is matched by the error of a server that can not go on and could not
// be stopped either. Its files stay open, and the directory locked.
var errStuck = errors.New("it could not be stopped cleanly: end this process before another start")

// how a server is stopped.
type how int

const (
	kill     how = iota // breaks connections
	drain               // lets requests end
	handOver            // and leadership pass to another member
)

// boot starts a member, which is not ready when boot returns.
//
// Etcd is given no listeners. It would open its own by address, which somebody
// else may have taken by then; and in the end it waits seconds for connections
// that do not end by themselves, and leaves some behind.
func boot(ctx context.Context, o *Options, p *place, i int, at addresses) (_ *Server, err error) {
	f := newFault()
	s := &Server{
		endpoint: o.scheme() + "://" + p.note.Members[i].Client,
		dir:      p.member(i),
		fault:    f,
		client:   at.client,
		stopping: make(chan struct{}),
		done:     make(chan struct{}),
		watched:  make(chan struct{}),
	}
	defer func() {
		if err != nil {
			at.close()
			s.closePeers()
			s.running.Wait()
		}
	}()
	tlsConfig, err := o.tlsConfig()
	if err != nil {
		return nil, err
	}
	if err := awaitFiles(ctx, s.dir); err != nil {
		return nil, err
	}
	var handler peerHandler
	if at.peer != nil {
		s.peers = &http.Server{Handler: &handler, ErrorLog: log.New(io.Discard, "", 0)}
		s.running.Go(func() { _ = s.peers.Serve(at.peer) }) // until closePeers
	}
	cfg := o.config(p, i, f)
	s.etcd, err = bootEtcd(cfg, f)
	if err != nil {
		return nil, err
	}
	handler.set(etcdhttp.NewPeerHandler(cfg.GetLogger(), s.etcd.Server))
	s.grpc = v3rpc.Server(s.etcd.Server, tlsConfig, nil,
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: cfg.GRPCKeepAliveMinTime}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: cfg.GRPCKeepAliveInterval, Timeout: cfg.GRPCKeepAliveTimeout}))
	s.running.Go(func() {
		select {
		case <-s.etcd.Server.ReadyNotify():
			_ = s.grpc.Serve(s.client) // until tearDown
		case <-s.stopping:
		}
	})
	go s.watch()
	return s, nil
}

func bootEtcd(cfg *embed.Config, f *fault) (*embed.Etcd, error) {
	type result struct {
		etcd *embed.Etcd
		err  error
	}
	c := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if v := recover(); v != nil {
				f.set(fmt.Errorf("etcd: %v", v))
			}
			c <- r
		}()
		r.etcd, r.err = embed.StartEtcd(cfg)
	}()
	var r result
	select {
	case r = <-c:
	case <-f.c:
		// StartEtcd may wait for ever for the goroutine that ended.
		select {
		case r = <-c:
		case <-time.After(giveUpTime):
		}
	}
	if r.etcd == nil && r.err == nil {
		<-f.c
		return nil, fmt.Errorf("its files may be damaged: restore a copy, or delete the directory: %w; %w", f.err, errStuck)
	}
	return r.etcd, r.err
}

// peerHandler serves the other members: refusals at first, so that they do not
// wait for an answer, and etcd's answers once it is up.
type peerHandler struct{ h atomic.Pointer[http.Handler] }

func (p *peerHandler) set(h http.Handler) { p.h.Store(&h) }

func (p *peerHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := p.h.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	http.Error(w, "the member is about to start", http.StatusServiceUnavailable)
}

// ready waits until the server answers clients, with all that was ever confirmed.
func (s *Server) ready(ctx context.Context) error {
	select {
	case <-s.etcd.Server.ReadyNotify():
	case <-s.done:
		return s.gone()
	case <-ctx.Done():
		return ctx.Err()
	}
	for s.etcd.Server.LinearizableReadNotify(ctx) != nil {
		select {
		case <-s.done:
			return s.gone()
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond): // there is no leader yet
		}
	}
	return nil
}

// watch stops a server that can not go on.
func (s *Server) watch() {
	defer close(s.watched)
	var err error
	select {
	case <-s.stopping:
		return
	case <-s.fault.c:
		err = s.fault.err
	case <-s.etcd.Server.StopNotify():
		err = errors.New("etcd stopped itself: the member was removed from its cluster")
	}
	select {
	case <-s.stopping:
		return // and that is the cause
	default:
	}
	s.fail(err)
	s.shut(kill)
}

// stop stops the server, unless that was done before, and waits for it.
func (s *Server) stop(h how) {
	s.shut(h)
	<-s.watched
}

func (s *Server) shut(h how) {
	s.once.Do(func() {
		defer close(s.done)
		close(s.stopping)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.tearDown(h)
		}()
		select {
		case <-ended:
		case <-s.fault.c:
			select {
			case <-ended:
			case <-time.After(giveUpTime):
				s.fail(s.fault.err)
				s.fail(errStuck)
				return // with the lock: the files are open
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = true
		if s.release != nil {
			s.release()
		}
	})
	<-s.done
}

func (s *Server) tearDown(h how) {
	if h != kill {
		s.drainRequests()
	}
	s.grpc.Stop()
	s.client.Close()
	if h == handOver {
		s.etcd.Server.Stop()
	} else {
		s.etcd.Server.HardStop()
	}
	s.closePeers()
	s.etcd.Close()
	s.running.Wait()
}

func (s *Server) drainRequests() {
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		s.grpc.GracefulStop()
	}()
	select {
	case <-drained:
	case <-time.After(drainTime):
		s.grpc.Stop()
		<-drained
	}
}

// closePeers breaks the connections of the other members.
func (s *Server) closePeers() {
	if s.peers != nil {
		_ = s.peers.Close()
	}
}
