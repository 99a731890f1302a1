package simulate

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/emet-node/emet/domain/market/props"
	"github.com/emet-node/emet/domain/market/terms"
	"github.com/emet-node/emet/domain/money"
)

// reprice writes the wished prices into the text of an offer.
func (s *simulation) reprice(text string) (string, error) {
	if len(s.wish.Prices) == 0 && s.wish.Factor == nil {
		return text, nil
	}
	flat, err := props.ParseFlat(text)
	if err != nil {
		return "", fmt.Errorf("the offer's text: %w", err)
	}
	old, _ := flat.Numbers(terms.Coefficients)
	vector, _ := flat.Strings(terms.UsageVector)
	if len(old) != len(vector)+1 {
		return text, nil // not priced by the linear model
	}
	out := make([]json.RawMessage, len(old))
	for i := range old {
		counter := Start
		if i < len(vector) {
			counter = vector[i]
		}
		price, err := s.price(counter, old[i])
		if err != nil {
			return "", err
		}
		out[i] = price
	}
	b, err := json.Marshal(out)
	if err != nil {
		return "", err
	}
	flat[terms.Coefficients] = b
	return flat.Text(), nil
}

// price is the wished price of a counter, as a number with a point.
func (s *simulation) price(counter, old string) (json.RawMessage, error) {
	d, wished := s.wish.Prices[counter]
	if !wished {
		d, wished = s.wish.Prices[Short(counter)]
	}
	if !wished {
		was, err := money.ParseDecimal(old)
		if err != nil {
			return nil, fmt.Errorf("price of %s: %w", counter, err)
		}
		d = was
		if s.wish.Factor != nil {
			d = was.Mul(*s.wish.Factor)
		}
	}
	f, err := strconv.ParseFloat(d.String(), 64)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(props.FormatFloat(f)), nil
}

// unmet says which constraint of a requestor an offer does not meet, "" = it
// meets all. What cannot be read is no obstacle: it was none then.
func unmet(constraints, offer string) string {
	want, err := props.Parse(constraints)
	if err != nil {
		return ""
	}
	have, err := props.Compile(offer)
	if err != nil {
		return ""
	}
	if want.Eval(have).Truth == props.False {
		return "the requestor's constraints are not met: " + constraints
	}
	return ""
}
