package offerbook

// Pending is how many ids a cursor remembers.
func (c *Cursor) Pending() int {
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	return len(c.pending)
}
