package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
)

// sessionsPage is how many sessions are read at a time.
const sessionsPage = 500

// LeaseLost implements [ledger.Leaser].
func (s *Store) LeaseLost(session string) <-chan struct{} { return s.sessions.lost(session) }

// Sessions implements [ledger.SessionLister]: the workers below the prefix whose
// leases live. Those that open or end while it reads may be missing.
func (s *Store) Sessions(ctx context.Context) ([]ledger.Session, error) {
	all, err := s.listSessions(ctx)
	if err != nil {
		return nil, fmt.Errorf("etcdstore: sessions: %w", err)
	}
	return all, nil
}

func (s *Store) listSessions(ctx context.Context) ([]ledger.Session, error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	prefix := s.keys.session("")
	var all []ledger.Session
	retry := newRetry()
	for from := prefix; ; {
		rctx, cancel := s.sessions.request(ctx)
		r, err := s.client.Get(rctx, from, clientv3.WithRange(after(prefix)), clientv3.WithLimit(sessionsPage))
		cancel()
		if err == nil {
			for _, kv := range r.Kvs {
				if kv.Lease != 0 { // nobody's life depends on any other
					all = append(all, decodeSession(prefix, kv))
				}
			}
			if !r.More {
				return all, nil
			}
			from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
			continue
		}
		v := verdictOf(err)
		if (v == ambiguous || v == again) && ctx.Err() == nil {
			pause(ctx, retry)
		}
		if v != ambiguous && v != again || ctx.Err() != nil {
			return nil, s.failure(err, true)
		}
	}
}

// decodeSession shows what it can: a newer version may have written the value.
func decodeSession(prefix string, kv *mvccpb.KeyValue) ledger.Session {
	var v storedSession
	_ = json.Unmarshal(kv.Value, &v)
	return ledger.Session{ID: strings.TrimPrefix(string(kv.Key), prefix), Host: v.Host, PID: v.PID, Started: v.Started, Alive: true}
}
