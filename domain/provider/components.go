package provider

import (
	"fmt"
	"strings"
	"time"
)

func validation(t *talk) verdict {
	required := t.Policy.RequiredFields
	if required == nil {
		required = []string{"/golem/com/payment/chosen-platform"}
	}
	var missing []string
	for _, pointer := range required {
		if _, ok := t.demand.Pointer(pointer); !ok {
			missing = append(missing, pointer)
		}
	}
	if len(missing) > 0 {
		return no(false, "Missing fields: "+strings.Join(missing, ","))
	}
	return ready
}

func blacklist(t *talk) verdict {
	rule := t.Policy.Blacklist
	switch {
	case !rule.Enabled:
		return ready
	case rule.names(t.Requestor):
		return no(true, "Requestor's NodeId is on the blacklist: "+string(t.Requestor))
	case t.Credentials.BrokenDescriptor:
		return no(true, "Requestor's node descriptor is broken")
	case rule.certified(t.Credentials.Chain):
		return no(true, "Requestor's certificate is on the blacklist: "+string(t.Requestor))
	}
	return ready
}

func allowOnly(t *talk) verdict {
	rule := t.Policy.AllowOnly
	if !rule.Enabled || rule.names(t.Requestor) || !t.Credentials.BrokenDescriptor && rule.certified(t.Credentials.Chain) {
		return ready
	}
	return no(true, "Requestor is not on the allow-only list")
}

func limitAgreements(t *talk) verdict {
	limit := t.Policy.maxAgreements()
	if t.ActiveAgreements >= limit {
		return no(false, fmt.Sprintf("No capacity available. Reached Agreements limit: %d", limit))
	}
	return ready
}

const century = 100 * 365 * 24 * time.Hour

// expiration of the demand. A number of milliseconds that is too large for a
// clock is a date too far away.
func (t *talk) expiration() (time.Time, bool) {
	ms, ok := t.demand.Int(propExpires)
	return time.UnixMilli(ms).UTC(), ok
}

func limitExpiration(t *talk) verdict {
	expires, ok := t.expiration()
	if !ok {
		return no(false, "Missing fields: /golem/srv/comp/expiration (milliseconds, an integer)")
	}
	least, most := or(t.Policy.MinExpiration, 5*time.Minute), or(t.Policy.MaxExpiration, century)
	if _, ok := t.demand[propAccept]; !ok {
		most = or(t.Policy.MaxExpirationUnlimited, 30*time.Minute)
	}
	early, late := expires.Before(t.Now.Add(least)), expires.After(t.Now.Add(most))
	if early || late {
		return no(early, fmt.Sprintf("Proposal expires at: %s which is less than %s or more than %s from now",
			expires.Format(time.RFC3339), human(least), human(most)))
	}
	return ready
}

// seconds reads a property that is whole seconds. A value of another type is
// there and is not good.
func (t *talk) seconds(name string) (n int64, present, good bool) {
	if _, present = t.demand[name]; !present {
		return 0, false, false
	}
	n, good = t.demand.Int(name)
	return n, true, good && n >= 0 && n < 1<<32
}

// without removes from the offer what the demand does not know.
func (t *talk) without(name string) verdict {
	if _, ok := t.offer[name]; !ok {
		return ready
	}
	delete(t.offer, name)
	return changed()
}

func acceptTimeout(t *talk) verdict {
	theirs, present, good := t.seconds(propAccept)
	if !present {
		return t.without(propAccept)
	}
	ours, ok := t.offer.Int(propAccept)
	if !ok {
		ours = seconds(t.Policy.acceptTimeout())
	}
	switch {
	case !good:
		return no(true, "DebitNotes accept timeout is not a number of seconds.")
	case theirs == ours && ok:
		return ready
	case theirs > ours:
		return no(true, fmt.Sprintf("DebitNote acceptance deadline should be less than %s.", human(time.Duration(ours)*time.Second)))
	case theirs < 5:
		return no(true, fmt.Sprintf("To low DebitNotes timeout: %s", human(time.Duration(theirs)*time.Second)))
	}
	t.set(propAccept, theirs)
	return changed()
}

const (
	shortest = 1
	longest  = 24 * 60 * 60
)

// adopt takes over what the demand says, if it is between a second and a day.
func (t *talk) adopt(name, what string) verdict {
	theirs, present, good := t.seconds(name)
	if !present {
		return t.without(name)
	}
	if !good || theirs < shortest || theirs > longest {
		return no(true, fmt.Sprintf("Demand DebitNote %s %s not in acceptable range of [1s; 24h].", what, string(t.demand[name])))
	}
	if ours, ok := t.offer.Int(name); ok && ours == theirs {
		return ready
	}
	t.set(name, theirs)
	return changed()
}

func noteInterval(t *talk) verdict { return t.adopt(propInterval, "interval") }

func paymentTimeout(t *talk) verdict {
	expires, ok := t.expiration()
	if ok && !expires.After(t.Now) {
		return no(true, "Computation expiration time was set in the past")
	}
	threshold := or(t.Policy.PaymentTimeoutRequired, 10*time.Hour)
	if _, present := t.demand[propPayment]; !present && ok && !expires.Before(t.Now.Add(threshold)) {
		return no(true, fmt.Sprintf("Expiration time %s exceeds the %s threshold of enforcing mid-agreement payments "+
			"but the required property '%s' was not present in the Demand", expires.Format(time.RFC3339), human(threshold), propPayment))
	}
	return t.adopt(propPayment, "payment timeout")
}

// comparePrice adopts a bid that is nowhere lower than our price.
func comparePrice(t *talk) verdict {
	raw, bid := t.demand[propCoeffs]
	if !bid {
		return ready
	}
	theirs, okT := t.demand.Numbers(propCoeffs)
	ours, okO := t.offer.Numbers(propCoeffs)
	if !okT || !okO || len(theirs) != len(ours) {
		return no(false, "invalid price vector")
	}
	higher := false
	for i := range ours {
		a, errA := decimal(theirs[i])
		b, errB := decimal(ours[i])
		if errA != nil || errB != nil {
			return no(false, "invalid price vector")
		}
		if a.Cmp(b) < 0 {
			return no(true, fmt.Sprintf("[%s] < [%s]", strings.Join(theirs, ", "), strings.Join(ours, ", ")))
		}
		higher = higher || a.Cmp(b) > 0
	}
	if !higher {
		return ready
	}
	t.offer[propCoeffs] = withPoints(theirs, raw)
	return changed()
}

// withPoints writes prices as floats, since requestors refuse integers.
func withPoints(prices []string, fallback []byte) []byte {
	out := make([]string, len(prices))
	for i, p := range prices {
		f, err := float(p)
		if err != nil {
			return fallback
		}
		out[i] = string(f)
	}
	return []byte("[" + strings.Join(out, ",") + "]")
}

// human prints a duration without zero parts: "4m", "100years".
func human(d time.Duration) string {
	if d >= 365*24*time.Hour {
		return fmt.Sprintf("%dyears", int64(d/(365*24*time.Hour)))
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
