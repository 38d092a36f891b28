package etcdstore_test

import (
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
	"github.com/ledger-once/ledger/internal/testcert"
)

// Health tells the versions, sizes, clocks and certificates, and what a user may do, and writes nothing.
func TestHealth(t *testing.T) {
	ca := testcert.New(t)
	pair := ca.Server(t)
	c := newCastle(t, false, func(o *embedded.Options) {
		o.TLS = &embedded.TLS{CertFile: pair.CertFile, KeyFile: pair.KeyFile, ClientCAFile: ca.File}
	}, func(s *embedded.Server) (*clientv3.Client, error) {
		return s.Client(ca.ClientConfig(t, ca.Client(t, "root")))
	})
	health := func(user string) *etcdstore.Health {
		t.Helper()
		s := c.open(t, nil, &etcdstore.Options{TLS: ca.ClientConfig(t, ca.Client(t, user))})
		h, err := s.Health(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := health("worker")
	if h.Prefix != "faults" || h.Schema != 1 || h.ReadErr != nil || h.CommitErr != nil || h.Read <= 0 || h.Commit <= 0 {
		t.Errorf("a worker's health is %+v", h)
	}
	if h.Client == nil || h.Client.Subject.CommonName != "worker" {
		t.Errorf("the client's certificate is %v", h.Client)
	}
	if len(h.Members) != 1 {
		t.Fatalf("%d members", len(h.Members))
	}
	m := h.Members[0]
	if m.Err != nil || !strings.HasPrefix(m.Version, "3.") || m.TooOld || !m.Leader || m.Learner || m.Answer <= 0 || m.NoSpace() {
		t.Errorf("the member is %+v", m)
	}
	if m.DBSize <= 0 || m.DBInUse <= 0 || m.DBInUse > m.DBSize || m.Quota < m.DBSize {
		t.Errorf("sizes %d, %d, %d", m.DBSize, m.DBInUse, m.Quota)
	}
	if m.Server == nil || m.Authority == nil || !m.Authority.IsCA || m.Server.NotAfter.IsZero() {
		t.Errorf("certificates %v and %v", m.Server, m.Authority)
	}
	h = health("reader")
	if h.ReadErr != nil || h.CommitErr == nil || !strings.Contains(h.CommitErr.Error(), "grant-permission") {
		t.Errorf("a reader's health is %v, %v", h.ReadErr, h.CommitErr)
	}
	root, err := clientv3.New(clientv3.Config{Endpoints: c.endpoints, TLS: ca.ClientConfig(t, ca.Client(t, "root")), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	r, err := root.Get(t.Context(), "faults/", clientv3.WithPrefix())
	if err != nil || len(r.Kvs) == 0 {
		t.Fatal(r, err)
	}
	for _, kv := range r.Kvs {
		if strings.HasSuffix(string(kv.Key), "health") {
			t.Errorf("%s was written", kv.Key)
		}
	}
}
