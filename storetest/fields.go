package storetest

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/ledger-once/ledger"
)

func fieldCases() []testCase {
	return []testCase{
		{"all set are claimed and read back", func(e *env) {
			s := e.owner()
			e.claimedAs(s, filled(e, 1))
		}},
		{"all set are finished and read back", func(e *env) {
			s := e.owner()
			for i, state := range finished {
				e.finishedAs(s, id(string(state)), filled(e, 100*i), state)
			}
		}},
		{"each alone is claimed and finished", func(e *env) {
			// One field set, the others zero: none may ride on another's presence.
			s := e.owner()
			all := filled(e, 1)
			for _, f := range reflect.VisibleFields(reflect.TypeFor[ledger.Record]()) {
				var r ledger.Record
				reflect.ValueOf(&r).Elem().FieldByIndex(f.Index).Set(reflect.ValueOf(all).FieldByIndex(f.Index))
				r.ID, r.Nonce = id("claim "+f.Name), "n"
				e.claimedAs(s, r)
				e.finishedAs(s, id("finish "+f.Name), r, ledger.StateSucceeded)
			}
		}},
		{"each zero is claimed and finished", func(e *env) {
			s := e.owner()
			for _, f := range reflect.VisibleFields(reflect.TypeFor[ledger.Record]()) {
				r := filled(e, 1)
				reflect.ValueOf(&r).Elem().FieldByIndex(f.Index).SetZero()
				r.ID, r.Nonce = id("claim "+f.Name), "n"
				e.claimedAs(s, r)
				e.finishedAs(s, id("finish "+f.Name), r, ledger.StateSucceeded)
			}
		}},
		{"what is filled in on reading is not stored", func(e *env) {
			s := e.owner()
			c := claimOf(id("a"), 0)
			c.Next.Alive, c.Next.Attempts, c.Next.Blocked, c.Next.Version, c.Next.Fence = true, 77, 77, 77<<32, 77<<32
			r := e.claim(s, c)
			done := ended(r, ledger.StateSucceeded)
			done.Alive, done.Attempts, done.Blocked, done.Version = true, 77, 77, 77<<32
			got := e.finish(s, done)
			if r.Attempts != 1 || r.Blocked != 0 || got.Alive || got.Attempts != 1 || got.Blocked != 0 || got.Version >= 77<<32 {
				e.Errorf("claimed %+v, finished %+v; want what the store knows, not what was put in", r, got)
			}
		}},
		{"nil, empty and null are kept apart", func(e *env) {
			s := e.owner()
			for i, b := range [][]byte{nil, {}, []byte("null"), []byte(`""`), []byte("0"), []byte("{}"), []byte(" ")} {
				r := ledger.Record{ID: id(fmt.Sprint("claim ", i)), Nonce: "n", Args: b, Result: b}
				e.claimedAs(s, r)
				e.finishedAs(s, id(fmt.Sprint("finish ", i)), r, ledger.StateSucceeded)
			}
		}},
		{"an empty failure is not none", func(e *env) {
			s := e.owner()
			r := ledger.Record{Nonce: "n", Error: &ledger.Failure{}, Settled: &ledger.Settlement{}}
			e.finishedAs(s, id("a"), r, ledger.StateFailed)
		}},
		{"binary arguments and results", func(e *env) {
			s := e.owner()
			var every []byte
			for b := range 256 {
				every = append(every, byte(b))
			}
			for i, b := range [][]byte{{0}, {0xff, 0xfe}, every, bytes.Repeat(every, 64), []byte("\xed\xa0\x80"), []byte("\u2028<&>\\\"\r\n\t\x7f"), []byte(`{"base64":"AA=="}`)} {
				r := ledger.Record{ID: id(fmt.Sprint("claim ", i)), Nonce: "n", Args: b, Result: b, Sealed: true}
				e.claimedAs(s, r)
				e.finishedAs(s, id(fmt.Sprint("finish ", i)), r, ledger.StateSucceeded)
			}
		}},
		{"the greatest record fits", func(e *env) {
			s := e.owner()
			for i, b := range [][]byte{bytes.Repeat([]byte("x"), ledger.MaxRecordBytes), bytes.Repeat([]byte{0xff}, ledger.MaxRecordBytes), make([]byte, ledger.MaxRecordBytes)} {
				half := len(b) / 2
				e.claimedAs(s, ledger.Record{ID: id(fmt.Sprint("args ", i)), Nonce: "n", Args: b})
				e.finishedAs(s, id(fmt.Sprint("result ", i)), ledger.Record{Nonce: "n", Args: b[:half], Result: b[half:]}, ledger.StateSucceeded)
			}
		}},
		{"one byte more is refused", func(e *env) {
			s := e.owner()
			c := claimOf(id("a"), 0)
			c.Next.Args = bytes.Repeat([]byte("x"), ledger.MaxRecordBytes+1)
			_, won, err := s.Claim(e.ctx, c)
			e.want("claim", err, ledger.ErrInvalid)
			if won {
				e.Error("the claim was granted")
			}
			e.absent(s, c.Next.ID)
			r := e.claimNew(s, id("b"))
			done := ended(r, ledger.StateSucceeded)
			done.Args, done.Result = make([]byte, ledger.MaxRecordBytes/2), make([]byte, ledger.MaxRecordBytes/2+1)
			e.want("finish", s.Finish(e.ctx, done), ledger.ErrInvalid)
			e.stands(s, r)
			e.finish(s, ended(r, ledger.StateSucceeded))
		}},
		{"times are UTC with microseconds", func(e *env) {
			s := e.owner()
			zone := time.FixedZone("far east", 14*3600)
			for i, at := range []time.Time{
				time.Date(2026, 3, 4, 5, 6, 7, 123456789, zone), time.Unix(0, 1000), time.Now().In(zone),
				time.Date(1969, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
			} {
				c, full := claimOf(id(fmt.Sprint(i)), 0), filled(e, 1)
				full.ID, full.State, full.Nonce = c.Next.ID, c.Next.State, c.Next.Nonce
				eachTime(reflect.ValueOf(&full).Elem(), "Record", func(_ string, v reflect.Value) { v.Set(reflect.ValueOf(at)) })
				c.Next = full
				full.Fence, full.State = e.claim(s, c).Fence, ledger.StateFailed
				for _, got := range []ledger.Record{e.get(s, full.ID), e.finish(s, full)} {
					eachTime(reflect.ValueOf(&got).Elem(), "Record", func(path string, v reflect.Value) {
						g, want := v.Interface().(time.Time), at.UTC().Truncate(time.Microsecond)
						if !g.Equal(want) || g.Location() != time.UTC {
							e.Errorf("%s is %v, want %v", path, g, want)
						}
					})
				}
			}
		}},
		{"zero times stay zero", func(e *env) {
			s := e.owner()
			r := e.finishedAs(s, id("a"), ledger.Record{Nonce: "n", Log: []ledger.Attempt{{}}, Settled: &ledger.Settlement{}}, ledger.StateSucceeded)
			eachTime(reflect.ValueOf(&r).Elem(), "Record", func(path string, v reflect.Value) {
				if !v.IsZero() {
					e.Errorf("%s was zero, and came back as %v", path, v)
				}
			})
		}},
		{"the stored bytes are the store's own", func(e *env) {
			s := e.owner()
			c := claimOf(id("a"), 0)
			c.Next.Args = []byte("before")
			done := ended(e.claim(s, c), ledger.StateFailed)
			copy(c.Next.Args, "after!")
			if got := string(e.get(s, id("a")).Args); got != "before" {
				e.Fatalf("the caller changed its bytes after the claim, and the stored ones became %q", got)
			}
			done.Result, done.Log, done.Error = []byte("before"), []ledger.Attempt{{Fence: 1}}, &ledger.Failure{Message: "before"}
			e.finish(s, done)
			copy(done.Result, "after!")
			done.Log[0].Fence, done.Error.Message = 2, "after!"
			if got := e.get(s, id("a")); string(got.Result) != "before" || got.Log[0].Fence != 1 || got.Error.Message != "before" {
				e.Fatalf("the caller changed its record after the finish, and the stored one became %+v", got)
			}
		}},
	}
}

// claimedAs claims r and wants to read it back, but for what the store sets.
func (e *env) claimedAs(s ledger.Store, r ledger.Record) ledger.Record {
	e.Helper()
	r.State = ledger.StateRunning
	got := e.claim(s, ledger.Claim{Next: r})
	want := r
	want.Version, want.Fence, want.Alive, want.Attempts, want.Blocked = got.Version, got.Version, true, r.Starts, 0
	want.Owner.Session, want.Owner.Host, want.Owner.PID = got.Owner.Session, got.Owner.Host, got.Owner.PID
	e.stands(s, want)
	return got
}

// finishedAs claims id, finishes it as r, and wants to read r back.
func (e *env) finishedAs(s ledger.Store, id ledger.ID, r ledger.Record, state ledger.State) ledger.Record {
	e.Helper()
	c := claimOf(id, 0)
	r.ID, r.State, r.Nonce, r.Fence = id, state, c.Next.Nonce, e.claim(s, c).Fence
	return e.finish(s, r)
}

// filled returns a record of which every field is set, by reflection: a field
// that Record gains later is checked without anyone's remembering to.
func filled(e *env, seed int) ledger.Record {
	e.Helper()
	var r ledger.Record
	n := seed
	fill(e, reflect.ValueOf(&r).Elem(), "Record", &n)
	r.ID = id(fmt.Sprint("filled ", seed))
	return r
}

// fill sets v, and all in it, to values that are neither zero nor alike.
func fill(e *env, v reflect.Value, path string, n *int) {
	e.Helper()
	*n++
	if v.Type() == reflectTime {
		v.Set(reflect.ValueOf(time.UnixMicro(1_700_000_000_000_000 + int64(*n))))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("%s %d ä\x00\n", path, *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(math.MaxInt64 - int64(*n))
		if strings.HasSuffix(path, "PID") || v.Type() == reflect.TypeFor[int]() {
			v.SetInt(math.MaxInt32 - int64(*n)) // as wide as int is everywhere
		}
	case reflect.Uint8:
		v.SetUint(uint64(1 + *n%2)) // an enumeration, or a byte
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), ledger.MaxLog, ledger.MaxLog))
		for i := range v.Len() {
			fill(e, v.Index(i), fmt.Sprintf("%s[%d]", path, i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(e, v.Elem(), path, n)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(e, v.Field(i), path+"."+v.Type().Field(i).Name, n)
		}
	default:
		e.Fatalf("the suite does not know how to fill %s, a %s: teach fill", path, v.Type())
	}
}

// eachTime visits the times in v, by reflection as fill does.
func eachTime(v reflect.Value, path string, visit func(path string, v reflect.Value)) {
	switch {
	case v.Type() == reflectTime:
		visit(path, v)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			eachTime(v.Field(i), path+"."+v.Type().Field(i).Name, visit)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			eachTime(v.Index(i), path, visit)
		}
	case v.Kind() == reflect.Pointer && !v.IsNil():
		eachTime(v.Elem(), path, visit)
	}
}
