package expiry

// Len is how many deadlines the book has.
func (b *Book) Len() int { return len(b.deadlines) }
