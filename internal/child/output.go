package child

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"unicode/utf8"
)

// What is kept of a program's output, both streams together, in bytes of its JSON form: its first and its last part.
const (
	keepHead = 192 << 10
	keepTail = 64 << 10
	// perChunk is what a chunk costs besides its text.
	perChunk = 32
	// maxChunk bounds a chunk, so that the last part can go chunk by chunk.
	maxChunk = 4 << 10
)

// An Output is what a program left behind. Its JSON form is the result that a ledger records.
type Output struct {
	Exit   int     `json:"exit"`             // the exit code, as a shell would give it
	Output []Chunk `json:"output,omitempty"` // of both streams, as they were read
	Cut    int64   `json:"cut,omitempty"`    // bytes that are not kept, before the chunk CutAt
	CutAt  int     `json:"cut_at,omitempty"` // an index of Output
}

// A Chunk is a piece of one stream: Text, or Bytes where it is not UTF-8.
type Chunk struct {
	Stream int    `json:"stream"` // 1 standard output, 2 standard error
	Text   string `json:"text,omitempty"`
	Bytes  []byte `json:"bytes,omitempty"`
}

// Replay writes the streams to out and errs in the order in which they were read, and says on errs where some is missing.
func (o *Output) Replay(out, errs io.Writer) error {
	for i, c := range o.Output {
		if o.Cut > 0 && i == o.CutAt {
			if err := o.missing(errs); err != nil {
				return err
			}
		}
		w := out
		if c.Stream == 2 {
			w = errs
		}
		text := c.Bytes
		if text == nil {
			text = []byte(c.Text)
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	if o.Cut > 0 && o.CutAt >= len(o.Output) {
		return o.missing(errs)
	}
	return nil
}

func (o *Output) missing(errs io.Writer) error {
	_, err := fmt.Fprintf(errs, "ledger: %d bytes of output are not kept here\n", o.Cut)
	return err
}

// A keeper keeps the first and the last part of what is written. It is safe for concurrent use.
type keeper struct {
	mu         sync.Mutex
	head, tail []piece
	headCost   int
	tailCost   int
	full       bool // the head is
	cut        int64
}

type piece struct {
	stream int
	text   []byte
}

// cost is what p takes in JSON, at most.
func (p *piece) cost() int { return perChunk + len(p.encoded()) }

// encoded is the shorter of both forms.
func (p *piece) encoded() []byte {
	c := p.chunk()
	text, err := json.Marshal(c)
	if err != nil {
		return nil // unreachable: a chunk has a JSON form
	}
	return text
}

// chunk is p as text, or as bytes where it is not UTF-8 or where text would have more escapes than letters.
func (p *piece) chunk() Chunk {
	if utf8.Valid(p.text) {
		if text, err := json.Marshal(string(p.text)); err == nil && len(text) <= 2*len(p.text)+2 {
			return Chunk{Stream: p.stream, Text: string(p.text)}
		}
	}
	return Chunk{Stream: p.stream, Bytes: p.text}
}

func (k *keeper) write(stream int, text []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(text) > 0 {
		n := len(text)
		if n > maxChunk {
			n = maxChunk
			for back := n; back > n-utf8.UTFMax; back-- { // not inside a letter
				if utf8.RuneStart(text[back]) {
					n = back
					break
				}
			}
		}
		k.add(stream, text[:n])
		text = text[n:]
	}
}

func (k *keeper) add(stream int, text []byte) {
	if !k.full {
		if k.headCost = put(&k.head, k.headCost, stream, text); k.headCost <= keepHead {
			return
		}
		// What was put last goes over to the tail.
		k.full = true
		last := k.head[len(k.head)-1]
		k.head = k.head[:len(k.head)-1]
		k.tail, k.tailCost = []piece{last}, last.cost()
		return
	}
	k.tailCost = put(&k.tail, k.tailCost, stream, text)
	for k.tailCost > keepTail && len(k.tail) > 1 {
		k.tailCost -= k.tail[0].cost()
		k.cut += int64(len(k.tail[0].text))
		k.tail = k.tail[1:]
	}
}

// put appends text, to the last piece where that is of the same stream and small, and returns the new cost.
func put(to *[]piece, cost, stream int, text []byte) int {
	if n := len(*to); n > 0 {
		if last := &(*to)[n-1]; last.stream == stream && len(last.text)+len(text) <= maxChunk {
			before := last.cost()
			last.text = append(last.text, text...)
			return cost - before + last.cost()
		}
	}
	p := piece{stream, append([]byte(nil), text...)}
	*to = append(*to, p)
	return cost + p.cost()
}

// output returns what is kept, with the exit code.
func (k *keeper) output(exit int) Output {
	k.mu.Lock()
	defer k.mu.Unlock()
	o := Output{Exit: exit, Cut: k.cut}
	for _, p := range k.head {
		o.Output = append(o.Output, p.chunk())
	}
	if k.cut > 0 {
		o.CutAt = len(o.Output)
	}
	for _, p := range k.tail {
		o.Output = append(o.Output, p.chunk())
	}
	return o
}
