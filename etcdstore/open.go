package etcdstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-semver/semver"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/ledger-once/ledger"
)

// Open connects to the cluster at endpoints ("host:2379", "http://host:2379",
// "https://host:2379") and returns a store on it. The client is closed with the
// store. o may be nil.
//
// It returns an error matching [ledger.ErrInvalid] for options that can not be
// used, and one matching [ledger.ErrUnavailable] where no endpoint answers within
// DialTimeout, the login fails, the server is older than 3.6.14 or 3.7.1, or the records below
// the prefix were written by a newer version of this library.
func Open(ctx context.Context, endpoints []string, o *Options) (*Store, error) {
	opts, err := o.withDefaults()
	if err == nil {
		err = checkEndpoints(endpoints, &opts)
	}
	if err != nil {
		return nil, fmt.Errorf("etcdstore: open: %w", err)
	}
	dial := slices.Clone(opts.DialOptions)
	if opts.TLS != nil && opts.TLS.ServerName != "" {
		// clientv3 gives each endpoint the name of its host, which wins over that of tls.Config.
		dial = append(dial, grpc.WithAuthority(opts.TLS.ServerName))
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: slices.Clone(endpoints), TLS: opts.TLS, Username: opts.Username, Password: opts.Password,
		DialTimeout: opts.DialTimeout, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second,
		MaxUnaryRetries: 1, // a write is sent again by us, who know how to settle it
		DialOptions:     dial, Logger: zap.NewNop(),
	})
	var s *Store
	if err == nil {
		if s, err = newStore(ctx, client, opts); err != nil {
			_ = client.Close()
		}
	} else {
		s = nil
		err = (&Store{opts: opts, keys: keyspace{opts.Prefix + "/"}}).openFailure(endpoints, err)
	}
	if err != nil {
		return nil, fmt.Errorf("etcdstore: open: %w", err)
	}
	s.owned = true
	return s, nil
}

// checkEndpoints refuses what gRPC would only fail to reach.
func checkEndpoints(endpoints []string, o *Options) error {
	if len(endpoints) == 0 {
		return fmt.Errorf("%w: there is no endpoint; give one, such as \"127.0.0.1:2379\"", ledger.ErrInvalid)
	}
	for _, e := range endpoints {
		rest := e
		if scheme, after, ok := strings.Cut(e, "://"); ok {
			switch scheme {
			case "http", "https", "unix", "unixs":
			default:
				return fmt.Errorf("%w: an endpoint has the scheme %q; use http, https, unix, or none", ledger.ErrInvalid, scheme)
			}
			if scheme == "http" && o.TLS != nil {
				return fmt.Errorf("%w: TLS is configured, but an endpoint begins with http://; use https://, or no scheme", ledger.ErrInvalid)
			}
			rest = after
		}
		if rest == "" || strings.ContainsAny(rest, " \t\n\x00@?#") {
			return fmt.Errorf("%w: an endpoint is empty, or has user, parameters or blanks in it; give host:port, and the login in Options", ledger.ErrInvalid)
		}
	}
	return nil
}

// bare strips endpoints of everything but scheme, host and port.
func bare(endpoints []string) []string {
	out := make([]string, len(endpoints))
	for i, e := range endpoints {
		u, err := url.Parse(e)
		if err == nil && u.Host != "" {
			out[i] = u.Scheme + "://" + u.Host
			continue
		}
		if at := strings.LastIndexByte(e, '@'); at >= 0 {
			e = e[at+1:]
		}
		out[i], _, _ = strings.Cut(e, "?")
	}
	return out
}

func (s *Store) openFailure(endpoints []string, err error) error {
	hint := s.advice(err)
	if hint != "" {
		hint += ": "
	}
	return fmt.Errorf("%w: etcd at %s: %s%w", ledger.ErrUnavailable, strings.Join(bare(endpoints), ","), hint, err)
}

// newNonce returns 16 random hex digits.
func newNonce() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// schemaVersion is that of the keys; recordjson.Schema is that of the values.
const schemaVersion = 1

type schema struct {
	Version int `json:"ledger_schema"`
}

// greet checks that the cluster can be used: reached, of a version that keeps
// its promises, and with records that we understand.
func (s *Store) greet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.DialTimeout)
	defer cancel()
	if err := s.checkServers(ctx); err != nil {
		return err
	}
	ctx = clientv3.WithRequireLeader(ctx)
	key := s.keys.schema()
	value, err := json.Marshal(schema{schemaVersion})
	if err != nil {
		return err
	}
	retry := newRetry()
	for {
		r, err := s.client.Get(ctx, key)
		if err == nil && len(r.Kvs) == 0 {
			_, err = s.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).Then(clientv3.OpPut(key, string(value))).Commit()
			if err == nil || verdictOf(err) == ambiguous && ctx.Err() == nil {
				pause(ctx, retry)
				continue // and see what stands
			}
		}
		if err == nil {
			var found schema
			if err := json.Unmarshal(r.Kvs[0].Value, &found); err != nil || found.Version < 1 {
				return fmt.Errorf("%w: %s: the key %q was not written by ledger; give ledger a prefix of its own", ledger.ErrUnavailable, s.at(), key)
			}
			if found.Version > schemaVersion {
				return fmt.Errorf("%w: %s: the records below %q have schema %d, of a newer version of ledger; upgrade this program", ledger.ErrUnavailable, s.at(), s.keys.root, found.Version)
			}
			return nil
		}
		if v := verdictOf(err); v != ambiguous && v != again {
			return s.unavailable(err)
		}
		if ctx.Err() == nil {
			pause(ctx, retry)
		}
		if ctx.Err() != nil {
			return s.unavailable(err)
		}
	}
}

// The first versions with which the protocol is known to keep its promises, by minor version.
var oldestServers = []semver.Version{{Major: 3, Minor: 6, Patch: 14}, {Major: 3, Minor: 7, Patch: 1}}

// checkServers asks each endpoint for its version. One that can not be reached
// now is left out, unless all are.
func (s *Store) checkServers(ctx context.Context) error {
	// A member that does not answer must leave time for what follows.
	ctx, cancel := context.WithTimeout(ctx, s.opts.DialTimeout/2)
	defer cancel()
	endpoints := s.client.Endpoints()
	errs := make([]error, len(endpoints))
	done := make(chan struct{})
	for i, e := range endpoints {
		go func() {
			defer func() { done <- struct{}{} }()
			version, err := s.version(ctx, e)
			if err != nil {
				errs[i] = err
				return
			}
			errs[i] = checkVersion(version)
		}()
	}
	for range endpoints {
		<-done
	}
	var unreached error
	for i, err := range errs {
		switch {
		case err == nil:
		case errors.Is(err, errTooOld):
			return fmt.Errorf("%w: %s: %w", ledger.ErrUnavailable, bare(endpoints[i : i+1])[0], err)
		default:
			unreached = err
		}
	}
	if slices.Contains(errs, nil) {
		return nil
	}
	return s.unavailable(unreached)
}

// version asks one server. It is not Client.Status, which waits for a connection
// until ctx ends, and then does not say why there is none.
func (s *Store) version(ctx context.Context, endpoint string) (string, error) {
	conn, err := s.client.Dial(endpoint)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	r, err := etcdserverpb.NewMaintenanceClient(conn).Status(ctx, &etcdserverpb.StatusRequest{})
	if err != nil {
		return "", err
	}
	return r.Version, nil
}

var errTooOld = errors.New("too old")

func checkVersion(version string) error {
	v, err := semver.NewVersion(strings.TrimPrefix(version, "v"))
	if err != nil {
		return fmt.Errorf("the server tells no version that can be understood (%q): %w", version, errTooOld)
	}
	floor := oldestServers[0]
	for _, f := range oldestServers {
		if v.Major == f.Major && v.Minor >= f.Minor {
			floor = f
		}
	}
	if v.LessThan(floor) {
		return fmt.Errorf("etcd %s is %w; upgrade the server to 3.6.14, 3.7.1 or later", version, errTooOld)
	}
	return nil
}
