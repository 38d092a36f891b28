package etcdstore_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
	"github.com/ledger-once/ledger/internal/testcert"
)

// A castle is a cluster that wants a login.
type castle struct {
	*stage
	root *clientv3.Client
}

// newCastle has users "worker", who may use what is below the prefix, "reader", who may read it, "clerk",
// who may use workflow "ok" only, and "stranger", who may use nothing. connect is for root; without passwords it has to have a certificate.
func newCastle(t *testing.T, passwords bool, change func(*embedded.Options), connect func(*embedded.Server) (*clientv3.Client, error)) *castle {
	t.Helper()
	server := startServer(t, change)
	if connect == nil {
		connect = func(s *embedded.Server) (*clientv3.Client, error) { return s.Client(nil) }
	}
	client, err := connect(server)
	if err != nil {
		t.Fatal(err)
	}
	ctx, password := t.Context(), ""
	if passwords {
		password = secret
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	user := func(name string, grants map[string]clientv3.PermissionType) {
		t.Helper()
		_, err := client.UserAddWithOptions(ctx, name, password, &clientv3.UserAddOptions{NoPassword: password == ""})
		must(err)
		_, err = client.RoleAdd(ctx, name)
		must(err)
		for prefix, kind := range grants {
			_, err = client.RoleGrantPermission(ctx, name, prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(kind))
			must(err)
		}
		_, err = client.UserGrantRole(ctx, name, name)
		must(err)
	}
	all, read := clientv3.PermissionType(clientv3.PermReadWrite), clientv3.PermissionType(clientv3.PermRead)
	user("root", nil)
	user("worker", map[string]clientv3.PermissionType{"faults/": all})
	user("reader", map[string]clientv3.PermissionType{"faults/": read})
	user("clerk", map[string]clientv3.PermissionType{"faults/schema": all, "faults/sessions/": all, "faults/changes/": all,
		"faults/records/ok/": all, "faults/running/ok/": all, "faults/tallies/ok/": all})
	user("stranger", nil)
	_, err = client.AuthEnable(ctx)
	must(err)
	must(client.Close())
	return &castle{stage: stageOn(t, server.Endpoints())}
}

// login opens root's client, for those with passwords.
func (c *castle) login(t *testing.T) *castle {
	t.Helper()
	root, err := clientv3.New(clientv3.Config{Endpoints: c.endpoints, Username: "root", Password: secret, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	c.root, c.client = root, root
	return c
}

func as(user string) *etcdstore.Options { return &etcdstore.Options{Username: user, Password: secret} }

// useAll does what a worker does.
func useAll(t *testing.T, s *etcdstore.Store) {
	t.Helper()
	g, j := newGuard(t, s, replay), &journal{}
	call := ledger.Call{Tool: "charge_card", Workflow: "ok", Key: freshID().Fingerprint}
	for n := range 2 {
		if res, err := ledger.Do(t.Context(), g, call, j.tool); err != nil || res.Value != "receipt 1" || res.Replayed != (n == 1) {
			t.Fatalf("call %d: %+v, %v", n, res, err)
		}
	}
	if _, err := ledger.Force(t.Context(), g, call, j.tool); err != nil || j.effects() != 2 {
		t.Fatalf("force: %v", err)
	}
	id, err := g.ID(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Tally(t.Context(), []ledger.Tally{{ID: id, Attempts: 3, Blocked: 3}}); err != nil {
		t.Fatal(err)
	}
	r, err := s.Get(t.Context(), id)
	if err != nil || r.State != ledger.StateSucceeded {
		t.Fatalf("get: %+v, %v", r, err)
	}
	for _, err := range s.List(t.Context(), ledger.Filter{Workflow: "ok", Tool: "charge_card"}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if all, err := s.Sessions(t.Context()); err != nil || len(all) == 0 {
		t.Fatalf("sessions: %v, %v", all, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for c, err := range s.Watch(ctx, ledger.WatchOptions{Filter: ledger.Filter{Workflow: "ok"}}) {
		if err != nil {
			t.Fatalf("watch: %v", err)
		}
		if c.Kind == ledger.ChangeDelete && c.ID == id {
			break
		}
		if c.Kind == ledger.ChangeSync {
			if err := g.Retry(ctx, call); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeGuard(t, g)
}

func TestFaultLogin(t *testing.T) {
	if raceEnabled {
		t.Skip("with the race detector etcd takes seconds to check a password")
	}
	c := newCastle(t, true, nil, nil).login(t)
	t.Run("worker", func(t *testing.T) {
		s := c.open(t, nil, as("worker"))
		useAll(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		wantRefused(t, c.endpoints, etcdstore.Options{Username: "worker", Password: secret + "?"}, "the user name or the password is wrong")
		wantRefused(t, c.endpoints, etcdstore.Options{Username: "nobody", Password: secret}, "the user name or the password is wrong")
		wantRefused(t, c.endpoints, etcdstore.Options{}, "the cluster wants a user name and a password")
	})
	t.Run("no permission", func(t *testing.T) {
		opts := as("stranger")
		opts.Prefix = "faults"
		wantRefused(t, c.endpoints, *opts, "role grant-permission", "faults/")
		opts.Username, opts.Prefix = "worker", "elsewhere"
		wantRefused(t, c.endpoints, *opts, "role grant-permission", "elsewhere/")
	})
	t.Run("reader", func(t *testing.T) {
		worker := c.open(t, nil, as("worker"))
		r := mustClaim(t, worker, claimOf(freshID(), 0))
		s := c.open(t, nil, as("reader"))
		if got, err := s.Get(t.Context(), r.ID); err != nil || got.Version != r.Version || !got.Alive {
			t.Errorf("get: %+v, %v", got, err)
		}
		n := 0
		for _, err := range s.List(t.Context(), ledger.Filter{}) {
			if n++; err != nil {
				t.Error(err)
			}
		}
		if all, err := s.Sessions(t.Context()); n != 1 || err != nil || len(all) != 1 {
			t.Errorf("%d records; sessions %v, %v", n, all, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		mustFinish(t, worker, sampleDone(r))
		if err := s.Await(ctx, r.ID, r.Version); err != nil {
			t.Error(err)
		}
		denied := []error{ledger.ErrUnavailable, ledger.ErrNotWritten}
		_, _, err := s.Claim(ctx, claimOf(freshID(), 0))
		wantError(t, err, denied, "role grant-permission")
		r, _ = s.Get(ctx, r.ID)
		wantError(t, s.Delete(ctx, r.ID, r.Version), denied, "role grant-permission")
		wantError(t, s.Tally(ctx, []ledger.Tally{{ID: r.ID, Attempts: 1}}), denied, "role grant-permission")
		wantError(t, s.Finish(ctx, sampleDone(mustClaim(t, worker, claimOf(freshID(), 0)))), denied, "role grant-permission")
		if ctx.Err() != nil {
			t.Error("that took too long")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("clerk", func(t *testing.T) {
		var w wire
		s := c.open(t, &w, as("clerk"))
		var claims []ledger.Claim
		for n := range 20 {
			id := freshID()
			if id.Workflow = "ok"; n%5 == 0 {
				id.Workflow = "secret"
			}
			claims = append(claims, claimOf(id, 0))
		}
		id := freshID()
		id.Workflow = "ok"
		mustFinish(t, s, sampleDone(mustClaim(t, s, claimOf(id, 0))))
		for n, o := range together(t, s, &w, nil, claims...) {
			if n%5 != 0 {
				wantWon(t, s, o)
				continue
			}
			wantError(t, o.err, []error{ledger.ErrUnavailable, ledger.ErrNotWritten}, "role grant-permission")
		}
	})
	t.Run("permission taken away and given back", func(t *testing.T) {
		s := c.open(t, nil, as("worker"))
		g := newGuard(t, s, ledger.Options{StoreTimeout: 2 * time.Second, Default: ledger.Policy{Replay: true}})
		call := ledger.Call{Tool: "charge_card", Key: "taken"}
		id, err := g.ID(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		res, err := ledger.Do(t.Context(), g, call, func(ctx context.Context) (string, error) {
			_, err := c.root.UserRevokeRole(ctx, "worker", "worker")
			return "receipt", err
		})
		if !errors.Is(err, ledger.ErrUnrecorded) || errors.Is(err, ledger.ErrUnavailable) || res.Value != "receipt" {
			t.Errorf("the call whose outcome could not be written: %q, %v; want its value, and ErrUnrecorded", res.Value, err)
		}
		other := &journal{}
		_, err = ledger.Do(t.Context(), g, ledger.Call{Tool: "charge_card", Key: "other"}, other.tool)
		wantError(t, err, []error{ledger.ErrUnavailable}, "role grant-permission")
		if other.effects() != 0 {
			t.Error("a tool ran without a claim")
		}
		if _, err := c.root.UserGrantRole(t.Context(), "worker", "worker"); err != nil {
			t.Fatal(err)
		}
		closeGuard(t, g) // what is kept is written
		if r, err := s.Get(t.Context(), id); err != nil || r.State != ledger.StateSucceeded {
			t.Errorf("the outcome: %+v, %v", r, err)
		}
	})
	t.Run("another password", func(t *testing.T) {
		s := c.open(t, nil, as("worker"))
		mustFinish(t, s, sampleDone(mustClaim(t, s, claimOf(freshID(), 0))))
		if _, err := c.root.UserChangePassword(t.Context(), "worker", "another"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, _, err := s.Claim(ctx, claimOf(freshID(), 0))
		wantError(t, err, []error{ledger.ErrUnavailable}, "the user name or the password is wrong")
		if err == nil || strings.Contains(err.Error(), secret) || ctx.Err() != nil {
			t.Errorf("claim: %v", err)
		}
		if _, err := c.root.UserChangePassword(t.Context(), "worker", secret); err != nil {
			t.Fatal(err)
		}
		mustFinish(t, s, sampleDone(mustClaim(t, s, claimOf(freshID(), 0))))
	})
}

// revokeSession revokes the lease of a session, as an operator would.
func revokeSession(t testing.TB, client *clientv3.Client, session string) {
	t.Helper()
	id, err := strconv.ParseUint(session, 16, 64)
	if err == nil {
		_, err = client.Revoke(t.Context(), clientv3.LeaseID(id))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A login lasts for a second here. Nothing is to be noticed of its end.
func TestFaultShortLogin(t *testing.T) {
	if raceEnabled {
		t.Skip("with the race detector etcd takes seconds to check a password")
	}
	c := newCastle(t, true, func(o *embedded.Options) { o.AuthTokenTTL = time.Second }, nil).login(t)
	var w wire
	opts := as("worker")
	opts.TTL = 5 * time.Second // it is renewed meanwhile
	s := c.open(t, &w, opts)
	// A watch that stays keeps the stream that it shares with those of sessions.
	told := make(chan ledger.Change)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		for c, err := range s.Watch(ctx, ledger.WatchOptions{}) {
			if err != nil && ctx.Err() == nil {
				t.Errorf("watch: %v", err)
			}
			select {
			case told <- c:
			case <-ctx.Done():
			}
		}
	})
	defer watching.Wait()
	defer cancel()
	<-told
	wantTold := func(id ledger.ID, state ledger.State) {
		t.Helper()
		for {
			select {
			case c := <-told:
				if c.Kind == ledger.ChangePut && c.ID == id && c.Record.State == state {
					return
				}
			case <-time.After(time.Minute):
				t.Fatalf("the watch has not told of %s", id)
			}
		}
	}
	claim := func() ledger.Record {
		t.Helper()
		r := mustClaim(t, s, claimOf(freshID(), 0))
		wantTold(r.ID, ledger.StateRunning)
		return r
	}
	r := claim()
	for n, tries := 0, 5; n < 2; n++ {
		w.set(nil)
		time.Sleep(2100 * time.Millisecond) // the end of a login can not be seen
		if n := w.requests(); n > 1 {
			t.Errorf("%d requests of an idle store; its session's key is to be watched, not polled", n)
		}
		select {
		case <-s.LeaseLost(r.Owner.Session):
			t.Error("the session was lost with the login")
		default:
		}
		lost := s.LeaseLost(r.Owner.Session)
		start := time.Now()
		revokeSession(t, c.root, r.Owner.Session)
		<-lost
		if took := time.Since(start); took > time.Second { // on a machine that stands still, a renewal may come first
			if tries--; tries == 0 {
				t.Fatalf("session %d: its revoke was noticed after %v; want milliseconds", n, took)
			}
			n--
		}
		mustFinish(t, s, sampleDone(r))
		wantTold(r.ID, ledger.StateSucceeded)
		r = claim()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if err := s.Await(ctx, r.ID, r.Version); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("await: %v", err)
		}
		cancel()
	}
	mustFinish(t, s, sampleDone(r))
	cancel()
	watching.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A certificate's common name is the user.
func TestFaultCertificateLogin(t *testing.T) {
	ca := testcert.New(t)
	pair := ca.Server(t)
	c := newCastle(t, false, func(o *embedded.Options) {
		o.TLS = &embedded.TLS{CertFile: pair.CertFile, KeyFile: pair.KeyFile, ClientCAFile: ca.File}
	}, func(s *embedded.Server) (*clientv3.Client, error) {
		return s.Client(ca.ClientConfig(t, ca.Client(t, "root")))
	})
	s := c.open(t, nil, &etcdstore.Options{TLS: ca.ClientConfig(t, ca.Client(t, "worker"))})
	useAll(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"stranger", "nobody"} {
		t.Run(fmt.Sprint("as ", name), func(t *testing.T) {
			wantRefused(t, c.endpoints, etcdstore.Options{Prefix: "faults", TLS: ca.ClientConfig(t, ca.Client(t, name))}, "role grant-permission")
		})
	}
}
