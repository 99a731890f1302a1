package verification

// Open is how many claims are remembered.
func (s *State) Open() int { return len(s.claims) }
