package connect

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
)

// tlsFiles names what a TLS connection is made of; an empty path means none.
type tlsFiles struct {
	ca, cert, key source
	serverName    string
}

// A source is a file, and the parameter or variable that names it.
type source struct{ from, path string }

// maxPEMBytes is far above any bundle of authorities.
const maxPEMBytes = 4 << 20

// config reads and checks the files.
func (f *tlsFiles) config(now time.Time) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.serverName}
	if f.ca.path != "" {
		pool, err := f.ca.authorities(now)
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool
	}
	if f.cert.path != "" {
		client := &clientCert{cert: f.cert, key: f.key}
		if err := client.open(now); err != nil {
			return nil, err
		}
		c.GetClientCertificate = client.get
	}
	return c, nil
}

// read returns the PEM file's bytes. Errors do not tell what it holds.
func (s source) read() ([]byte, error) {
	if strings.Contains(s.path, "-----BEGIN") || strings.ContainsAny(s.path, "\n\x00") {
		return nil, invalid("%s is the path of a file, not what is in it", s.from)
	}
	file, err := os.Open(s.path)
	if err == nil {
		defer file.Close()
		var data []byte
		data, err = io.ReadAll(io.LimitReader(file, maxPEMBytes+1))
		switch {
		case err != nil:
		case len(data) > maxPEMBytes:
			return nil, s.invalid("is larger than %d bytes", maxPEMBytes)
		default:
			if block, _ := pem.Decode(data); block == nil {
				return nil, s.invalid("is not a PEM file (-----BEGIN ...)")
			}
			return data, nil
		}
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err // the path is said once
	}
	return nil, s.invalid("can not be read: %w", err)
}

func (s source) invalid(format string, args ...any) error {
	return invalid("%s: the file %q "+format, append([]any{s.from, s.path}, args...)...)
}

// authorities returns the certificates of the file. Other blocks, such as a
// key, are passed over.
func (s source) authorities(now time.Time) (*x509.CertPool, error) {
	data, err := s.read()
	if err != nil {
		return nil, err
	}
	pool, good := x509.NewCertPool(), 0
	var last error
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, s.invalid("has a certificate that can not be understood: %w", err)
		}
		pool.AddCert(c)
		if err := s.current(c, now); err != nil {
			last = err
			continue
		}
		good++
	}
	switch {
	case good > 0:
		return pool, nil
	case last != nil:
		return nil, last // every one is out of date
	}
	return nil, s.invalid("has no certificate in it")
}

// current says whether c is used within its time.
func (s source) current(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("%w: %s: the certificate in %q expired on %s; renew it", ledger.ErrUnavailable, s.from, s.path, c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Errorf("%w: %s: the certificate in %q is not valid before %s; compare the clocks", ledger.ErrUnavailable, s.from, s.path, c.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// A clientCert follows the files of a client certificate: each connection reads
// them again, so that a renewed one is used without a restart.
type clientCert struct {
	cert, key source

	mu   sync.Mutex
	good *tls.Certificate // the last pair that was one
}

// open loads the pair for the first time, and checks it.
func (c *clientCert) open(now time.Time) error {
	pair, err := c.load()
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return c.cert.invalid("has a certificate that can not be understood: %w", err) // unreachable unless program bug: load parsed it
	}
	if err := c.cert.current(leaf, now); err != nil {
		return err
	}
	c.good = pair
	for _, s := range []*source{&c.cert, &c.key} {
		if path, err := filepath.Abs(s.path); err == nil {
			s.path = path // the process may change its directory
		}
	}
	return nil
}

func (c *clientCert) load() (*tls.Certificate, error) {
	cert, err := c.cert.read()
	if err != nil {
		return nil, err
	}
	key, err := c.key.read()
	if err != nil {
		return nil, err
	}
	if bytes.Contains(key, []byte("ENCRYPTED")) {
		return nil, c.key.invalid("holds an encrypted key; give one that is not, readable by this user only")
	}
	if !bytes.Contains(cert, []byte("-----BEGIN CERTIFICATE-----")) {
		return nil, c.cert.invalid("has no certificate in it")
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, c.key.invalid("can not be used with the certificate in %q: %w", c.cert.path, err)
	}
	return &pair, nil
}

// get is for tls.Config.GetClientCertificate. While the files are being
// replaced, and do not fit each other, the pair before them is used.
func (c *clientCert) get(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	pair, err := c.load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.good = pair
	}
	return c.good, nil
}
