package testcert

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"testing"
)

func TestHandshake(t *testing.T) {
	ca, other := New(t), New(t)
	good, client := ca.Server(t), ca.Client(t, "ada")
	for _, tt := range []struct {
		name           string
		server, client Pair
		ok             bool
	}{
		{"good", good, client, true},
		{"no client certificate", good, Pair{}, false},
		{"expired client", good, ca.ExpiredClient(t, "ada"), false},
		{"another authority's client", good, other.Client(t, "ada"), false},
		{"server as a client", good, good, false},
		{"expired server", ca.ExpiredServer(t), client, false},
		{"another authority's server", other.Server(t), client, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cn, err := handshake(t, ca, tt.server, ca.ClientConfig(t, tt.client))
			if (err == nil) != tt.ok {
				t.Fatalf("got %v, want success to be %v", err, tt.ok)
			}
			if tt.ok && cn != "ada" {
				t.Errorf("the client is %q, want ada", cn)
			}
		})
	}
}

// handshake returns the client's common name as the server learns it.
func handshake(t *testing.T, ca *Authority, server Pair, client *tls.Config) (string, error) {
	pem, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(pem) {
		t.Fatal("the authority's file holds no certificate")
	}
	cert, err := tls.LoadX509KeyPair(server.CertFile, server.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    clients,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	type result struct {
		name string
		err  error
	}
	served := make(chan result, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- result{err: err}
			return
		}
		defer conn.Close()
		s := conn.(*tls.Conn)
		if err := s.HandshakeContext(t.Context()); err != nil {
			served <- result{err: err}
			return
		}
		served <- result{name: s.ConnectionState().PeerCertificates[0].Subject.CommonName}
	}()
	conn, err := tls.Dial("tcp", l.Addr().String(), client)
	if err == nil {
		defer conn.Close()
	}
	r := <-served // in TLS 1.3 only the server knows whether it likes the client
	return r.name, errors.Join(err, r.err)
}
