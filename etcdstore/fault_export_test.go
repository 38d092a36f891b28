package etcdstore

// LoseSessions ends the sessions that live as if they had not been renewed in
// time. As then, their leases and keys still stand in the cluster for a while.
func LoseSessions(s *Store) {
	s.sessions.mu.Lock()
	live := append([]*session(nil), s.sessions.live...)
	s.sessions.mu.Unlock()
	for _, x := range live {
		s.sessions.lose(x, "the test says so", false)
	}
}

// CheckVersion is for tests of what servers are refused.
var CheckVersion = checkVersion

// Queued is how many writes wait for others to be answered.
func Queued(s *Store) int {
	s.writes.mu.Lock()
	defer s.writes.mu.Unlock()
	return len(s.writes.queue)
}

// OneAtATime has writes wait for each other.
func OneAtATime(s *Store) {
	s.writes.mu.Lock()
	defer s.writes.mu.Unlock()
	s.writes.pace.fixed = 1
}
