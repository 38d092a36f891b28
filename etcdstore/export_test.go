package etcdstore

// FixWindow fixes how many requests may be in flight.
func FixWindow(s *Store, n int) { s.writes.pace.fixed = n }

// AfterTests is called once all tests and examples have run.
var AfterTests = func() {}
