// Package testcert makes certificates for tests: an authority, and below it
// servers and clients, good ones and expired ones. All are PEM files in the
// test's temporary directory, and gone with it.
//
// For a certificate of an authority that a server does not trust, make a
// second authority.
package testcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// An Authority signs certificates.
type Authority struct {
	File string // its certificate

	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	made int64
}

// A Pair is a certificate and its key.
type Pair struct{ CertFile, KeyFile string }

// New returns a new authority. Like everything here it fails the test if it can not.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{dir: t.TempDir()}
	template := a.template("test authority", time.Now().Add(time.Hour))
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
	pair := a.sign(t, template)
	a.File = pair.CertFile
	return a
}

// Server returns a certificate for 127.0.0.1, ::1 and localhost.
func (a *Authority) Server(t testing.TB) Pair {
	t.Helper()
	return a.sign(t, server(a.template("localhost", time.Now().Add(time.Hour))))
}

// ExpiredServer returns one that was valid until an hour ago.
func (a *Authority) ExpiredServer(t testing.TB) Pair {
	t.Helper()
	return a.sign(t, server(a.template("localhost", time.Now().Add(-time.Hour))))
}

// Client returns a certificate for a client with this common name.
func (a *Authority) Client(t testing.TB, commonName string) Pair {
	t.Helper()
	return a.sign(t, client(a.template(commonName, time.Now().Add(time.Hour))))
}

// ExpiredClient returns one that was valid until an hour ago.
func (a *Authority) ExpiredClient(t testing.TB, commonName string) Pair {
	t.Helper()
	return a.sign(t, client(a.template(commonName, time.Now().Add(-time.Hour))))
}

// ClientConfig returns what a client needs that trusts the authority's servers,
// and shows the certificate pair. A zero pair shows none.
func (a *Authority) ClientConfig(t testing.TB, pair Pair) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if pair != (Pair{}) {
		cert, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		// Shown even if the server's request does not ask for its authority, as
		// Certificates are not: the server is to refuse it, and not miss it.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	return config
}

func (a *Authority) template(commonName string, until time.Time) *x509.Certificate {
	a.made++
	return &x509.Certificate{
		SerialNumber: big.NewInt(a.made),
		Subject:      pkix.Name{CommonName: commonName},
		NotBefore:    until.Add(-24 * time.Hour),
		NotAfter:     until,
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func server(c *x509.Certificate) *x509.Certificate {
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	c.DNSNames = []string{"localhost"}
	return c
}

func client(c *x509.Certificate) *x509.Certificate {
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return c
}

// sign makes a key and a certificate for it, the authority's own first.
func (a *Authority) sign(t testing.TB, template *x509.Certificate) Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if a.key == nil {
		a.cert, a.key = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if template == a.cert {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(a.dir, strconv.FormatInt(template.SerialNumber.Int64(), 10))
	pair := Pair{CertFile: name + ".crt", KeyFile: name + ".key"}
	write(t, pair.CertFile, "CERTIFICATE", der)
	write(t, pair.KeyFile, "PRIVATE KEY", keyDER)
	return pair
}

func write(t testing.TB, name, kind string, der []byte) {
	t.Helper()
	b := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
