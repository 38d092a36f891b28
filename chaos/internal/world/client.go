package world

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// What the world certainly says of a request. Every other error is uncertain: the effect may have happened, or may yet happen.
var (
	ErrDenied    = errors.New("world: denied: this request had no effect")
	ErrPermanent = errors.New("world: denied for good: this request had no effect")
	ErrRefused   = errors.New("world: a newer fence has asked or acted: this request had no effect")
)

// A Client sends a worker's requests. It keeps connections and never sends a request twice.
// Its fields are not changed once it is in use; several goroutines may use it.
type Client struct {
	URL     string        // World.URL
	Worker  string        // the name of this process, "w03.2"
	Timeout time.Duration // of one request. Defaults to DefaultTimeout

	once sync.Once
	http *http.Client
}

// Act asks for the effect, and returns its result: recorded as JSON, it is Effect.Result.
// It returns ErrDenied, ErrPermanent, ErrRefused, or an uncertain error.
func (c *Client) Act(ctx context.Context, q Request) (result string, err error) {
	a, err := c.post(ctx, "/act", q)
	return a.Result, err
}

// Query asks whether the run with this token had an effect, and with which result (the first effect's).
// In a fence world nothing with a lower fence has an effect after the answer. It returns ErrRefused, or an uncertain error: nothing is known.
func (c *Client) Query(ctx context.Context, q Request) (happened bool, result string, err error) {
	a, err := c.post(ctx, "/query", q)
	return a.Happened, a.Result, err
}

// Close ends the connections that are not in use.
func (c *Client) Close() {
	c.start()
	c.http.CloseIdleConnections()
}

func (c *Client) start() {
	c.once.Do(func() {
		timeout := c.Timeout
		if timeout <= 0 {
			timeout = DefaultTimeout
		}
		c.http = &http.Client{
			Timeout:       timeout,
			Transport:     &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	})
}

func (c *Client) post(ctx context.Context, path string, q Request) (answer, error) {
	c.start()
	q.Worker, q.PID = c.Worker, os.Getpid()
	body, err := json.Marshal(q)
	if err != nil {
		return answer{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Content-Type", "application/json")
	// Without GetBody the transport has no way to send the request again by itself.
	r.GetBody = nil
	res, err := c.http.Do(r)
	if err != nil {
		return answer{}, fmt.Errorf("world: %s %s: %w", path[1:], q.ID, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return answer{}, fmt.Errorf("world: %s %s: %w", path[1:], q.ID, err)
	}
	switch res.StatusCode {
	case http.StatusOK:
		var a answer
		if err := json.Unmarshal(text, &a); err != nil {
			return answer{}, fmt.Errorf("world: %s %s: %w", path[1:], q.ID, err)
		}
		return a, nil
	case http.StatusConflict:
		return answer{}, ErrDenied
	case http.StatusUnprocessableEntity:
		return answer{}, ErrPermanent
	case http.StatusPreconditionFailed:
		return answer{}, ErrRefused
	}
	return answer{}, fmt.Errorf("world: %s %s: status %d: %s", path[1:], q.ID, res.StatusCode, strings.TrimSpace(string(text)))
}
