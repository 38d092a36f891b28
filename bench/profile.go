package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
)

// startProfile profiles until stop is called; it does nothing without --profile.
func (r *runner) startProfile(name string) (stop func() error, err error) {
	if r.o.profile == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(r.o.profile, 0o755); err != nil {
		return nil, err
	}
	path := func(kind string) string {
		return filepath.Join(r.o.profile, strings.ReplaceAll(name, "/", "-")+"."+kind+".pprof")
	}
	cpu, err := os.Create(path("cpu"))
	if err != nil {
		return nil, err
	}
	runtime.SetMutexProfileFraction(10)
	runtime.SetBlockProfileRate(10_000) // ns
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		errs := []error{cpu.Close()}
		for _, kind := range []string{"mutex", "block", "allocs"} { // since the process began: compare with the cell before
			f, err := os.Create(path(kind))
			if err != nil {
				errs = append(errs, err)
				continue
			}
			errs = append(errs, pprof.Lookup(kind).WriteTo(f, 0), f.Close())
		}
		return errors.Join(errs...)
	}, nil
}
