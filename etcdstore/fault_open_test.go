package etcdstore_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
	"github.com/ledger-once/ledger/internal/testcert"
)

const secret = "s3cr3t-pa55"

// wantRefused checks that a store can not be opened, and that the error says why, and what to do.
func wantRefused(t *testing.T, endpoints []string, o etcdstore.Options, texts ...string) {
	t.Helper()
	if o.DialTimeout == 0 {
		o.DialTimeout = 6 * time.Second
	}
	start := time.Now()
	s, err := etcdstore.Open(t.Context(), endpoints, &o)
	if err == nil {
		_ = s.Close()
		t.Fatal("the store was opened")
	}
	t.Log(err)
	wantError(t, err, []error{ledger.ErrUnavailable}, texts...)
	if strings.Contains(err.Error(), secret) {
		t.Errorf("the error tells the password: %v", err)
	}
	if took := time.Since(start); took > o.DialTimeout+5*time.Second {
		t.Errorf("it took %v; the limit was %v", took, o.DialTimeout)
	}
}

// deadEndpoint is one where nobody listens.
func deadEndpoint(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// muteEndpoint is one that takes connections and says nothing.
func muteEndpoint(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return "http://" + l.Addr().String()
}

func TestFaultOpen(t *testing.T) {
	plain := startServer(t, nil)
	ca, other := testcert.New(t), testcert.New(t)
	encrypt := func(pair testcert.Pair, clientCA string) []string {
		return startServer(t, func(o *embedded.Options) {
			o.TLS = &embedded.TLS{CertFile: pair.CertFile, KeyFile: pair.KeyFile, ClientCAFile: clientCA}
		}).Endpoints()
	}
	encrypted, expired := encrypt(ca.Server(t), ""), encrypt(ca.ExpiredServer(t), "")
	mutual := encrypt(ca.Server(t), ca.File)
	trusting := func(a *testcert.Authority, pair testcert.Pair) etcdstore.Options {
		return etcdstore.Options{TLS: a.ClientConfig(t, pair)}
	}
	asHTTP := []string{strings.Replace(encrypted[0], "https://", "http://", 1)}
	asHTTPS := []string{strings.Replace(plain.Endpoints()[0], "http://", "https://", 1)}
	for _, c := range []struct {
		name      string
		endpoints []string
		options   etcdstore.Options
		texts     []string
	}{
		{"nobody listens", []string{deadEndpoint(t)}, etcdstore.Options{}, []string{"nobody listens there", "connection refused", "http://127.0.0.1:"}},
		{"nobody answers", []string{muteEndpoint(t)}, etcdstore.Options{DialTimeout: time.Second}, []string{"can be reached from here"}},
		{"another CA", encrypted, trusting(other, testcert.Pair{}), []string{"give the CA that signed it"}},
		{"no CA", encrypted, etcdstore.Options{}, []string{"give the CA that signed it"}},
		{"another name", encrypted, etcdstore.Options{TLS: &tls.Config{RootCAs: ca.ClientConfig(t, testcert.Pair{}).RootCAs, ServerName: "etcd.example"}}, []string{"is for another name"}},
		{"an expired certificate", expired, trusting(ca, testcert.Pair{}), []string{"has expired", "renew it"}},
		{"TLS wanted", asHTTP, etcdstore.Options{}, []string{"it may want TLS"}},
		{"TLS not spoken", asHTTPS, trusting(ca, testcert.Pair{}), []string{"the server does not speak TLS"}},
		{"no client certificate", mutual, trusting(ca, testcert.Pair{}), []string{"client certificate"}},
		{"a client certificate of another CA", mutual, trusting(ca, other.Client(t, "worker")), []string{"client certificate"}},
		{"an expired client certificate", mutual, trusting(ca, ca.ExpiredClient(t, "worker")), []string{"client certificate"}},
	} {
		t.Run(c.name, func(t *testing.T) { wantRefused(t, c.endpoints, c.options, c.texts...) })
	}
	for name, bad := range map[string]struct {
		endpoints []string
		options   etcdstore.Options
	}{
		"no endpoint":         {nil, etcdstore.Options{}},
		"an empty endpoint":   {[]string{""}, etcdstore.Options{}},
		"a login in it":       {[]string{"http://worker:" + secret + "@127.0.0.1:2379"}, etcdstore.Options{}},
		"a scheme of ours":    {[]string{"etcd://127.0.0.1:2379"}, etcdstore.Options{}},
		"http and TLS":        {asHTTP, trusting(ca, testcert.Pair{})},
		"a nameless password": {plain.Endpoints(), etcdstore.Options{Password: secret}},
		"half a second":       {plain.Endpoints(), etcdstore.Options{TTL: 1500 * time.Millisecond}},
		"an odd prefix":       {plain.Endpoints(), etcdstore.Options{Prefix: "a\x00b"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := etcdstore.Open(t.Context(), bad.endpoints, &bad.options)
			wantError(t, err, []error{ledger.ErrInvalid})
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	t.Run("one endpoint of several", func(t *testing.T) {
		for name, bad := range map[string]string{"dead": deadEndpoint(t), "mute": muteEndpoint(t)} {
			start := time.Now()
			s, err := etcdstore.Open(t.Context(), []string{bad, plain.Endpoints()[0]}, &etcdstore.Options{DialTimeout: 6 * time.Second})
			if err != nil {
				t.Errorf("with a %s endpoint: %v", name, err)
				continue
			}
			t.Logf("with a %s endpoint opened after %v", name, time.Since(start))
			mustFinish(t, s, sampleDone(mustClaim(t, s, claimOf(freshID(), 0))))
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("an end of the context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := etcdstore.Open(ctx, plain.Endpoints(), nil)
		wantError(t, err, []error{context.Canceled})
	})
}

// An oldServer is an etcd of another version, as far as it tells.
type oldServer struct {
	pb.UnimplementedMaintenanceServer
	version string
}

func (o *oldServer) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{Header: &pb.ResponseHeader{}, Version: o.version}, nil
}

func TestFaultOldServer(t *testing.T) {
	for version, ok := range map[string]bool{
		"3.4.44": false, "3.5.21": false, "3.6.0": false, "3.6.13": false, "3.6.14": true, "3.6.99": true,
		"3.7.0": false, "3.7.1": true, "3.7.1-rc.0": false, "3.7.3": true, "3.8.0": true, "4.0.0": true, "v3.7.2": true,
		"": false, "not decided": false, "2.3.8": false,
	} {
		if err := etcdstore.CheckVersion(version); (err == nil) != ok {
			t.Errorf("version %q: %v; want it accepted: %v", version, err, ok)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterMaintenanceServer(server, &oldServer{version: "3.5.21"})
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	defer func() { server.Stop(); <-done }()
	wantRefused(t, []string{l.Addr().String()}, etcdstore.Options{}, "etcd 3.5.21 is too old", "upgrade the server to 3.6.14, 3.7.1")
	recent := startServer(t, nil)
	wantRefused(t, []string{strings.TrimPrefix(recent.Endpoints()[0], "http://"), l.Addr().String()}, etcdstore.Options{}, "etcd 3.5.21 is too old")
}

// Everything works below any prefix, and nothing is written beside it.
func TestFaultOddPrefixes(t *testing.T) {
	server := startServer(t, nil)
	client, err := server.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, prefix := range []string{"a b/ü%2F[*]?", "/absolute", "records", "ledger/records", strings.Repeat("p", 256), "\\..\\", "a//b", "…"} {
		st := &stage{endpoints: server.Endpoints(), prefix: prefix, client: client}
		s := st.open(t, nil, nil)
		g, j := newGuard(t, s, replay), &journal{}
		call := ledger.Call{Tool: "a/b %2F", Key: "k", Workflow: "../x"}
		for range 2 {
			if res, err := ledger.Do(t.Context(), g, call, j.tool); err != nil || res.Value != "receipt 1" {
				t.Errorf("prefix %q: %+v, %v", prefix, res, err)
			}
		}
		n := 0
		for r, err := range s.List(t.Context(), ledger.Filter{Workflow: "../x", Tool: "a/b %2F"}) {
			if n++; err != nil || r.State != ledger.StateSucceeded {
				t.Errorf("prefix %q: %+v, %v", prefix, r, err)
			}
		}
		if all, err := s.Sessions(t.Context()); n != 1 || err != nil || len(all) != 1 {
			t.Errorf("prefix %q: %d records, sessions %v, %v", prefix, n, all, err)
		}
		if err := g.Retry(t.Context(), call); err != nil {
			t.Errorf("prefix %q: %v", prefix, err)
		}
		closeGuard(t, g)
		if err := s.Close(); err != nil {
			t.Errorf("prefix %q: %v", prefix, err)
		}
		if _, err := client.Delete(t.Context(), prefix+"/", clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		if r, err := client.Get(t.Context(), "\x00", clientv3.WithFromKey()); err != nil || r.Count > 0 {
			t.Errorf("prefix %q: %d keys stand beside it, %v", prefix, r.Count, err)
		}
	}
}
