package etcdstore

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
)

// fold puts the keys of other writers into one, so that they do not grow with
// each worker that ever was. The sum stays the same at every moment. It does no harm to a writer that
// lives: its next write is refused, it finds what was taken, and goes on with the rest.
func (t *tallies) fold(ctx context.Context, o *one, e *tallied) error {
	w, err := t.foldOp(o.id, e)
	if err != nil {
		return err
	}
	ans, err := t.s.writes.do(ctx, w)
	switch v := verdictOf(err); {
	case err == nil && ans.ok:
		e.stale = true
		return errAgain
	case err == nil:
		return t.learn(o, e, &ans)
	case (v == denied || v == tooMany || v == tooLarge) && !errors.Is(err, errNotSent):
		e.others = nil // the counts matter more
		return errAgain
	}
	return err // sent again; each copy compares what it takes, so that only one can land
}

func (t *tallies) foldOp(id ledger.ID, e *tallied) (*op, error) {
	keys := t.s.keys
	into := keys.tally(id, e.run, foldedWriter)
	all := storedTally{V: 1}
	var before []foldedTally
	cmps := append(t.compares(id, e), modified(into, equal, e.fold))
	var then []*pb.RequestOp
	for _, kv := range e.others {
		one, err := t.s.decodeTally(kv)
		if err != nil {
			return nil, err
		}
		writer, _ := keys.writerOf(id, e.run, kv)
		switch {
		case writer == foldedWriter:
			before = one.Folded
		case len(then) == maxFold:
			continue
		default:
			cmps = append(cmps, modified(kv.Key, equal, kv.ModRevision))
			then = append(then, del(kv.Key, ""))
			all.Folded = append(all.Folded, foldedTally{writer, kv.ModRevision, one.storedCounts})
		}
		all.storedCounts = all.plus(one.storedCounts)
	}
	for _, old := range before { // one that has not looked since may still want to know
		if len(all.Folded) == maxFold {
			break
		}
		if !slices.ContainsFunc(all.Folded, func(f foldedTally) bool { return f.Writer == old.Writer }) {
			all.Folded = append(all.Folded, old)
		}
	}
	value, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	then = append(then, put(into, value, clientv3.LeaseID(e.lease)))
	return &op{id: id, cmps: cmps, then: then, els: func() []*pb.RequestOp { return t.readOps(id) }}, nil
}

// removeCounter deletes all counts of a counter. It compares with the revision at
// which it has seen them, so that no late copy of it deletes later ones. What is not
// guaranteed: a copy of a writer's first count that lands after the notice of the
// removal has gone, a minute later, or that was proposed while there was no space for one, is counted.
func (t *tallies) removeCounter(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	s := t.s
	keys := s.keys.tallies(id)
	exists := get(keys, after(keys), keysOnly, func(r *pb.RangeRequest) { r.Limit = 1 })
	ans, err := s.look(ctx, id, []*pb.RequestOp{exists})
	if err != nil {
		return err
	}
	switch {
	case len(ans.kvs(0)) == 0:
		return ledger.ErrNotFound
	case seen != 0:
		return ledger.ErrFenced
	}
	retry := newRetry()
	sent := false
	for revision := ans.revision; ; {
		// The notice guards against late counts. A cluster without space takes deletions alone, and no counts.
		notice, err := s.notice(ctx, id, ledger.ChangeDelete)
		noSpace := isNoSpace(err)
		if err != nil && !noSpace {
			return s.failure(err, !sent)
		}
		err = s.settle(ctx, func(last error) *op {
			then := []*pb.RequestOp{del(keys, after(keys))}
			if noSpace = noSpace || isNoSpace(last); last != nil && !noSpace {
				if anew, err := s.notice(ctx, id, ledger.ChangeDelete); err == nil { // the lease of the one before may be gone
					notice = anew
				}
			}
			if !noSpace {
				then = append(then, notice)
			}
			return &op{
				id: id,
				cmps: []*pb.Compare{
					upTo(after(keys), created(keys, pb.Compare_GREATER, 0)), // there are some
					upTo(after(keys), modified(keys, pb.Compare_LESS, revision+1)),
				},
				then: then,
				els:  func() []*pb.RequestOp { return []*pb.RequestOp{exists} },
			}
		}, func(ans answer) error {
			switch {
			case len(ans.kvs(0)) > 0: // counted since
				revision = ans.revision
				return errAgain
			case sent:
				return nil // by an earlier copy, or by another: it is gone
			}
			return ledger.ErrNotFound
		}, &sent)
		if err != errAgain {
			return err
		}
		pause(ctx, retry)
		if ctx.Err() != nil {
			return s.failure(context.Cause(ctx), !sent)
		}
	}
}
