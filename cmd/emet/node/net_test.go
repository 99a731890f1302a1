package node

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/peer"
)

// Whoever is met while the node starts lists its offers once.
func TestWhatIsHeardWhileTheNodeStartsIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, heard := newLateHandler(), make(chan peer.OffersAnnounced, 2)
		hungUp, hangUp := context.WithCancel(t.Context())
		go h.announced(t.Context(), peer.Caller{}, peer.OffersAnnounced{Offers: []peer.OfferDigest{{ID: "early"}}})
		go h.announced(hungUp, peer.Caller{}, peer.OffersAnnounced{})
		if _, err := h.HandleCall(t.Context(), peer.Caller{}, peer.ListOffers{}); !busy(err) {
			t.Errorf("a request is answered with %v", err)
		}
		hangUp()
		synctest.Wait()
		h.listen(func(_ context.Context, _ peer.Caller, a peer.OffersAnnounced) { heard <- a })
		synctest.Wait()
		if len(heard) != 1 {
			t.Fatalf("%d announcements were heard", len(heard))
		}
		if a := <-heard; len(a.Offers) != 1 || a.Offers[0].ID != "early" {
			t.Errorf("%+v", a)
		}
	})
}

func busy(err error) bool {
	no, ok := effects.RefusalOf(err)
	return ok && no.Code == peer.Busy
}
