package hostile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	enet "github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/peer"
)

// disk is how many bytes of facts and blobs a node has.
func (m *member) disk(t *testing.T) (n int64) {
	t.Helper()
	at, err := m.Store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = at
	err = filepath.WalkDir(filepath.Join(m.dir, "store", "blobs"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			info, e := d.Info()
			if e != nil {
				return e
			}
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n + m.facts(t)
}

func heap() uint64 {
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// A flood of offers, of nonsense and of proposals costs a node little disk and
// memory, and honest deals go on beside it. It is not parallel: memory and time
// are of this process.
func TestFloodsAreCheap(t *testing.T) {
	w := newWorld(t, nil)
	quiet := w.deal(t)
	me := w.provider.Identity(0)
	before, disk := heap(), w.provider.disk(t)
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer stop()

	announcer := newStranger(t, w.provider, 70)
	announcer.texts = func(ids []string) (out []peer.Offer) {
		for _, id := range ids { // none of them is what its id says
			out = append(out, peer.Offer{ID: id, Provider: announcer.who.ID, Properties: strings.Repeat("x", 1000), Expires: time.Now().Add(time.Hour)})
		}
		return out
	}
	wg.Go(func() {
		for round := range 200 {
			var digests []peer.OfferDigest
			for i := range 500 {
				sum := sha256.Sum256(fmt.Append(nil, round, i))
				h := hex.EncodeToString(sum[:])
				digests = append(digests, peer.OfferDigest{Expires: time.Now().Add(time.Hour), ID: h[:32] + "-" + h, Provider: announcer.who.ID})
			}
			_, _ = announcer.say(ctx, announcer.envelope(announcer.who.ID, me, peer.OffersAnnounced{Offers: digests}))
		}
	})
	noisy := newCrowd(t, w.provider, 71, 4)
	var nonsense [][]byte
	for i := range 10_000 {
		nonsense = append(nonsense, fmt.Appendf(nil, `{"prev":"%064x","proposal":{"id":"%064x","properties":"{","constraints":"(("}}`, i, i))
	}
	wg.Go(func() { noisy.shout(ctx, me, peer.ProposalCountered{}.Kind(), nonsense) })

	spammer := newStranger(t, w.provider, 72)
	offerID := w.provider.known(t).offer
	taken, busy := 0, 0
	wg.Go(func() {
		properties, constraints := demand(spammer)
		properties = strings.Replace(properties, "{", `{"golem.!exp.spam":"`+strings.Repeat("s", 40_000)+`",`, 1)
		for range 300 {
			a, err := spammer.say(ctx, spammer.envelope(spammer.who.ID, me, spammer.opening(offerID, properties, constraints)))
			switch r, no := refused(a, err); {
			case !no:
				taken++
			case r.Code == peer.Busy:
				busy++
			}
		}
	})
	var loud time.Duration
	for range 2 {
		loud = max(loud, w.deal(t))
	}
	wg.Wait()
	if taken == 0 || taken > 40 || busy == 0 {
		t.Errorf("%d proposals of 80 KiB were taken, %d refused for a while", taken, busy)
	}
	grown := w.provider.disk(t) - disk
	if grown > 6<<20 {
		t.Errorf("floods made the node write %d KiB", grown>>10)
	}
	if more := int64(heap()) - int64(before); more > 128<<20 {
		t.Errorf("floods made the node grow by %d MiB", more>>20)
	}
	quiet = max(quiet, w.deal(t)) // the machine may have become busy meanwhile
	if loud > 10*quiet+30*time.Second {
		t.Errorf("a deal took %v beside the floods, %v without", loud, quiet)
	}
	t.Logf("disk +%d KiB, heap %+d MiB, deal %v → %v, %d spam taken, %d busy", grown>>10, (int64(heap())-int64(before))>>20, quiet, loud, taken, busy)
}

// facts is how much the node's facts weigh.
func (m *member) facts(t *testing.T) (n int64) {
	t.Helper()
	for e, err := range m.everything(t) {
		if err != nil {
			t.Fatal(err)
		}
		n += int64(len(e.Data) + len(e.Meta) + 200)
	}
	return n
}

// Offers and announcements alone leave no fact at all, and nobody takes back
// or stands in for the offer of another.
func TestNobodySpeaksForAnotherOffer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	s := newStranger(t, w.buyer, 73)
	me, victim := w.buyer.Identity(0), w.provider.Identity(0)
	facts := w.buyer.head(t)
	var forged []peer.OfferDigest
	texts := map[string]peer.Offer{}
	for i := range 20 {
		now := time.Now().UTC()
		c := market.Content{Properties: fmt.Sprintf(`{"golem.node.id.name":"fake-%d"}`, i), Constraints: "()", Owner: victim, Created: now, Expires: now.Add(time.Hour)}
		o := peer.Offer{ID: market.SubscriptionID(strings.Repeat("cd", 16), c), Properties: c.Properties, Constraints: c.Constraints, Provider: victim, Created: now, Expires: c.Expires}
		texts[o.ID] = o
		forged = append(forged, peer.OfferDigest{Expires: o.Expires, ID: o.ID, Provider: victim})
	}
	s.texts = func(ids []string) (out []peer.Offer) {
		for _, id := range ids {
			out = append(out, texts[id])
		}
		return out
	}
	offerID := w.provider.known(t).offer
	a, err := s.say(t.Context(), s.envelope(s.who.ID, me, peer.OffersAnnounced{
		Offers: forged, Withdrawn: []peer.Withdrawal{{ID: offerID, Provider: victim}, {ID: offerID, Provider: s.who.ID}},
	}))
	if err != nil || a.Kind != "ack" {
		t.Fatalf("%s %v", a.Kind, err)
	}
	lied := append([]peer.OfferDigest(nil), forged...)
	for i := range lied { // as its own, and then the texts are another's
		lied[i].Provider = s.who.ID
	}
	if a, err := s.say(t.Context(), s.envelope(s.who.ID, me, peer.OffersAnnounced{Offers: lied})); err != nil || a.Kind != "ack" {
		t.Fatalf("%s %v", a.Kind, err)
	}
	if a, err = s.say(t.Context(), s.envelope(s.who.ID, me, peer.GetOffers{IDs: append([]string{offerID}, ids1(forged)...)})); err != nil {
		t.Fatal(err)
	}
	m, err := enet.Decode(a.Kind, a.Body)
	if err != nil {
		t.Fatal(err)
	}
	held := m.(peer.Offers).Offers
	if len(held) > 1 || len(held) == 1 && held[0].ID != offerID {
		t.Errorf("the buyer holds %d offers of the provider: %+v", len(held), held)
	}
	if made := w.buyer.made(t, facts); len(made) > 0 {
		t.Errorf("announcements made facts: %v", made)
	}
	w.deal(t)
}

func ids1(d []peer.OfferDigest) (out []string) {
	for _, o := range d {
		out = append(out, o.ID)
	}
	return out
}
