package embedded

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

// Options says how the servers run. A nil *Options means the defaults.
type Options struct {
	// Heartbeat is how often a leader reports to its followers, and the tick all
	// of etcd's own timers are counted in; whole milliseconds. On a busy machine
	// a short one causes needless elections. Defaults to 100 ms, etcd's own.
	Heartbeat time.Duration

	// Election is how long a follower hears nothing before it stands for
	// leader: 5 heartbeats at least, 50 s at most. It sets the shortest lease as
	// well: 3/2 of it, rounded up to whole seconds. So leases of one second need
	// 600 ms or less, say a Heartbeat of 20 ms and an Election of 200 ms.
	// Defaults to ten heartbeats, which is 1 s (leases of 2 s or more) if
	// Heartbeat is not set either.
	Election time.Duration

	// History is how long old revisions are kept for watches that fall behind.
	// What is older is compacted away at intervals of the same length, so that
	// the database does not grow for ever. Negative keeps everything.
	// Defaults to one minute.
	History time.Duration

	// QuotaBytes is the size of the database at which etcd refuses writes and
	// raises the alarm NOSPACE. Defaults to 2 GiB, etcd's own.
	QuotaBytes int64

	// MaxTxnOps is the most operations in one transaction. Defaults to 128,
	// etcd's own.
	MaxTxnOps uint

	// MaxRequestBytes is the size of the largest request. Defaults to 1.5 MiB,
	// etcd's own.
	MaxRequestBytes uint

	// AuthTokenTTL is how long the token of a user who authenticated stays valid
	// without use; whole seconds. Defaults to 5 minutes, etcd's own.
	AuthTokenTTL time.Duration

	// TLS makes the servers speak TLS to their clients. Members of a cluster
	// speak plainly to each other, over loopback. Defaults to no TLS.
	TLS *TLS
}

// TLS names the servers' PEM files. The certificate must be valid for 127.0.0.1.
type TLS struct {
	// CertFile and KeyFile are the servers' certificate and key. Both are required.
	CertFile, KeyFile string

	// ClientCAFile holds the authorities that sign the certificates of clients.
	// With it, a client without such a certificate is refused, and where etcd's
	// auth is enabled a certificate's common name is its user.
	// Defaults to none: clients need no certificate.
	ClientCAFile string
}

// defaultHistory keeps the database of a busy benchmark well under the quota.
const defaultHistory = time.Minute

// copied returns options that the caller can not change any more.
func (o *Options) copied() *Options {
	if o == nil {
		return &Options{}
	}
	c := *o
	if o.TLS != nil {
		t := *o.TLS
		c.TLS = &t
	}
	return &c
}

// check returns an error for what etcd would refuse only once it runs, or
// silently round.
func (o *Options) check() error {
	for _, d := range []struct {
		name  string
		value time.Duration
		unit  time.Duration
	}{
		{"Heartbeat", o.Heartbeat, time.Millisecond},
		{"Election", o.Election, time.Millisecond},
		{"AuthTokenTTL", o.AuthTokenTTL, time.Second},
	} {
		if d.value < 0 || d.value%d.unit != 0 {
			return fmt.Errorf("%s is %v: set a positive multiple of %v", d.name, d.value, d.unit)
		}
	}
	if h, e := o.timing(); e < 5*h || e > 50*time.Second {
		return fmt.Errorf("an Election of %v with a Heartbeat of %v: set from 5 heartbeats to 50s", e, h)
	}
	if o.QuotaBytes < 0 {
		return fmt.Errorf("QuotaBytes is %d: set a positive size, or 0 for the default", o.QuotaBytes)
	}
	if o.TLS != nil {
		return o.TLS.check()
	}
	return nil
}

func (t *TLS) check() error {
	if t.CertFile == "" || t.KeyFile == "" {
		return errors.New("TLS needs both a CertFile and a KeyFile")
	}
	if _, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile); err != nil {
		return fmt.Errorf("TLS certificate %s with key %s: %w", t.CertFile, t.KeyFile, err)
	}
	if t.ClientCAFile == "" {
		return nil
	}
	pem, err := os.ReadFile(t.ClientCAFile)
	if err != nil {
		return fmt.Errorf("TLS client authorities: %w", err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return fmt.Errorf("TLS client authorities: %s holds no certificate in PEM form", t.ClientCAFile)
	}
	return nil
}

// timing returns heartbeat and election timeout with their defaults.
func (o *Options) timing() (heartbeat, election time.Duration) {
	heartbeat, election = o.Heartbeat, o.Election
	if heartbeat == 0 {
		heartbeat = 100 * time.Millisecond
	}
	if election == 0 {
		election = 10 * heartbeat
	}
	return heartbeat, election
}

func (o *Options) scheme() string {
	if o.TLS != nil {
		return "https"
	}
	return "http"
}

// config returns etcd's configuration for member i of the note.
func (o *Options) config(p *place, i int, f *fault) *embed.Config {
	m := p.note.Members[i]
	cfg := embed.NewConfig()
	cfg.Name = m.Name
	cfg.Dir = p.member(i)
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(f.logger())
	cfg.InitialClusterToken = p.note.Token
	cfg.InitialCluster = p.note.initialCluster()
	cfg.ListenClientUrls, cfg.ListenPeerUrls = nil, nil // see boot
	cfg.AdvertiseClientUrls = []url.URL{{Scheme: o.scheme(), Host: m.Client}}
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: m.Peer}}

	heartbeat, election := o.timing()
	cfg.TickMs, cfg.ElectionMs = uint(heartbeat.Milliseconds()), uint(election.Milliseconds())
	cfg.QuotaBackendBytes = o.QuotaBytes
	if o.MaxTxnOps != 0 {
		cfg.MaxTxnOps = o.MaxTxnOps
	}
	if o.MaxRequestBytes != 0 {
		cfg.MaxRequestBytes = o.MaxRequestBytes
	}
	if o.AuthTokenTTL != 0 {
		cfg.AuthTokenTTL = uint(o.AuthTokenTTL / time.Second)
	}
	cfg.AutoCompactionMode = embed.CompactorModePeriodic
	switch {
	case o.History == 0:
		cfg.AutoCompactionRetention = defaultHistory.String()
	case o.History > 0:
		cfg.AutoCompactionRetention = o.History.String()
	default:
		cfg.AutoCompactionRetention = "0"
	}
	// So that a certificate's common name can be a user.
	cfg.ClientTLSInfo.ClientCertAuth = o.TLS != nil && o.TLS.ClientCAFile != ""
	return cfg
}

// tlsConfig returns nil for no TLS.
func (o *Options) tlsConfig() (*tls.Config, error) {
	if o.TLS == nil {
		return nil, nil
	}
	info := transport.TLSInfo{
		CertFile:       o.TLS.CertFile,
		KeyFile:        o.TLS.KeyFile,
		TrustedCAFile:  o.TLS.ClientCAFile,
		ClientCertAuth: o.TLS.ClientCAFile != "",
	}
	return info.ServerConfig()
}
