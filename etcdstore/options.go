package etcdstore

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc"

	"github.com/ledger-once/ledger"
)

// Options adapt a store; nil works.
type Options struct {
	// Prefix is where the store's keys begin; workers with the same one share
	// their records. At most 256 bytes of printable UTF-8; slashes at the end do
	// not count. Defaults to "ledger".
	Prefix string
	// TTL is the lease of a worker, in whole seconds: how long after its death
	// others wait before they take its calls over. The server may grant a longer
	// one (at least 1.5 elections, 2 s by default), which then counts. Between 1 s and 10 minutes. Defaults to 15 s.
	TTL time.Duration
	// Retention is how long finished records are kept, at least; up to an eighth
	// longer. After it the call may run again! Records that are
	// running, in doubt or may be retried are kept for ever. At least 1 minute. Defaults to 0: kept for ever.
	Retention time.Duration

	// TLS is used by Open for endpoints that begin with https://, or that have no scheme. Defaults to none.
	TLS *tls.Config
	// Username and Password log in; used by Open. Default to no login.
	Username, Password string
	// DialTimeout is how long Open waits for an endpoint to answer. Defaults to 5 s.
	DialTimeout time.Duration
	// RequestTimeout bounds one request to the cluster; a write whose answer is
	// not definite by then is sent again for as long as the caller's context lasts. Defaults to 3 s.
	RequestTimeout time.Duration
	// DialOptions are handed to gRPC by Open, for interceptors. Defaults to none.
	DialOptions []grpc.DialOption

	// Logger gets what nobody else is told: lost leases, sessions opened anew.
	// Never arguments, results or credentials. Defaults to no log.
	Logger *slog.Logger
}

// maxPrefixBytes leaves room for the names in a key.
const maxPrefixBytes = 256

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	opts.Prefix = strings.TrimRight(opts.Prefix, "/")
	if opts.Prefix == "" {
		if o != nil && o.Prefix != "" {
			return opts, fmt.Errorf("%w: the prefix %q is nothing but slashes; give it a name, such as \"ledger\"", ledger.ErrInvalid, o.Prefix)
		}
		opts.Prefix = "ledger"
	}
	switch {
	case len(opts.Prefix) > maxPrefixBytes:
		return opts, fmt.Errorf("%w: the prefix has %d bytes; at most %d are allowed", ledger.ErrInvalid, len(opts.Prefix), maxPrefixBytes)
	case !utf8.ValidString(opts.Prefix) || strings.ContainsFunc(opts.Prefix, func(r rune) bool { return !unicode.IsPrint(r) }):
		return opts, fmt.Errorf("%w: the prefix %q has bytes that can not be printed; use letters, digits, slashes and dashes", ledger.ErrInvalid, opts.Prefix)
	case opts.TTL < 0 || opts.Retention < 0 || opts.DialTimeout < 0 || opts.RequestTimeout < 0:
		return opts, fmt.Errorf("%w: an option is negative; leave it 0 for its default", ledger.ErrInvalid)
	}
	if opts.TTL == 0 {
		opts.TTL = 15 * time.Second
	}
	switch {
	case opts.TTL%time.Second != 0 || opts.TTL > 10*time.Minute:
		return opts, fmt.Errorf("%w: a TTL of %v; give whole seconds, between 1 s and 10 minutes", ledger.ErrInvalid, opts.TTL)
	case opts.Retention > 0 && opts.Retention < time.Minute:
		return opts, fmt.Errorf("%w: a retention of %v; give 1 minute or more, or 0 to keep all records", ledger.ErrInvalid, opts.Retention)
	case opts.Password != "" && opts.Username == "":
		return opts, fmt.Errorf("%w: a password without a user name", ledger.ErrInvalid)
	}
	if opts.DialTimeout == 0 {
		opts.DialTimeout = 5 * time.Second
	}
	if opts.RequestTimeout == 0 {
		opts.RequestTimeout = 3 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return opts, nil
}
