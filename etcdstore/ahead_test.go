package etcdstore

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A clock is read off the answer to an HTTP request, by TLS too.
func TestAhead(t *testing.T) {
	off := 90 * time.Second
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(off).UTC().Format(http.TimeFormat))
	})
	plain := httptest.NewServer(handler)
	defer plain.Close()
	encrypted := httptest.NewTLSServer(handler)
	defer encrypted.Close()
	config := encrypted.Client().Transport.(*http.Transport).TLSClientConfig
	for _, url := range []string{plain.URL, encrypted.URL} {
		if got, ok := ahead(t.Context(), url, config); !ok || (got-off).Abs() > time.Second {
			t.Errorf("%s: got %v, %v; want %v", url, got, ok, off)
		}
	}
	if server, authority := certificates(t.Context(), encrypted.Listener.Addr().String(), config); server == nil || authority == nil {
		t.Errorf("certificates %v, %v", server, authority)
	}
	plain.Close()
	if got, ok := ahead(t.Context(), plain.URL, nil); ok {
		t.Errorf("a server that is gone told %v", got)
	}
}
