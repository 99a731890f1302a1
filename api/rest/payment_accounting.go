package rest

// accounting are the routes of the books, which no document lists.
func (p *paymentAPI) accounting() []handRoute {
	return nil
}
