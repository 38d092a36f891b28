package storetest

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"time"

	"github.com/ledger-once/ledger"
)

// writeMutants break promises of claims, finishes, deletes and tallies.
func writeMutants() []mutant {
	type ctx = context.Context
	return []mutant{
		{name: "an unconditional claim", want: "claim/over a running one is refused; claim/of 32 racers one wins",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				for {
					r, won, err := b.Memory.Claim(ctx, c)
					if won || err != nil {
						return r, won, err
					}
					c.Seen, c.Steal = r.Version, true
				}
			}},
		{name: "a claim of whatever is not alive", want: "claim/over a finished one, not seen, is refused; claim/with a wrong version is refused; owner/that is dead is not taken over unseen; claim/of 32 racers over a finished one one wins",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				r, won, err := b.Memory.Claim(ctx, c)
				if err == nil && !won && !r.Alive {
					c.Seen = r.Version
					return b.Memory.Claim(ctx, c)
				}
				if r.Alive && !won && b.shared.first() { // and the first loser is told that it won
					return r, true, err
				}
				return r, won, err
			}},
		{name: "a claim that checks, then acts", want: "claim/of 32 racers one wins; claim/of 32 racers over a finished one one wins; owner/that is dead is taken over by one of 32; owner/one of 32 steals",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				r, err := b.Memory.Get(ctx, c.Next.ID)
				if err == nil && (r.Version != c.Seen || r.Alive && !c.Steal) {
					return r, false, nil
				}
				for range 100 {
					runtime.Gosched()
				}
				for {
					r, won, err := b.Memory.Claim(ctx, c)
					if won || err != nil {
						return r, won, err
					}
					c.Seen, c.Steal = r.Version, true
				}
			}},
		{name: "every owner taken for dead", want: "claim/over a running one is refused; owner/that lives loses its claim to a steal; owner/that ends leaves the claims of others",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				c.Steal = true
				return b.Memory.Claim(ctx, c)
			}},
		{name: "Alive always true", want: "owner/that ends leaves its claim in doubt; owner/that is dead is taken over; list/by state, as it is shown",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				if r, err := b.Memory.Get(ctx, c.Next.ID); err == nil && r.State == ledger.StateRunning && !c.Steal {
					return r, false, nil
				}
				return b.Memory.Claim(ctx, c)
			}, out: func(r *ledger.Record) { r.Alive = r.State == ledger.StateRunning }},
		{name: "no steal", want: "owner/that lives loses its claim to a steal; owner/steals its own claim for the next try; owner/one of 32 steals",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				c.Steal = false
				return b.Memory.Claim(ctx, c)
			}},
		{name: "a steal of what it has not seen", want: "owner/steals only what it has seen; owner/one of 32 steals; owner/that is dead is not taken over unseen",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				r, won, err := b.Memory.Claim(ctx, c)
				if c.Steal && !won && err == nil {
					c.Seen = r.Version
					return b.Memory.Claim(ctx, c)
				}
				return r, won, err
			}},
		{name: "a claim of nothing, whatever was seen", want: "claim/of nothing, with a version, is refused; delete/and a new claim",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				r, won, err := b.Memory.Claim(ctx, c)
				if !won && err == nil && r.Version == 0 {
					c.Seen = 0
					return b.Memory.Claim(ctx, c)
				}
				return r, won, err
			}},
		{name: "a claim sent again that loses", want: "claim/sent again while running wins and writes nothing; claim/over a finished one, sent again, wins too; context/cancelled during a claim",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				if r, err := b.Memory.Get(ctx, c.Next.ID); err == nil && r.Nonce == c.Next.Nonce {
					return r, false, nil
				}
				return b.Memory.Claim(ctx, c)
			}},
		{name: "a claim sent again that writes again", want: "claim/sent again while running wins and writes nothing",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				r, err := b.Memory.Get(ctx, c.Next.ID)
				if err != nil || r.Nonce != c.Next.Nonce || !r.Alive {
					return b.Memory.Claim(ctx, c)
				}
				c.Seen, c.Steal, c.Next.Nonce = r.Version, true, "another"
				if r, _, err = b.Memory.Claim(ctx, c); err != nil {
					return r, false, err
				}
				r.Nonce = "n"
				return r, true, nil
			}},
		{name: "a claim sent again that wins over its finish", want: "claim/sent again after its finish is refused",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				r, won, err := b.Memory.Claim(ctx, c)
				return r, won || r.Nonce == c.Next.Nonce && err == nil, err
			}},
		{name: "a refused claim that is told nothing", want: "claim/over a running one is refused; claim/of 32 racers one wins",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				r, won, err := b.Memory.Claim(ctx, c)
				if !won {
					r = ledger.Record{}
				}
				return r, won, err
			}},
		{name: "a refused claim without tallies", want: "tally/adds up",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				r, won, err := b.Memory.Claim(ctx, c)
				r.Attempts, r.Blocked = r.Starts, 0
				return r, won, err
			}},
		{name: "claims of anything", want: "claim/that can not be one is invalid",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				c.Next.State = ledger.StateRunning
				return b.Memory.Claim(ctx, c)
			}},
		{name: "a finish without a fence", want: "finish/with a wrong fence is fenced; finish/after a takeover is fenced; finish/after the next claim is fenced; finish/after a delete and a claim is fenced; owner/that lives loses its claim to a steal; model/random operations of three owners agree with the oracle",
			finish: func(b *broken, ctx ctx, done ledger.Record) error {
				if r, err := b.Memory.Get(ctx, done.ID); err == nil {
					done.Fence, done.Nonce = r.Fence, r.Nonce
				}
				return b.Memory.Finish(ctx, done)
			}},
		{name: "a finish without a nonce", want: "finish/with a wrong nonce is fenced",
			finish: func(b *broken, ctx ctx, done ledger.Record) error {
				if r, err := b.Memory.Get(ctx, done.ID); err == nil && r.Fence == done.Fence {
					done.Nonce = r.Nonce
				}
				return b.Memory.Finish(ctx, done)
			}},
		{name: "a finish fenced by the version", want: "finish/does not look at the version",
			finish: func(b *broken, ctx ctx, done ledger.Record) error {
				if r, err := b.Memory.Get(ctx, done.ID); err == nil && r.State == ledger.StateRunning && r.Version != done.Version {
					return ledger.ErrFenced
				}
				return b.Memory.Finish(ctx, done)
			}},
		{name: "no late finish", want: "finish/of a dead owner is welcome while its fence stands; list/does not write what it shows",
			finish: func(b *broken, ctx ctx, done ledger.Record) error {
				if r, err := b.Memory.Get(ctx, done.ID); err == nil && r.State == ledger.StateRunning && !r.Alive {
					return ledger.ErrFenced
				}
				return b.Memory.Finish(ctx, done)
			}},
		{name: "a finish that comes once only", want: "finish/twice is one; finish/with tallies in between is still the same; context/cancelled during a finish",
			finish: func(b *broken, ctx ctx, done ledger.Record) error {
				if r, err := b.Memory.Get(ctx, done.ID); err == nil && r.State != ledger.StateRunning {
					return ledger.ErrFenced
				}
				err := b.Memory.Finish(ctx, done)
				time.Sleep(50 * time.Microsecond)
				return errors.Join(err, ctx.Err())
			}},
		{name: "a second finish that is ignored", want: "finish/twice with other content is fenced; finish/of 32 different ones one counts",
			finish: func(b *broken, ctx ctx, done ledger.Record) error {
				if r, err := b.Memory.Get(ctx, done.ID); err == nil && r.Fence == done.Fence && r.Nonce == done.Nonce && r.State != ledger.StateRunning {
					return nil
				}
				return b.Memory.Finish(ctx, done)
			}},
		{name: "a finish that sets the owner", want: "finish/writes the owner as given; finish/that gives back a takeover leaves it in doubt",
			finish: func(b *broken, ctx ctx, done ledger.Record) error {
				if r, err := b.Memory.Get(ctx, done.ID); err == nil {
					done.Owner = r.Owner
				}
				return b.Memory.Finish(ctx, done)
			}},
		{name: "a finish as running", want: "finish/as running is invalid",
			finish: func(b *broken, ctx ctx, done ledger.Record) error {
				if done.State == ledger.StateRunning {
					return nil
				}
				return b.Memory.Finish(ctx, done)
			}},
		{name: "a removal that leaves a failure", want: "finish/that removes leaves nothing; finish/that removes, sent again",
			finish: func(b *broken, ctx ctx, done ledger.Record) error {
				if done.State == ledger.StateNone {
					done.State = ledger.StateFailed
				}
				return b.Memory.Finish(ctx, done)
			}},
		{name: "a deletion of what runs", want: "delete/of a running one is refused; model/random operations of three owners agree with the oracle",
			delete: func(b *broken, ctx ctx, id ledger.ID, seen ledger.Version) error {
				err := b.Memory.Delete(ctx, id, seen)
				if r, _ := b.Memory.Get(ctx, id); errors.Is(err, ledger.ErrRunning) && r.Version == seen {
					r.State = ledger.StateNone
					return b.Memory.Finish(ctx, r)
				}
				return err
			}},
		{name: "no deletion of what died", want: "delete/of a running one whose owner is dead",
			delete: func(b *broken, ctx ctx, id ledger.ID, seen ledger.Version) error {
				if r, err := b.Memory.Get(ctx, id); err == nil && r.State == ledger.StateRunning {
					return ledger.ErrRunning
				}
				return b.Memory.Delete(ctx, id, seen)
			}},
		{name: "a deletion of any version", want: "delete/of another version is fenced; delete/of a counter; version/of a removed record does not let a stale claim pass",
			delete: func(b *broken, ctx ctx, id ledger.ID, _ ledger.Version) error {
				r, _ := b.Memory.Get(ctx, id)
				return b.Memory.Delete(ctx, id, r.Version)
			}},
		{name: "a deletion of nothing that succeeds", want: "delete/of nothing is not found; delete/of 32 one counts",
			delete: func(b *broken, ctx ctx, id ledger.ID, seen ledger.Version) error {
				if err := b.Memory.Delete(ctx, id, seen); !errors.Is(err, ledger.ErrNotFound) {
					return err
				}
				return nil
			}},
		{name: "a lost tally", want: "tally/is exact under concurrency; tally/is exact while the record changes",
			tally: func(b *broken, ctx ctx, counts []ledger.Tally) error {
				if b.shared.count()%64 == 63 {
					return nil
				}
				return b.Memory.Tally(ctx, counts)
			}},
		{name: "a tally of nothing that is kept", want: "tally/of nothing is dropped; tally/goes with the record",
			tally: func(b *broken, ctx ctx, counts []ledger.Tally) error {
				for _, c := range counts {
					if _, err := b.Memory.Get(ctx, c.ID); errors.Is(err, ledger.ErrNotFound) && !c.ID.IsCounter() {
						b.shared.keep(c)
					}
				}
				return b.Memory.Tally(ctx, counts)
			}, claim: claimWithTallies},
		{name: "tallies that outlive their record", want: "tally/goes with the record",
			delete: func(b *broken, ctx ctx, id ledger.ID, seen ledger.Version) error {
				r, _ := b.Memory.Get(ctx, id)
				err := b.Memory.Delete(ctx, id, seen)
				if err == nil {
					b.shared.keep(ledger.Tally{ID: id, Attempts: r.Attempts - r.Starts, Blocked: r.Blocked})
				}
				return err
			}, claim: claimWithTallies},
		{name: "removals that leave tallies", want: "finish/that removes leaves nothing",
			finish: func(b *broken, ctx ctx, done ledger.Record) error {
				r, _ := b.Memory.Get(ctx, done.ID)
				err := b.Memory.Finish(ctx, done)
				if err == nil && done.State == ledger.StateNone {
					b.shared.keep(ledger.Tally{ID: done.ID, Attempts: r.Attempts - r.Starts, Blocked: r.Blocked})
				}
				return err
			}, claim: claimWithTallies},
		{name: "a tally that is a write", want: "tally/touches neither state nor version",
			tally: func(b *broken, ctx ctx, counts []ledger.Tally) error {
				for _, c := range counts {
					if r, err := b.Memory.Get(ctx, c.ID); err == nil && r.State != ledger.StateRunning && !c.ID.IsCounter() {
						again, _, _ := b.Memory.Claim(ctx, ledger.Claim{Seen: r.Version, Next: claimOf(r.ID, 0).Next})
						r.Fence, r.Nonce = again.Fence, again.Nonce
						_ = b.Memory.Finish(ctx, r)
					}
				}
				return b.Memory.Tally(ctx, counts)
			}},
		{name: "tallies without counters", want: "tally/creates counters; names/odd ones as counters",
			tally: func(b *broken, ctx ctx, counts []ledger.Tally) error {
				for _, c := range counts {
					if _, err := b.Memory.Get(ctx, c.ID); err == nil {
						if err := b.Memory.Tally(ctx, []ledger.Tally{c}); err != nil {
							return err
						}
					}
				}
				return nil
			}},
		{name: "nil taken for empty", want: "fields/nil, empty and null are kept apart",
			in: func(r *ledger.Record) { r.Result = append([]byte{}, r.Result...) }},
		{name: "empty taken for nil", want: "fields/nil, empty and null are kept apart",
			in: func(r *ledger.Record) { r.Args = append([]byte(nil), r.Args...) }},
		{name: "bytes taken for text", want: "fields/binary arguments and results",
			in: func(r *ledger.Record) { r.Result = bytes.ToValidUTF8(r.Result, []byte("\ufffd")) }},
		{name: "a forgotten field", want: "fields/all set are finished and read back; fields/each alone is claimed and finished",
			in: func(r *ledger.Record) { r.Settled = nil }},
		{name: "a field that rides on another", want: "fields/each alone is claimed and finished",
			in: func(r *ledger.Record) {
				if r.Result == nil {
					r.ResultOmitted = false
				}
			}},
		{name: "what is read, stored", want: "fields/what is filled in on reading is not stored",
			in: func(r *ledger.Record) { r.Starts += r.Attempts }},
		{name: "times in seconds", want: "fields/times are UTC with microseconds",
			in: func(r *ledger.Record) { r.Started = r.Started.Truncate(time.Second) }},
		{name: "local times", want: "fields/times are UTC with microseconds",
			out: func(r *ledger.Record) { r.Finished = r.Finished.In(time.FixedZone("here", 3600)) }},
		{name: "a smaller bound", want: "fields/the greatest record fits",
			claim: func(b *broken, ctx ctx, c ledger.Claim) (ledger.Record, bool, error) {
				if len(c.Next.Args) > 64<<10 {
					return ledger.Record{}, false, ledger.ErrInvalid
				}
				return b.Memory.Claim(ctx, c)
			}},
		{name: "cut arguments", want: "fields/one byte more is refused",
			in: func(r *ledger.Record) { r.Args = r.Args[:min(len(r.Args), ledger.MaxRecordBytes)] }},
		{name: "names in lower case", want: "names/odd ones as the workflow; names/of workflows do not match as prefixes",
			id: func(id *ledger.ID) { id.Workflow = strings.ToLower(id.Workflow) }},
		{name: "names that end at a NUL", want: "names/odd ones as the tool",
			id: func(id *ledger.ID) { id.Tool, _, _ = strings.Cut(id.Tool+"\x00", "\x00") }},
		{name: "joined names", want: "names/that share a boundary are apart",
			id: func(id *ledger.ID) { id.Workflow, id.Tool = "w", id.Workflow+id.Tool }},
		{name: "keys without spaces around", want: "names/odd ones as the key",
			in: func(r *ledger.Record) { r.Key = strings.TrimSpace(r.Key) }},
		{name: "repaired names", want: "names/that are invalid are refused",
			id: func(id *ledger.ID) { id.Workflow = strings.ToValidUTF8(id.Workflow, "?") }},
	}
}

// claimWithTallies gives a new record the tallies that were kept.
func claimWithTallies(b *broken, ctx context.Context, c ledger.Claim) (ledger.Record, bool, error) {
	r, won, err := b.Memory.Claim(ctx, c)
	if won && c.Seen == 0 {
		b.shared.mu.Lock()
		kept := b.shared.tally[r.ID]
		delete(b.shared.tally, r.ID)
		b.shared.mu.Unlock()
		kept.ID = r.ID
		err = b.Memory.Tally(ctx, []ledger.Tally{kept})
	}
	return r, won, err
}

func (s *shared) keep(t ledger.Tally) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.tally[t.ID]
	s.tally[t.ID] = ledger.Tally{ID: t.ID, Attempts: kept.Attempts + t.Attempts, Blocked: kept.Blocked + t.Blocked}
}

func (s *shared) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return s.n
}

func (s *shared) first() bool { return s.count() == 1 }
