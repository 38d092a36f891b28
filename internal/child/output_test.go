package child

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"testing"
)

// What is written comes back in order, and what is kept stays within its bounds.
func TestKeeper(t *testing.T) {
	for name, tt := range map[string]struct {
		writes int
		text   func(i int) (stream int, text []byte)
	}{
		"nothing":         {0, nil},
		"lines":           {1000, func(i int) (int, []byte) { return 1, []byte("line\n") }},
		"one byte a turn": {100_000, func(i int) (int, []byte) { return 1 + i%2, []byte{'x'} }},
		"large":           {50, func(i int) (int, []byte) { return 1, bytes.Repeat([]byte("äöü<>"), 10_000) }},
		"binary": {200, func(i int) (int, []byte) {
			b := make([]byte, 5000)
			for j := range b {
				b[j] = byte(rand.Uint32())
			}
			return 2, b
		}},
		"control characters": {100, func(i int) (int, []byte) { return 1, bytes.Repeat([]byte{0}, 9000) }},
	} {
		t.Run(name, func(t *testing.T) {
			var k keeper
			var all [3]bytes.Buffer
			for i := range tt.writes {
				stream, text := tt.text(i)
				all[stream].Write(text)
				k.write(stream, text)
			}
			o := k.output(7)
			stored, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			if len(stored) > keepHead+keepTail+maxChunk*2 {
				t.Errorf("%d bytes are kept of %d", len(stored), all[1].Len()+all[2].Len())
			}
			var back Output
			if err := json.Unmarshal(stored, &back); err != nil {
				t.Fatal(err)
			}
			var head, tail [3]bytes.Buffer
			kept := 0
			for i, c := range back.Output {
				to := &head
				if back.Cut > 0 && i >= back.CutAt {
					to = &tail
				}
				text := c.Bytes
				if text == nil {
					text = []byte(c.Text)
				}
				to[c.Stream].Write(text)
				kept += len(text)
			}
			if int64(kept)+back.Cut != int64(all[1].Len()+all[2].Len()) {
				t.Errorf("%d bytes kept and %d cut, want %d in all", kept, back.Cut, all[1].Len()+all[2].Len())
			}
			for s := 1; s <= 2; s++ {
				if !bytes.HasPrefix(all[s].Bytes(), head[s].Bytes()) || !bytes.HasSuffix(all[s].Bytes(), tail[s].Bytes()) {
					t.Errorf("stream %d comes back changed", s)
				}
			}
			var out, errs bytes.Buffer
			if err := back.Replay(&out, &errs); err != nil {
				t.Fatal(err)
			}
			if missing := bytes.Contains(errs.Bytes(), []byte("are not kept here")); missing != (back.Cut > 0) {
				t.Errorf("it is told that output is missing: %t, want %t", missing, back.Cut > 0)
			}
		})
	}
}
