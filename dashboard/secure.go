package dashboard

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// policy is what a page of this server may do: nothing but to use what this server sends.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

const cookieName = "ledger_dashboard"

// guarded refuses what must not come through, before anything else looks at it.
func (d *Dashboard) guarded(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !d.knows(r.Host) {
			refuse(w, http.StatusMisdirectedRequest, "this dashboard is not served under that name; open it as localhost, or name the host when it is started")
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && !sameOrigin(origin, r.Host) {
			refuse(w, http.StatusForbidden, "another origin must not ask this dashboard")
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
			refuse(w, http.StatusForbidden, "another site must not ask this dashboard")
			return
		}
		if err := protection.Check(r); err != nil {
			refuse(w, http.StatusForbidden, "another origin must not change anything here")
			return
		}
		switch r.Method {
		case http.MethodGet, http.MethodHead:
		case http.MethodPost:
			kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
			if err != nil || kind != "application/json" {
				refuse(w, http.StatusUnsupportedMediaType, "use Content-Type: application/json")
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(d.slow)) // where it can: not in every test
		default:
			h.Set("Allow", "GET, HEAD, POST")
			refuse(w, http.StatusMethodNotAllowed, "use GET, or POST for what changes something")
			return
		}
		if !d.admitted(r) {
			if r.Method == http.MethodGet && r.URL.Path == "/" {
				page(w, loginPage)
				return
			}
			if !open(r.URL.Path) {
				refuse(w, http.StatusUnauthorized, "the token is missing: open the page and give it, or send Authorization: Bearer TOKEN")
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// open reports whether path is for whoever has not given the token yet.
func open(path string) bool {
	return path == "/api/login" || path == "/assets/login.js" || path == "/assets/login.css" || path == "/assets/icon.svg"
}

// knows reports whether host, of a request, is one under which this dashboard is served.
func (d *Dashboard) knows(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.ToLower(strings.Trim(name, "[]")), ".")
	if name == "localhost" {
		return true
	}
	if ip := net.ParseIP(name); ip != nil && ip.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(d.o.Hosts, func(h string) bool { return strings.EqualFold(strings.Trim(h, "[]"), name) })
}

func sameOrigin(origin, host string) bool {
	_, rest, ok := strings.Cut(origin, "://")
	return ok && strings.EqualFold(rest, host)
}

// sealOf is what a cookie holds instead of the token.
func sealOf(token string) string {
	if token == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("ledger dashboard cookie\x00" + token))
	return hex.EncodeToString(sum[:])
}

func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b)) // of one length
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func (d *Dashboard) admitted(r *http.Request) bool {
	if d.o.Token == "" {
		return true
	}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return same(bearer, d.o.Token)
	}
	c, err := r.Cookie(cookieName)
	return err == nil && same(c.Value, d.cookie)
}

// login trades the token for a cookie. Tries come one at a time, and a wrong one costs a while.
func (d *Dashboard) login(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Token string `json:"token"`
	}
	if !decode(w, r, &in) {
		return
	}
	if d.o.Token == "" {
		refuse(w, http.StatusNotFound, "this dashboard asks for no token")
		return
	}
	if !d.logins.TryLock() {
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, "somebody is trying a token just now; try again in a moment")
		return
	}
	defer d.logins.Unlock()
	if !same(in.Token, d.o.Token) {
		timer := time.NewTimer(wrongToken)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
		d.o.Logger.Warn("dashboard: a wrong token was given", "from", r.RemoteAddr)
		refuse(w, http.StatusUnauthorized, "that is not the token")
		return
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: d.cookie, Path: "/", HttpOnly: true, Secure: d.o.Secure, SameSite: http.SameSiteStrictMode})
	answer(w, http.StatusOK, map[string]bool{"ok": true})
}

// wrongToken is what a wrong token costs.
const wrongToken = 500 * time.Millisecond

// decode reads the body of r, or answers why it can not.
func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the JSON value")
		}
	}
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return true
	case errors.As(err, &large):
		refuse(w, http.StatusRequestEntityTooLarge, "the request is larger than 1 MiB")
	default:
		refuse(w, http.StatusBadRequest, "the request is not the JSON that is expected: "+err.Error())
	}
	return false
}

func refuse(w http.ResponseWriter, code int, text string) {
	answer(w, code, map[string]string{"error": text})
}

func answer(w http.ResponseWriter, code int, value any) {
	text, err := json.Marshal(value) // < and > escaped: harmless even where somebody takes it for HTML
	if err != nil {
		code, text = http.StatusInternalServerError, []byte(`{"error":"the answer has no JSON form"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n'))
}
