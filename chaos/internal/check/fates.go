package check

import "github.com/ledger-once/ledger/chaos/internal/trace"

// decideGrants decides which claims were granted: those that anybody has read. Where
// all of the store's writes are known, and where all answers are definite, the others never were.
func (k *call) decideGrants(h *history) {
	for _, s := range k.sights {
		g := k.byNonce[s.Nonce]
		if g == nil {
			continue
		}
		g.fate = happened
		if g.fence == 0 {
			g.fence = s.Fence
		}
		g.by = min(g.by, max(s.at, g.from))
	}
	for _, g := range k.byNonce {
		if g.fate != happened {
			open := false
			for _, o := range g.ops {
				open = open || !o.refused() && !o.sure()
			}
			if !open || k.watched {
				g.fate = neverDid
			}
		}
		if g.fence > 0 {
			k.byFence[g.fence] = g
		}
		g.deadFrom = h.mayEnd(g.proc, g.from)
	}
	k.expiries(func(key, _ *trace.Write) {
		if g := k.byFence[key.Rev]; g != nil {
			g.expired, g.deadFrom = true, min(g.deadFrom, g.from)
		}
	})
}

// expiries calls fn for each running key that went away without a write of the
// record: as it was put, and as it went.
func (k *call) expiries(fn func(key, gone *trace.Write)) {
	var key *trace.Write
	for i, w := range k.writes {
		if w.Key != "running" {
			continue
		}
		if !w.Gone {
			key = w
			continue
		}
		with := false // another write of the same transaction
		for j := i - 1; j >= 0 && k.writes[j].Rev == w.Rev; j-- {
			with = with || k.writes[j].Key == "record"
		}
		for j := i + 1; j < len(k.writes) && k.writes[j].Rev == w.Rev; j++ {
			with = with || k.writes[j].Key == "record"
		}
		if key != nil && !with {
			fn(key, w)
		}
		key = nil
	}
}

// decideEndings decides which outcomes were written: those that were acknowledged, and
// those that anybody has read, itself or in a later record's log. Not those whose running claim was replaced or deleted.
func (k *call) decideEndings() {
	over := map[int64]int64{} // fences that were replaced or deleted while they ran, by when
	for _, g := range k.byNonce {
		if g.fate == happened && g.seen > 0 {
			over[g.seen] = g.by
		}
	}
	for _, o := range k.deletes {
		if o.sure() && k.byFence[o.seen] != nil {
			over[o.seen] = o.end
		}
	}
	written := map[int64]bool{} // revisions at which the record was removed from that version
	last := int64(0)
	for _, w := range k.writes {
		if w.Key != "record" {
			continue
		}
		if w.Gone {
			written[last] = true
		}
		last = w.Rev
	}
	for _, e := range k.endings {
		e.g = k.byFence[e.fence]
		refused := true
		for _, o := range e.ops {
			if o.sure() {
				e.fate, e.by = happened, min(e.by, o.end)
			}
			refused = refused && o.refused()
		}
		for _, s := range k.sights {
			if e.removes() || s.State == running || s.Fence != e.fence || s.State != e.next.State || s.Token != e.next.Token || s.Result != e.next.Result {
				continue
			}
			if e.fate, e.version = happened, s.Version; s.at != never {
				e.by = min(e.by, max(s.at, e.from))
			}
		}
		if e.fate == happened {
			continue
		}
		_, replaced := over[e.fence]
		switch {
		case refused, replaced, e.g != nil && e.g.fate == neverDid:
			e.fate = neverDid
		case k.watched && e.removes() && written[e.fence]:
			e.fate = happened
		case k.watched:
			e.fate = neverDid
		case !e.removes() && k.logged(e):
			e.fate = happened
		}
	}
}

// logged reports whether a later record's log tells of the ending.
func (k *call) logged(e *ending) bool {
	if e.next.Settled != "" || e.next.Log == nil {
		return false
	}
	own := e.next.Log[len(e.next.Log)-1]
	if own.Fence != e.fence {
		return false
	}
	for _, s := range k.sights {
		if s.Fence > e.fence {
			for _, l := range s.Log {
				if l.Fence == e.fence && l.Outcome == own.Outcome {
					return true
				}
			}
		}
	}
	return false
}
