package sqlitestore

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

// BenchmarkCall is a claim and a finish of a new call.
func BenchmarkCall(b *testing.B) {
	for _, callers := range []int{1, 128} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			p := plain{openTest(b, filepath.Join(b.TempDir(), "ledger.db"))}
			b.ReportAllocs()
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() {
					for range max(b.N/callers, 1) {
						if err := p.call(b.Context(), randomID()); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}
