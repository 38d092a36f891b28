package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/net/netutil"

	"github.com/ledger-once/ledger/dashboard"
)

// Limits of the dashboard's server. Streams extend the one for writing.
const (
	headerTimeout  = 5 * time.Second
	requestTimeout = 15 * time.Second
	answerTimeout  = 30 * time.Second
	idleTimeout    = 60 * time.Second
	maxHeader      = 16 << 10
	maxConns       = 256
	stopWithin     = 2 * time.Second
)

type dashboardFlags struct {
	target
	listen, tokenFile string
	cert, key         string
	readOnly          bool
	hosts             []string
}

func (a *app) dashboardCommand() *cobra.Command {
	var o dashboardFlags
	cmd := &cobra.Command{
		Use:   "dashboard [FILE|URL]",
		Short: "Show the calls live, in a browser",
		Long: "Serves a page that shows calls while they happen, searches them, and settles those in doubt.\n" +
			"It listens on this machine only. On another address it wants a token and TLS: whoever reaches the\n" +
			"page sees all calls, with arguments and results as far as they are not redacted, and can change them\n" +
			"unless --read-only is given.\n\n" + storeHelp,
		Example: "  ledger dashboard ledger.db\n" +
			"  ledger dashboard ledger.db --listen 127.0.0.1:8080 --read-only\n" +
			"  ledger dashboard etcd://localhost:2379/ledger --listen 0.0.0.0:4242 --host ops.example.com --token-file token --cert cert.pem --key key.pem",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			named, _ := optional(args, 0)
			return a.dashboard(cmd.Context(), &o, named)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:4242", "`ADDRESS` to listen on; port 0 takes a free one")
	f.BoolVar(&o.readOnly, "read-only", false, "refuse whatever would change a call")
	f.StringVar(&o.tokenFile, "token-file", "", "`FILE` with the token that whoever opens the page has to give")
	f.StringVar(&o.cert, "cert", "", "`FILE` of the page's certificate (PEM), for TLS")
	f.StringVar(&o.key, "key", "", "`FILE` of its key (PEM)")
	f.StringSliceVar(&o.hosts, "host", nil, "`NAMES` under which the page is asked for, besides localhost and the address")
	o.flags(cmd)
	return cmd
}

// options checks the flags, and reads what they name.
func (o *dashboardFlags) options() (*dashboard.Options, *tls.Config, error) {
	host, _, err := net.SplitHostPort(o.listen)
	if err != nil {
		return nil, nil, fmt.Errorf("--listen: %q is no address; use HOST:PORT, such as 127.0.0.1:4242", o.listen)
	}
	d := &dashboard.Options{ReadOnly: o.readOnly, Version: version(), Hosts: o.hosts, Secure: o.cert != ""}
	ip := net.ParseIP(host)
	local := host == "localhost" || ip != nil && ip.IsLoopback()
	if !local && (o.tokenFile == "" || o.cert == "") {
		return nil, nil, fmt.Errorf("--listen %s can be reached by others: that needs --token-file, and --cert and --key for TLS; leave it out to listen on this machine only", o.listen)
	}
	if !local && host != "" && (ip == nil || !ip.IsUnspecified()) {
		d.Hosts = append(d.Hosts, host)
	}
	if (o.cert == "") != (o.key == "") {
		return nil, nil, errors.New("--cert and --key go together")
	}
	if o.tokenFile != "" {
		text, err := readSecret(o.tokenFile)
		if err != nil {
			return nil, nil, err
		}
		d.Token = text
	}
	if o.cert == "" {
		return d, nil, nil
	}
	pair, err := tls.LoadX509KeyPair(o.cert, o.key)
	if err != nil {
		return nil, nil, fmt.Errorf("--cert, --key: %w", err)
	}
	return d, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// readSecret reads a small file that others must not read.
func readSecret(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	if othersRead(info) {
		return "", fmt.Errorf("--token-file: others can read %s; chmod 600 it", name)
	}
	text, err := io.ReadAll(io.LimitReader(f, 4<<10))
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	if token := strings.TrimSpace(string(text)); token != "" {
		return token, nil
	}
	return "", fmt.Errorf("--token-file: %s is empty; make one: head -c 24 /dev/urandom | base64 > %s", name, name)
}

func (a *app) dashboard(ctx context.Context, o *dashboardFlags, named string) error {
	opts, secure, err := o.options()
	if err != nil {
		return usage(err)
	}
	look := toChange
	if o.readOnly {
		look = toLook
	}
	at, closer, err := a.openStore(ctx, &o.target, named, look)
	if err != nil {
		return err
	}
	store := newReopener(at.url, at.Store, closer, func(ctx context.Context) (*ledgerAt, io.Closer, error) {
		return a.openStore(ctx, &o.target, named, look)
	})
	err = a.serve(ctx, o, opts, secure, store, at.url)
	if cerr := store.Close(); err == nil {
		err = cerr
	}
	return coded(err)
}

func (a *app) serve(ctx context.Context, o *dashboardFlags, opts *dashboard.Options, secure *tls.Config, store *reopener, url string) error {
	opts.Name = shown(url)
	opts.By = a.whoami()
	opts.Logger = slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelInfo}))
	d, err := dashboard.New(store, opts)
	if err != nil {
		return usage(err)
	}
	l, err := net.Listen("tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen %s: %w (another dashboard? --listen 127.0.0.1:0 takes a free port)", o.listen, err)
	}
	scheme := "http"
	listening := l.Addr().(*net.TCPAddr)
	l = netutil.LimitListener(l, maxConns)
	if secure != nil {
		scheme, l = "https", tls.NewListener(l, secure)
	}
	base, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler: d, BaseContext: func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: answerTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	ran := make(chan error, 1)
	go func() { ran <- d.Run(base) }()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	host := listening.IP.String()
	if listening.IP.IsUnspecified() && len(o.hosts) > 0 {
		host = o.hosts[0]
	}
	mode := ""
	if o.readOnly {
		mode = ", to look only"
	}
	fmt.Fprintf(a.out, "Serving %s%s at %s://%s/ (Ctrl-C ends it)\n", clean(opts.Name), mode, scheme, net.JoinHostPort(host, fmt.Sprint(listening.Port)))
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	cancel() // streams end
	sctx, scancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer scancel()
	if serr := server.Shutdown(sctx); serr != nil {
		_ = server.Close()
	}
	if err == nil {
		err = <-served
	}
	rerr := <-ran
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, rerr)
}

// shown is url without what need not be on a page.
func shown(url string) string {
	name, _, _ := strings.Cut(url, "?")
	return name
}
