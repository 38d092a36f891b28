package benchkit

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
)

// Etcd returns the ways on a cluster. The first is the base: two bare transactions.
func Etcd(ctx context.Context, endpoints []string) (_ []rounds.Way, err error) {
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, MaxUnaryRetries: 1, Logger: zap.NewNop()})
	if err != nil {
		return nil, err
	}
	session, err := concurrency.NewSession(client, concurrency.WithTTL(600))
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	ways, err := open(
		func() (rounds.Way, error) { return bareEtcd(ctx, client) },
		func() (rounds.Way, error) { return rounds.Way{Name: "raw puts", Call: rawPuts(client)}, nil },
		func() (rounds.Way, error) {
			return rounds.Way{Name: "mutex, no fence (unsafe)", Call: mutex{client, session, false}.call}, nil
		},
		func() (rounds.Way, error) {
			return rounds.Way{Name: "fenced mutex", Call: mutex{client, session, true}.call}, nil
		},
		func() (rounds.Way, error) {
			s, err := etcdstore.Open(ctx, endpoints, &etcdstore.Options{Prefix: "alone"})
			if err != nil {
				return rounds.Way{}, err
			}
			return alone(s, s.Close), nil
		},
		func() (rounds.Way, error) { return GuardedEtcd(ctx, endpoints) },
	)
	if err != nil {
		return nil, errors.Join(err, session.Close(), client.Close())
	}
	closeWay := ways[0].Close
	ways[0].Close = func() error { // the client is the others' too; the last two have their own
		if closeWay != nil {
			_ = closeWay()
		}
		return errors.Join(session.Close(), client.Close())
	}
	return ways, nil
}

// GuardedEtcd is a guarded call on a store of this cluster.
func GuardedEtcd(ctx context.Context, endpoints []string) (rounds.Way, error) {
	s, err := etcdstore.Open(ctx, endpoints, nil)
	if err != nil {
		return rounds.Way{}, err
	}
	return Guarded(s, s.Close)
}

// bareTxn is two transactions of the same shape as the store's claim and finish, each a request of its own.
type bareTxn struct {
	client *clientv3.Client
	lease  clientv3.LeaseID
	mark   int64
}

func bareEtcd(ctx context.Context, client *clientv3.Client) (rounds.Way, error) {
	g, err := client.Grant(ctx, int64((time.Hour).Seconds()))
	if err != nil {
		return rounds.Way{}, err
	}
	p, err := client.Put(ctx, "bare/sessions/1", "{}", clientv3.WithLease(g.ID))
	if err != nil {
		return rounds.Way{}, err
	}
	return rounds.Way{Name: "bare transactions", Call: (&bareTxn{client, g.ID, p.Header.Revision}).call}, nil
}

func (b *bareTxn) call(ctx context.Context, id ledger.ID) error {
	c := rounds.Claimed(id)
	value, err := encode(c)
	if err != nil {
		return err
	}
	record, running := "bare/records/"+id.String(), "bare/running/"+id.String()
	r, err := b.client.Txn(ctx).If(
		clientv3.Compare(clientv3.CreateRevision(record), "=", 0),
		clientv3.Compare(clientv3.CreateRevision(running), "=", 0),
		clientv3.Compare(clientv3.ModRevision("bare/sessions/1"), "=", b.mark),
	).Then(
		clientv3.OpPut(record, value),
		clientv3.OpPut(running, "1", clientv3.WithLease(b.lease)),
	).Else(clientv3.OpGet(record), clientv3.OpGet(running), clientv3.OpGet("bare/sessions/1")).Commit()
	if err = definite(r, err); err != nil {
		return err
	}
	d := rounds.Done(c)
	d.Fence = ledger.Version(r.Header.Revision)
	if value, err = encode(d); err != nil {
		return err
	}
	r, err = b.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(record), "=", r.Header.Revision)).
		Then(clientv3.OpPut(record, value), clientv3.OpDelete(running)).
		Else(clientv3.OpGet(record)).Commit()
	return definite(r, err)
}

func definite(r *clientv3.TxnResponse, err error) error {
	if err == nil && !r.Succeeded {
		return errors.New("the transaction was refused")
	}
	return err
}

// rawPuts is what the cluster can do: two plain puts a call, of the same size.
func rawPuts(client *clientv3.Client) func(context.Context, ledger.ID) error {
	return func(ctx context.Context, id ledger.ID) error {
		value, err := encode(rounds.Claimed(id))
		for range 2 {
			if err == nil {
				_, err = client.Put(ctx, "raw/"+id.String(), value)
			}
		}
		return err
	}
}

// mutex is the recipe that people write by hand: a distributed lock for the call, a look whether it was done, and a
// put. Fenced, the put checks that the lock is still held; without that, a paused holder writes over another's work.
type mutex struct {
	client  *clientv3.Client
	session *concurrency.Session
	fenced  bool
}

func (m mutex) call(ctx context.Context, id ledger.ID) error {
	prefix := "mutex/"
	if m.fenced {
		prefix = "fenced/"
	}
	lock := concurrency.NewMutex(m.session, prefix+"locks/"+id.String())
	if err := lock.Lock(ctx); err != nil {
		return err
	}
	key := prefix + "records/" + id.String()
	r, err := m.client.Get(ctx, key)
	if err != nil {
		return err
	}
	if len(r.Kvs) > 0 {
		return errors.New("a call that nobody made is there")
	}
	value, err := encode(rounds.Done(rounds.Claimed(id)))
	if err != nil {
		return err
	}
	if m.fenced {
		err = definite(m.client.Txn(ctx).If(lock.IsOwner()).Then(clientv3.OpPut(key, value)).Commit())
	} else {
		_, err = m.client.Put(ctx, key, value)
	}
	if err != nil {
		return err
	}
	return lock.Unlock(ctx)
}
