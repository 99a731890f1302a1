package batch

// chain is a list that grows at its end in one step and never changes what
// older states see of it.
type chain[T any] struct {
	last *link[T]
	n    int
}

type link[T any] struct {
	before *link[T]
	value  T
}

func (c chain[T]) with(v T) chain[T] {
	return chain[T]{last: &link[T]{before: c.last, value: v}, n: c.n + 1}
}

// all returns the values, oldest first.
func (c chain[T]) all() []T {
	if c.n == 0 {
		return nil
	}
	out := make([]T, c.n)
	for i, l := c.n-1, c.last; l != nil; i, l = i-1, l.before {
		out[i] = l.value
	}
	return out
}
