package connect

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

func TestTLSFilesRefused(t *testing.T) {
	a := newAuthority(t, "ca", day(-1), day(1))
	cert, key := a.issue("client", day(-1), day(1))
	_, otherKey := a.issue("other", day(-1), day(1))
	oldCert, oldKey := a.issue("old", day(-3), day(-2))
	earlyCert, earlyKey := a.issue("early", day(2), day(3))
	oldCA := newAuthority(t, "old-ca", day(-3), day(-2)).file
	dir := t.TempDir()
	file := func(name, text string) string {
		write(t, filepath.Join(dir, name), text)
		return filepath.Join(dir, name)
	}
	missing, empty, text := filepath.Join(dir, "missing"), file("empty", ""), file("text", "s3cret")
	garbage := file("garbage", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("s3cret")})))
	encrypted := file("encrypted", string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("s3cret")})))
	large := file("large", read(t, cert)+strings.Repeat("\n", maxPEMBytes))
	expired := func(days int) string { return day(days).UTC().Format("2006-01-02T") }

	for _, c := range []struct {
		url   string
		env   vars
		kind  error
		wants []string
	}{
		{"etcds://h?ca=" + missing, nil, ledger.ErrInvalid, []string{"ca=: the file", missing, "can not be read"}},
		{"etcds://h?ca=" + dir, nil, ledger.ErrInvalid, []string{dir, "can not be read"}},
		{"etcds://h?ca=" + empty, nil, ledger.ErrInvalid, []string{empty, "not a PEM file"}},
		{"etcds://h?ca=" + text, nil, ledger.ErrInvalid, []string{text, "not a PEM file"}},
		{"etcds://h?ca=" + key, nil, ledger.ErrInvalid, []string{key, "has no certificate"}},
		{"etcds://h?ca=" + garbage, nil, ledger.ErrInvalid, []string{garbage, "can not be understood"}},
		{"etcds://h?ca=" + large, nil, ledger.ErrInvalid, []string{large, "is larger than"}},
		{"etcds://h?ca=" + oldCA, nil, ledger.ErrUnavailable, []string{oldCA, "expired on " + expired(-2)}},
		{"etcd://h", vars{envCACert: missing}, ledger.ErrInvalid, []string{"ETCDCTL_CACERT: the file", missing}},
		{"etcds://h", vars{envCACert: read(t, cert)}, ledger.ErrInvalid, []string{"ETCDCTL_CACERT is the path of a file"}},

		{"etcds://h?cert=" + missing + "&key=" + key, nil, ledger.ErrInvalid, []string{"cert=: the file", missing}},
		{"etcds://h?cert=" + cert + "&key=" + missing, nil, ledger.ErrInvalid, []string{"key=: the file", missing}},
		{"etcds://h?cert=" + key + "&key=" + key, nil, ledger.ErrInvalid, []string{key, "has no certificate"}},
		{"etcds://h?cert=" + garbage + "&key=" + key, nil, ledger.ErrInvalid, []string{garbage}},
		{"etcds://h?cert=" + cert + "&key=" + cert, nil, ledger.ErrInvalid, []string{cert, "can not be used"}},
		{"etcds://h?cert=" + cert + "&key=" + text, nil, ledger.ErrInvalid, []string{text, "not a PEM file"}},
		{"etcds://h?cert=" + cert + "&key=" + encrypted, nil, ledger.ErrInvalid, []string{encrypted, "encrypted"}},
		{"etcds://h?cert=" + cert + "&key=" + otherKey, nil, ledger.ErrInvalid, []string{otherKey, cert, "does not match"}},
		{"etcds://h?cert=" + oldCert + "&key=" + oldKey, nil, ledger.ErrUnavailable, []string{oldCert, "expired on " + expired(-2)}},
		{"etcds://h?cert=" + earlyCert + "&key=" + earlyKey, nil, ledger.ErrUnavailable, []string{earlyCert, "not valid before " + expired(2)}},
		{"etcd://h", vars{envCert: cert, envKey: otherKey}, ledger.ErrInvalid, []string{"ETCDCTL_KEY: the file", otherKey}},
		{"etcd://h", vars{envCert: cert, envKey: read(t, key)}, ledger.ErrInvalid, []string{"ETCDCTL_KEY is the path of a file"}},
	} {
		s, err := open(t.Context(), c.url, c.env.get, nil)
		if s != nil || !errors.Is(err, c.kind) {
			t.Errorf("%s with %v: got %v, error %v; want %v", c.url, c.env, s, err, c.kind)
			continue
		}
		for _, want := range c.wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got error %v; want %q in it", c.url, err, want)
			}
		}
		if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "BEGIN PRIVATE") {
			t.Errorf("%s: the error tells what is in a file: %v", c.url, err)
		}
	}
}

func TestTLSConfig(t *testing.T) {
	a := newAuthority(t, "ca", day(-1), day(1))
	cert, key := a.issue("client", day(-1), day(1))
	both := filepath.Join(t.TempDir(), "both.pem") // certificate and key in one file, as some tools write them
	write(t, both, read(t, key)+read(t, cert))
	// A bundle in which one authority is out of date is in order.
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	write(t, bundle, read(t, newAuthority(t, "old", day(-3), day(-2)).file)+read(t, a.file))
	for _, f := range []tlsFiles{
		{},
		{serverName: "etcd.internal", ca: source{"ca=", a.file}, cert: source{"cert=", cert}, key: source{"key=", key}},
		{ca: source{"ca=", bundle}, cert: source{"cert=", both}, key: source{"key=", both}},
	} {
		c, err := f.config(time.Now())
		if err != nil {
			t.Errorf("%+v: %v", f, err)
			continue
		}
		if c.MinVersion != tls.VersionTLS12 || c.InsecureSkipVerify || c.ServerName != f.serverName || (c.RootCAs != nil) != (f.ca.path != "") || (c.GetClientCertificate != nil) != (f.cert.path != "") {
			t.Errorf("%+v: got %+v", f, c)
		}
	}
}

// A certificate that is renewed on the disk is used by the next connection.
func TestClientCertificateIsRenewed(t *testing.T) {
	a := newAuthority(t, "ca", day(-1), day(1))
	server := serverConfig(t, a)
	firstCert, firstKey := a.issue("first", day(-1), day(1))
	nextCert, nextKey := a.issue("next", day(-1), day(1))
	t.Chdir(t.TempDir())
	write(t, "client.crt", read(t, firstCert))
	write(t, "client.key", read(t, firstKey))
	f := tlsFiles{ca: source{"ca=", a.file}, cert: source{"cert=", "client.crt"}, key: source{"key=", "client.key"}, serverName: "etcd.internal"}
	client, err := f.config(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir()) // the paths still name the same files

	for _, step := range []struct {
		what string
		do   func()
		want string
	}{
		{"as opened", func() {}, "first"},
		{"half renewed", func() { write(t, filepath.Join(dir, "client.crt"), read(t, nextCert)) }, "first"},
		{"renewed", func() { write(t, filepath.Join(dir, "client.key"), read(t, nextKey)) }, "next"},
		{"removed", func() {
			if err := os.Remove(filepath.Join(dir, "client.key")); err != nil {
				t.Fatal(err)
			}
		}, "next"},
	} {
		step.do()
		if got := handshake(t, client, server); got != step.want {
			t.Errorf("%s: the client is %q, want %q", step.what, got, step.want)
		}
	}
}

// serverConfig is of a server that wants client certificates signed by a.
func serverConfig(t *testing.T, a *authority) *tls.Config {
	t.Helper()
	certFile, keyFile := a.issue("server", day(-1), day(1))
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := source{"ca=", a.file}.authorities(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
}

// handshake returns the name in the certificate by which client is known to server.
func handshake(t *testing.T, client, server *tls.Config) string {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() {
		conn := tls.Client(a, client)
		err := conn.HandshakeContext(t.Context())
		if err == nil {
			// The server's session tickets wait to be read.
			_, err = conn.Read(make([]byte, 1))
		}
		done <- err
	}()
	conn := tls.Server(b, server)
	if err := conn.HandshakeContext(t.Context()); err != nil {
		b.Close()
		t.Fatal(err, <-done)
	}
	if _, err := conn.Write([]byte{1}); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}
