package storetest

import (
	"errors"
	"slices"
	"strings"

	"github.com/ledger-once/ledger"
)

// oddNames returns names that a store may confuse with each other or with its own syntax.
func oddNames() []string {
	names := []string{
		"a", "A", "aa", "a ", " a", "a/b", "a//b", "/", "//", "a/", "/a", "a%2Fb", "a%2fb", "%", "%%", "a%", "_", "a_", "a-b", "a.b", ".", "..", "../x",
		"a\x00b", "a\x00", "\x00", "a\nb", "a\r\nb", "\t", "\x1f", "\x7f", "a\\b", `a"b`, "a'b", "a`b", "a;b", "a:b", "a,b", "a|b", "a*b", "a?b", "[a]", "{a}", "$a", "${a}", "#a", "~a", "a&b", "a=b", "a+b", "a@b", "<a>", "--", "/*",
		"é", "e\u0301", "ﬁ", "fi", "ß", "ss", "SS", "ı", "i", "I", "İ", "σ", "ς", "\u200b", "\ufeff", "\u202e", "日本語", "😀", "\U0010ffff", "null", "NULL", "0", "00", "-1", "1e2", "true",
	}
	long := strings.Repeat("n", ledger.MaxNameBytes)
	return append(names, long, long[:ledger.MaxNameBytes-1], long[:ledger.MaxNameBytes-1]+"/", long[:ledger.MaxNameBytes-1]+"\x00",
		strings.Repeat("/", ledger.MaxNameBytes), strings.Repeat("\x00", ledger.MaxNameBytes), strings.Repeat("😀", ledger.MaxNameBytes/4))
}

func nameCases() []testCase {
	odd := func(where string, make func(name string) ledger.ID) testCase {
		return testCase{"odd ones as the " + where, func(e *env) {
			s := e.owner()
			e.oddRecords(s, make)
		}}
	}
	return []testCase{
		odd("workflow", func(name string) ledger.ID { return idIn(name, "t", "a") }),
		odd("tool", func(name string) ledger.ID { return idIn("w", name, "a") }),
		odd("workflow and tool", func(name string) ledger.ID { return idIn(name, name, "a") }),
		{"odd ones as the key", func(e *env) {
			s := e.owner()
			for _, name := range append(oddNames(), strings.Repeat("k", ledger.MaxKeyBytes)) {
				c := claimOf(id(name), 0)
				c.Next.Key = name
				e.claim(s, c)
				if got := e.get(s, c.Next.ID).Key; got != name {
					e.Fatalf("the key %q came back as %q", name, got)
				}
				if got := e.list(s, ledger.Filter{Key: name}); len(got) != 1 || got[0].ID != c.Next.ID {
					e.Fatalf("%d records are listed for the key %q, want its own", len(got), name)
				}
			}
		}},
		{"odd ones as counters", func(e *env) {
			s := e.owner()
			for i, name := range oddNames() {
				e.tally(s, ledger.Tally{ID: ledger.ID{Workflow: name, Tool: "t"}, Attempts: int64(i + 1)}, ledger.Tally{ID: ledger.ID{Workflow: "w", Tool: name}, Attempts: int64(i + 1)})
			}
			for i, name := range oddNames() {
				for _, id := range []ledger.ID{{Workflow: name, Tool: "t"}, {Workflow: "w", Tool: name}} {
					if got := e.get(s, id).Attempts; got != int64(i+1) {
						e.Fatalf("the counter %q has %d attempts; want %d", id, got, i+1)
					}
				}
			}
		}},
		{"that share a boundary are apart", func(e *env) {
			// Concatenated or joined, each of these pairs would be one.
			s := e.owner()
			for _, id := range []ledger.ID{
				idIn("ab", "c", "x"), idIn("a", "bc", "x"), idIn("a/b", "c", "x"), idIn("a", "b/c", "x"), idIn("a\x00b", "c", "x"), idIn("a", "b\x00c", "x"),
				idIn("a%2Fb", "c", "x"), idIn("a", "b%2Fc", "x"), idIn("a:b", "c", "x"), idIn("a", "b:c", "x"),
			} {
				e.absent(s, id)
				e.claimNew(s, id)
			}
		}},
		{"of workflows do not match as prefixes", func(e *env) {
			s := e.owner()
			workflows := []string{"a", "ab", "a/", "a/b", "a%", "a_", "%", "_", "a*", "A", "a\x00", "a ", "a.", "a0"}
			for _, w := range workflows {
				e.succeeded(s, idIn(w, "t", "x"))
				e.tally(s, ledger.Tally{ID: ledger.ID{Workflow: w, Tool: "t"}, Attempts: 1})
			}
			for _, w := range workflows {
				got := e.list(s, ledger.Filter{Workflow: w})
				if len(got) != 2 || got[0].ID.Workflow != w || got[1].ID.Workflow != w {
					e.Errorf("%d records are listed for the workflow %q; want its own 2", len(got), w)
				}
			}
		}},
		{"of tools do not match as prefixes", func(e *env) {
			s := e.owner()
			tools := []string{"a", "ab", "a/", "a/b", "a%", "a_", "%", "_", "A", "a\x00"}
			for _, tool := range tools {
				e.succeeded(s, idIn("w", tool, "x"))
				e.succeeded(s, idIn("w/"+tool, "x", "x"))
			}
			for _, tool := range tools {
				if got := e.list(s, ledger.Filter{Workflow: "w", Tool: tool}); len(got) != 1 || got[0].ID.Tool != tool {
					e.Errorf("%d records are listed for the tool %q of w; want its own", len(got), tool)
				}
				if got := e.list(s, ledger.Filter{Tool: tool}); len(got) != 1 || got[0].ID.Tool != tool {
					e.Errorf("%d records are listed for the tool %q; want its own", len(got), tool)
				}
			}
		}},
		{"that are invalid are refused", func(e *env) {
			s := e.owner()
			for _, name := range []string{"", "\xff", "a\xc3", "\xed\xa0\x80", strings.Repeat("n", ledger.MaxNameBytes+1)} {
				ids := []ledger.ID{idIn(name, "t", "x"), idIn("w", name, "x"), {Workflow: name, Tool: "t"}, {Workflow: "w", Tool: name}}
				if name != "" {
					ids = append(ids, ledger.ID{Workflow: "w", Tool: "t", Fingerprint: name})
				}
				for _, id := range ids {
					e.invalid(s, id)
				}
			}
			if all := e.list(s, ledger.Filter{}); len(all) != 0 {
				e.Errorf("a refused operation wrote %q", all[0].ID)
			}
		}},
	}
}

// oddRecords puts a record under each odd name and wants to find each by its name only.
func (e *env) oddRecords(s ledger.Store, make func(name string) ledger.ID) {
	e.Helper()
	var ids []ledger.ID
	for _, name := range oddNames() {
		id := make(name)
		e.absent(s, id)
		c := claimOf(id, 0)
		c.Next.Token = name
		e.finish(s, ended(e.claim(s, c), ledger.StateSucceeded))
		ids = append(ids, id)
	}
	for i, name := range oddNames() {
		if got := e.get(s, ids[i]); got.ID != ids[i] || got.Token != name {
			e.Fatalf("under %q there is %s with the token %q", ids[i], brief(got), got.Token)
		}
	}
	slices.SortFunc(ids, e.opts.Order)
	e.listed(s, ledger.Filter{}, ids)
	var paged []ledger.ID
	for f := (ledger.Filter{Limit: 7}); ; f.After = paged[len(paged)-1] {
		page := e.list(s, f)
		for _, r := range page {
			paged = append(paged, r.ID)
		}
		if len(page) < f.Limit {
			break
		}
	}
	if !slices.Equal(paged, ids) {
		e.Fatalf("in pages of 7 there are %d records, in another order or not the same as in one listing of %d", len(paged), len(ids))
	}
	for _, id := range ids {
		e.remove(s, e.get(s, id))
	}
}

func (e *env) invalid(s ledger.Store, id ledger.ID) {
	e.Helper()
	_, won, err := s.Claim(e.ctx, claimOf(id, 0))
	e.want("claim of an invalid ID", err, ledger.ErrInvalid)
	if won {
		e.Fatalf("the invalid ID %q was claimed", id)
	}
	done := ended(claimOf(id, 0).Next, ledger.StateSucceeded)
	e.want("finish of an invalid ID", s.Finish(e.ctx, done), ledger.ErrInvalid)
	valid := ledger.ID{Workflow: "w", Tool: "t"}
	e.want("tally of an invalid ID", s.Tally(e.ctx, []ledger.Tally{{ID: valid, Attempts: 1}, {ID: id, Attempts: 1}}), ledger.ErrInvalid)
	if _, err := s.Get(e.ctx, id); !errors.Is(err, ledger.ErrInvalid) && !errors.Is(err, ledger.ErrNotFound) {
		e.Fatalf("get of the invalid ID %q: got error %v; want %q or %q", id, err, ledger.ErrInvalid, ledger.ErrNotFound)
	}
	if err := s.Delete(e.ctx, id, 0); !errors.Is(err, ledger.ErrInvalid) && !errors.Is(err, ledger.ErrNotFound) {
		e.Fatalf("delete of the invalid ID %q: got error %v; want %q or %q", id, err, ledger.ErrInvalid, ledger.ErrNotFound)
	}
}
