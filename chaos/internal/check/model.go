package check

import (
	"fmt"
	"hash/maphash"

	"github.com/anishathalye/porcupine"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// A standing is the state of the model of one record: a register that is
// compared and swapped. The zero value is no record.
type standing struct {
	version int64 // a negative one stands for one that nobody read: of an outcome, -fence
	fence   int64 // of its claim
	running bool
	nonce   string
	what    string // its content
}

// content is what a reader of the record must find.
func content(s *trace.Snapshot) string {
	return s.State + "\x00" + s.Token + "\x00" + s.Result
}

// standingOf is what a reader saw.
func standingOf(s *trace.Snapshot) standing {
	if s == nil || s.State == "" {
		return standing{}
	}
	return standing{s.Version, s.Fence, s.State == running, s.Nonce, content(s)}
}

// A step is an operation on the model. Its answer is part of it: porcupine's outputs are not used.
type step struct {
	kind  trace.Kind
	maybe bool // it may happen, or not

	seen  int64    // of a claim or a deletion
	guess bool     // nobody is known to have read that version
	steal bool     // of a claim
	by    int64    // the latest time at which it happened
	reads bool     // it wrote nothing: saw is what stood
	saw   standing // of a reader, and of a claim that did not win
	write standing // of a claim or a finish
	fence int64    // of a finish
	says  string   // of a finish or deletion that was refused: the outcome

	died func(nonce string) int64 // since when the owner of a claim may be dead
	text string
}

// next returns the states in which the record may be after the step.
func (s *step) next(at standing) []any {
	after, ok := s.apply(at)
	switch {
	case s.maybe && ok && after != at:
		return []any{at, after}
	case s.maybe:
		return []any{at}
	case ok:
		return []any{after}
	}
	return nil
}

func (s *step) apply(at standing) (standing, bool) {
	switch {
	case s.kind == trace.Get:
		return at, at == s.saw
	case s.kind == trace.Claim && s.reads:
		return at, at == s.saw && s.mayLose(at)
	case s.kind == trace.Claim:
		return s.write, s.mayWin(at)
	case s.kind == trace.Finish && s.reads:
		return at, !(at.running && at.fence == s.fence)
	case s.kind == trace.Finish:
		if at.running && at.fence == s.fence {
			return s.write, true
		}
		return at, at == standing{} && s.write == standing{} // removed already: what it asks for stands
	case s.says == trace.NotFound:
		return at, at == standing{}
	case s.says == trace.Running:
		return at, at.running
	case s.says == trace.Fenced:
		return at, at != standing{} && at.version != s.seen
	}
	// A deletion that was acknowledged. A store that sends it again may find that it, or
	// another one, has been there already.
	if at.version == s.seen || at.version < 0 && s.guess && s.seen > -at.version {
		return standing{}, !at.running || s.died(at.nonce) <= s.by
	}
	return at, at.version == 0 || at.version > s.seen || at.version < 0
}

// mayWin reports whether the claim may be granted: the version that it has
// seen still stands, and nobody who lives runs it.
func (s *step) mayWin(at standing) bool {
	switch {
	case at.version < 0 && s.guess:
		if s.seen <= -at.version && !at.running {
			return false
		}
	case at.version != s.seen:
		return false
	}
	return !at.running || s.steal || s.died(at.nonce) <= s.by
}

// mayLose reports whether the claim may be refused.
func (s *step) mayLose(at standing) bool {
	return at.version != s.seen || at.running && (!s.steal || at.nonce == s.write.nonce)
}

var seed = maphash.MakeSeed()

// storeModel is the model of one record.
func storeModel() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init:              func() []any { return []any{standing{}} },
		Step:              func(state, input, _ any) []any { return input.(*step).next(state.(standing)) },
		Hash:              func(state any) uint64 { return maphash.Comparable(seed, state.(standing)) },
		DescribeOperation: func(input, _ any) string { return input.(*step).text },
		DescribeState: func(state any) string {
			s := state.(standing)
			if s.version == 0 {
				return "none"
			}
			how := "finished"
			if s.running {
				how = "running"
			}
			return fmt.Sprintf("%s, version %d, fence %d", how, s.version, s.fence)
		},
	}
	return m.ToModel()
}
