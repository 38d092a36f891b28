package leakcheck

import (
	"strings"
	"testing"
	"time"
)

type tests func() int

func (t tests) Run() int { return t() }

func straggler(end <-chan struct{}) { <-end }

func TestFind(t *testing.T) {
	end := make(chan struct{})
	go straggler(end)
	if err := Find(0); err == nil || !strings.Contains(err.Error(), "straggler") {
		t.Errorf("got %v, want an error that shows the goroutine", err)
	}
	time.AfterFunc(600*time.Millisecond, func() { close(end) }) // later than goleak alone looks
	if err := Find(time.Minute); err != nil {
		t.Error(err)
	}
}

func TestRun(t *testing.T) {
	for _, code := range []int{0, 3} {
		if got := Run(tests(func() int { return code })); got != code {
			t.Errorf("got %d, want the tests' %d", got, code)
		}
	}
}
