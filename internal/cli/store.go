package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/connect"
	"github.com/ledger-once/ledger/internal/open"
)

const storeHelp = "The store is the one named as FILE or URL, else --store, else LEDGER_STORE (a URL) or LEDGER_DB\n" +
	"(a file), else ./ledger.db. URLs: sqlite:PATH, etcd://HOST:2379/PREFIX, etcds:// for TLS,\n" +
	"etcd:///PREFIX for the endpoints of ETCDCTL_ENDPOINTS, embedded:DIR. Passwords come from\n" +
	"LEDGER_ETCD_PASSWORD or etcdctl's variables. No command creates a store.\n\n" +
	"Exit codes: 2 the store can not be reached or used, 3 no such call, 4 a person has to\n" +
	"decide, 64 wrong usage."

// A target is how the command line names a store.
type target struct {
	store, endpoints, prefix string
	ca, cert, key, user      string
}

func (t *target) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.store, "store", "", "`URL` of the store (default $LEDGER_STORE, $LEDGER_DB, ./ledger.db)")
	f.StringVar(&t.endpoints, "endpoints", "", "etcd's `HOSTS`, by commas, instead of --store etcd://HOSTS")
	f.StringVar(&t.prefix, "prefix", "", "`PREFIX` of the ledger's keys in etcd, with --endpoints (default ledger)")
	f.StringVar(&t.ca, "tls-ca", "", "`FILE` of the authorities of etcd's certificates (default $ETCDCTL_CACERT)")
	f.StringVar(&t.cert, "tls-cert", "", "`FILE` of the client certificate for etcd (default $ETCDCTL_CERT)")
	f.StringVar(&t.key, "tls-key", "", "`FILE` of the client certificate's key (default $ETCDCTL_KEY)")
	f.StringVar(&t.user, "user", "", "`NAME` to log in to etcd with (default $ETCDCTL_USER)")
}

// url returns the URL of the store. named is the one given as an argument, or "".
func (t *target) url(named string, environ func(string) string) (string, error) {
	at := t.store
	switch {
	case named != "" && t.store != "":
		return "", errors.New("the store is named twice, as an argument and by --store; name it once")
	case named != "":
		at = named
	case t.store == "" && t.endpoints == "":
		if at = environ(connect.EnvStore); at == "" {
			at = environ(connect.EnvDB)
		}
		if at == "" {
			at = "ledger.db"
		}
	}
	if t.endpoints != "" {
		if at != "" {
			return "", errors.New("--endpoints names an etcd, and another store is named too; name one (with --endpoints, --prefix names the keys)")
		}
		var err error
		if at, err = t.cluster(); err != nil {
			return "", err
		}
	} else if t.prefix != "" {
		return "", errors.New("--prefix goes with --endpoints; elsewhere it is part of the URL: etcd://HOST:2379/PREFIX")
	}
	params := url.Values{}
	for name, value := range map[string]string{"ca": t.ca, "cert": t.cert, "key": t.key, "user": t.user} {
		if value != "" {
			params.Set(name, value)
		}
	}
	if len(params) == 0 {
		return at, nil
	}
	if scheme, _, _ := strings.Cut(strings.ToLower(at), ":"); scheme != "etcd" && scheme != "etcds" {
		return "", errors.New("--tls-ca, --tls-cert, --tls-key and --user are for an etcd; name it with --endpoints or --store etcd://HOST:2379/PREFIX")
	}
	if strings.Contains(at, "?") {
		return at + "&" + params.Encode(), nil
	}
	return at + "?" + params.Encode(), nil
}

// cluster returns the URL that --endpoints and --prefix mean.
func (t *target) cluster() (string, error) {
	scheme := ""
	hosts := strings.Split(t.endpoints, ",")
	for i, h := range hosts {
		s, rest, ok := strings.Cut(strings.TrimSpace(h), "://")
		if !ok {
			s, rest = "http", strings.TrimSpace(h)
		}
		if s != "http" && s != "https" {
			return "", fmt.Errorf("--endpoints: endpoint %d is neither HOST:PORT nor http://HOST:PORT nor https://HOST:PORT", i+1)
		}
		if scheme != "" && s != scheme {
			return "", errors.New("--endpoints: the endpoints differ in http:// and https://; give all the same")
		}
		scheme, hosts[i] = s, strings.TrimSuffix(rest, "/")
	}
	name := map[string]string{"http": "etcd", "https": "etcds"}[scheme]
	at := name + "://" + strings.Join(hosts, ",")
	if t.prefix != "" {
		segments := strings.Split(t.prefix, "/")
		for i := range segments {
			segments[i] = url.PathEscape(segments[i])
		}
		at += "/" + strings.Join(segments, "/")
	}
	return at, nil
}

// A ledgerAt is an open store, and how it was named.
type ledgerAt struct {
	ledger.Store
	url string
}

var errMemory = errors.New("memory: is the memory of one process; there is nothing of another's in it")

// How withStore opens the store.
const (
	toLook   = true
	toChange = false
)

// withStore calls fn with the store that t and named name. The errors of both carry their exit codes.
func (a *app) withStore(ctx context.Context, t *target, named string, look bool, fn func(*ledgerAt) error) error {
	at, closer, err := a.openStore(ctx, t, named, look)
	if err != nil {
		return err
	}
	err = fn(at)
	if cerr := closer.Close(); err == nil && cerr != nil {
		err = cerr
	}
	return coded(err)
}

func (a *app) openStore(ctx context.Context, t *target, named string, look bool) (*ledgerAt, io.Closer, error) {
	at, err := t.url(named, a.environ)
	if err != nil {
		return nil, nil, usage(err)
	}
	if strings.EqualFold(at, "memory:") {
		return nil, nil, usage(errMemory)
	}
	store, closer, err := open.Existing(ctx, at, look)
	switch {
	case err == nil:
		return &ledgerAt{store, at}, closer, nil
	case errors.Is(err, ledger.ErrNotFound):
		return nil, nil, &failure{exitStore, fmt.Errorf("%w (another store: name its file or URL, --store, LEDGER_STORE or LEDGER_DB)", err)}
	}
	return nil, nil, notOpened(at, err)
}

// notOpened is the error of a store that could not be opened, with its exit code.
func notOpened(at string, err error) error {
	if path, ok, perr := connect.Path(at); errors.Is(err, ledger.ErrInvalid) && (perr != nil || !ok || path == "") {
		return usage(err) // the URL or the environment, not what it leads to
	}
	return &failure{exitStore, err}
}

// coded gives err of a store its exit code.
func coded(err error) error {
	var f *failure
	switch {
	case err == nil || errors.As(err, &f):
		return err
	case errors.Is(err, syscall.EPIPE): // whoever closed the pipe knows
		return silent(signalled(syscall.SIGPIPE))
	case errors.Is(err, ledger.ErrNotFound):
		return &failure{exitNotFound, err}
	case errors.Is(err, ledger.ErrUnavailable):
		return &failure{exitStore, err}
	}
	return err
}

// optional returns the first of args where there are more than n: the store, named as an argument.
func optional(args []string, n int) (named string, rest []string) {
	if len(args) > n {
		return args[0], args[1:]
	}
	return "", args
}
