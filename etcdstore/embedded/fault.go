package embedded

import (
	"fmt"
	"runtime"
	"strings"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// A fault keeps the first thing that etcd can not go on after: a disk that is
// full, a log that can not be read. Etcd logs such a thing and ends the
// process; here only the goroutine ends, with whatever locks it holds, and the
// server is given up.
type fault struct {
	once sync.Once
	c    chan struct{} // closed once err is set
	err  error
}

func newFault() *fault { return &fault{c: make(chan struct{})} }

// logger returns a logger that writes nothing, and tells f of what is fatal.
func (f *fault) logger() *zap.Logger {
	return zap.New(zapcore.NewNopCore(), zap.WithFatalHook(f), zap.WithPanicHook(f))
}

// OnWrite implements zapcore.CheckWriteHook.
func (f *fault) OnWrite(ce *zapcore.CheckedEntry, fields []zapcore.Field) {
	f.set(describe(ce.Message, fields))
	runtime.Goexit()
}

func (f *fault) set(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.c)
	})
}

// describe makes an error of a log line: its message, the error in it if there
// is one, and its strings.
func describe(message string, fields []zapcore.Field) error {
	var cause error
	var more []string
	for _, field := range fields {
		switch field.Type {
		case zapcore.ErrorType:
			if err, ok := field.Interface.(error); ok {
				cause = err
			}
		case zapcore.StringType:
			more = append(more, field.Key+" "+field.String)
		}
	}
	if len(more) > 0 {
		message += " (" + strings.Join(more, ", ") + ")"
	}
	if cause == nil {
		return fmt.Errorf("etcd: %s", message)
	}
	return fmt.Errorf("etcd: %s: %w", message, cause)
}
