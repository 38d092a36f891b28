package dashboard

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// heartbeat is how often a stream without news says that it is there.
const heartbeat = 15 * time.Second

// rate answers with the points of the chart.
func (d *Dashboard) rate(w http.ResponseWriter, r *http.Request) {
	minutes := 60
	if s := r.URL.Query().Get("minutes"); s != "" {
		var err error
		if minutes, err = strconv.Atoi(s); err != nil || minutes < 1 || minutes > 360 {
			refuse(w, http.StatusBadRequest, "minutes goes from 1 to 360")
			return
		}
	}
	since := time.Now().Add(-time.Duration(minutes) * time.Minute)
	points := []point{}
	d.feed.mu.Lock()
	for _, p := range d.feed.points {
		if p.At.After(since) {
			points = append(points, p)
		}
	}
	d.feed.mu.Unlock()
	answer(w, http.StatusOK, map[string]any{"points": points, "step_ns": rateStep})
}

// events streams what happens, until the page goes away.
func (d *Dashboard) events(w http.ResponseWriter, r *http.Request) {
	select {
	case d.streams <- struct{}{}:
		defer func() { <-d.streams }()
	default:
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, "too many pages follow this dashboard; close some")
		return
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{})
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no")
	var b bytes.Buffer
	send := func() bool {
		_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // a page that takes nothing is let go
		if _, err := w.Write(b.Bytes()); err != nil {
			return false
		}
		b.Reset()
		if rc.Flush() != nil {
			return false
		}
		_ = rc.SetWriteDeadline(time.Time{}) // over HTTP/2 one that passes ends the stream, though nothing is being written
		return true
	}
	write := func(m message) {
		b.WriteString("event: " + m.name + "\ndata: ")
		b.Write(m.data) // JSON on one line
		b.WriteString("\n\n")
	}
	s := d.feed.subscribe()
	defer d.feed.unsubscribe(s)
	b.WriteString("retry: 1000\n\n")
	if !send() { // before the totals, which may take a while
		return
	}
	if first, err := json.Marshal(d.feed.overview(r.Context())); err == nil {
		write(message{"overview", first})
	}
	if !send() {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case m := <-s.events:
			write(m)
		case <-beat.C:
			b.WriteString(": still here\n\n")
		case <-r.Context().Done():
			return
		}
		if !send() {
			return
		}
	}
}
