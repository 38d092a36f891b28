package etcdstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Health is what can be told of a cluster without writing to it.
type Health struct {
	Prefix  string
	Schema  int      // of the keys
	Members []Member // one for each endpoint of the store
	// Read is how long a linearizable read took, and Commit a transaction that
	// the cluster agreed on, and that wrote nothing.
	Read, Commit time.Duration
	// ReadErr and CommitErr are set where that failed; etcd checks permissions to write also of what is not written.
	ReadErr, CommitErr error
	// Client is the certificate that the store shows; nil without one.
	Client *x509.Certificate
}

// A Member is a server as one endpoint shows it. Times are zero, sizes 0 and certificates nil where they can not be told.
type Member struct {
	Endpoint string
	Err      error // it was not reached
	Version  string
	TooOld   bool // see Open
	Answer   time.Duration
	Leader   bool // it is the leader
	Learner  bool
	Errors   []string // what it complains of: alarms, no leader
	// DBSize is the size of the file, DBInUse without what a defragmentation gives back, Quota what it may have; in bytes.
	DBSize, DBInUse, Quota int64
	// Ahead is how far its clock is ahead of this one, to a second. It is known of servers that answer HTTP requests, as etcd
	// does unless it is told to do so on another port.
	Ahead      time.Duration
	ClockKnown bool
	// Server is its certificate, Authority the one that it was verified with.
	Server, Authority *x509.Certificate
}

// Health asks each endpoint. It returns an error only where ctx has ended; what went
// wrong is in the answer. A server that does not answer takes RequestTimeout.
func (s *Store) Health(ctx context.Context) (*Health, error) {
	if err := s.begin(ctx); err != nil {
		return nil, fmt.Errorf("etcdstore: health: %w", err)
	}
	h := &Health{Prefix: s.opts.Prefix, Schema: schemaVersion}
	endpoints := s.client.Endpoints()
	h.Members = make([]Member, len(endpoints))
	var asked sync.WaitGroup
	for i, e := range endpoints {
		asked.Go(func() { h.Members[i] = s.member(ctx, e) })
	}
	asked.Go(func() { h.Read, h.ReadErr = s.timed(ctx, s.tryRead) })
	asked.Go(func() { h.Commit, h.CommitErr = s.timed(ctx, s.tryCommit) })
	asked.Wait()
	if s.opts.TLS != nil && s.opts.TLS.GetClientCertificate != nil {
		if pair, err := s.opts.TLS.GetClientCertificate(&tls.CertificateRequestInfo{}); err == nil && pair != nil && len(pair.Certificate) > 0 {
			h.Client, _ = x509.ParseCertificate(pair.Certificate[0]) // it was parsed before
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("etcdstore: health: %w", err)
	}
	return h, nil
}

func (s *Store) timed(ctx context.Context, try func(context.Context) error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.RequestTimeout)
	defer cancel()
	from := time.Now()
	if err := try(clientv3.WithRequireLeader(ctx)); err != nil {
		return 0, s.unavailable(err)
	}
	return time.Since(from), nil
}

func (s *Store) tryRead(ctx context.Context) error {
	_, err := s.client.Get(ctx, s.keys.root+kindRecords, clientv3.WithPrefix(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	return err
}

// tryCommit sends a transaction whose condition never holds.
func (s *Store) tryCommit(ctx context.Context) error {
	var puts []clientv3.Op
	for _, kind := range []string{kindRecords, kindRunning, kindSessions, kindTallies, kindCounters, kindChanges} {
		puts = append(puts, clientv3.OpPut(s.keys.root+kind+"health", ""))
	}
	_, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(s.keys.schema()), "<", 0)).Then(puts...).Commit()
	return err
}

func (s *Store) member(ctx context.Context, endpoint string) Member {
	ctx, cancel := context.WithTimeout(ctx, s.opts.RequestTimeout)
	defer cancel()
	m := Member{Endpoint: bare([]string{endpoint})[0]}
	conn, err := s.client.Dial(endpoint)
	if err != nil {
		m.Err = s.unavailable(err)
		return m
	}
	defer conn.Close()
	api := etcdserverpb.NewMaintenanceClient(conn)
	if _, err = api.Status(ctx, &etcdserverpb.StatusRequest{}); err != nil { // dials
		m.Err = s.unavailable(err)
		return m
	}
	from := time.Now()
	r, err := api.Status(ctx, &etcdserverpb.StatusRequest{})
	if err != nil {
		m.Err = s.unavailable(err)
		return m
	}
	m.Answer = time.Since(from)
	m.Version, m.TooOld = r.Version, checkVersion(r.Version) != nil
	m.Leader, m.Learner, m.Errors = r.Leader != 0 && r.Leader == r.Header.GetMemberId(), r.IsLearner, r.Errors
	m.DBSize, m.DBInUse, m.Quota = r.DbSize, r.DbSizeInUse, r.DbSizeQuota
	hostport, secure := s.addressOf(endpoint)
	if hostport == "" {
		return m
	}
	at := "http://" + hostport + "/version"
	if secure {
		at = "https://" + hostport + "/version"
		config := s.opts.TLS
		if config == nil { // as clientv3 does for https://
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		m.Server, m.Authority = certificates(ctx, hostport, config)
	}
	m.Ahead, m.ClockKnown = ahead(ctx, at, s.opts.TLS)
	return m
}

// addressOf returns the host:port of an endpoint, and whether it is reached by TLS; "" for one that is no TCP address.
func (s *Store) addressOf(endpoint string) (hostport string, secure bool) {
	scheme, rest, ok := strings.Cut(endpoint, "://")
	switch {
	case !ok:
		return endpoint, s.opts.TLS != nil
	case scheme != "http" && scheme != "https":
		return "", false
	}
	return strings.TrimSuffix(rest, "/"), scheme == "https"
}

// certificates returns the server's certificate and the authority that it was verified with, nil where there are none.
func certificates(ctx context.Context, hostport string, config *tls.Config) (server, authority *x509.Certificate) {
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", hostport)
	if err != nil {
		return nil, nil
	}
	defer conn.Close()
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return nil, nil // unreachable unless program bug
	}
	state := secured.ConnectionState()
	if len(state.PeerCertificates) > 0 {
		server = state.PeerCertificates[0]
	}
	if len(state.VerifiedChains) > 0 {
		authority = state.VerifiedChains[0][len(state.VerifiedChains[0])-1]
	}
	return server, authority
}

// ahead returns how far the server's clock is ahead of this one's, by the date of its answer to an HTTP request.
func ahead(ctx context.Context, at string, config *tls.Config) (time.Duration, bool) {
	transport := &http.Transport{
		DialContext: (&net.Dialer{}).DialContext, TLSClientConfig: config.Clone(), DisableKeepAlives: true,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return 0, false
	}
	from := time.Now()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return 0, false
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	res.Body.Close()
	took := time.Since(from)
	date, err := http.ParseTime(res.Header.Get("Date"))
	if err != nil {
		return 0, false
	}
	// It was cut to the second, some time during the request.
	return date.Add(time.Second / 2).Sub(from.Add(took / 2)).Round(time.Second), true
}

// NoSpace reports whether the member refuses writes for want of space.
func (m *Member) NoSpace() bool {
	for _, e := range m.Errors {
		if strings.Contains(e, "NOSPACE") {
			return true
		}
	}
	return false
}
