package hostile

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	ethcrypto "github.com/ethereum/go-ethereum/crypto"
	golibp2p "github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	lnetwork "github.com/libp2p/go-libp2p/core/network"
	lpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	enet "github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/adapters/net/libp2p"
	"github.com/emet-node/emet/adapters/net/nettest"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/peer"
)

// stranger is a host that speaks the protocol by hand, so that it can say what
// no honest node says.
type stranger struct {
	who  nettest.Identity
	key  ed25519.PrivateKey
	host host.Host
	far  lpeer.ID

	mu    sync.Mutex
	heard []peer.Message
	news  chan struct{}
	// texts are answered to whoever asks for offers.
	texts func(ids []string) []peer.Offer
}

// newStranger connects to a node and says Hello as the n-th person.
func newStranger(t *testing.T, to *member, n byte) *stranger {
	t.Helper()
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_ = public
	own, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	h, err := golibp2p.New(golibp2p.Identity(own), golibp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"), golibp2p.DisableRelay(), golibp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	far, err := lpeer.AddrInfoFromString(to.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	s := &stranger{who: nettest.Person(n), key: key, host: h, far: far.ID, news: make(chan struct{}, 1)}
	for _, service := range []string{"identity", "market", "activity", "payment", "file", "net"} {
		h.SetStreamHandler(protocol.ID("/emet/"+network+"/"+service+"/1.0.0"), s.listen)
	}
	if err := h.Connect(t.Context(), *far); err != nil {
		t.Fatal(err)
	}
	if a, err := s.say(t.Context(), s.envelope("", "", s.hello(t))); err != nil || a.Kind != "identity.hello" {
		t.Fatalf("hello: %s %s %v", a.Kind, a.Body, err)
	}
	return s
}

func (s *stranger) delegation(t testing.TB) peer.Delegation {
	t.Helper()
	public, subject, err := libp2p.HostID(s.key)
	if err != nil {
		t.Fatal(err)
	}
	doc := delegation.Document{
		Identity: s.who.ID, NotBefore: time.Now().Add(-time.Minute).Unix(), NotAfter: time.Now().Add(time.Hour).Unix(),
		PublicKey: public, Role: delegation.Host, Subject: subject,
	}
	text, err := doc.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	digest := doc.Digest(ethcrypto.Keccak256)
	sig, err := ethcrypto.Sign(digest[:], s.who.Key)
	if err != nil {
		t.Fatal(err)
	}
	return peer.Delegation{Document: string(text), Signature: sig}
}

func (s *stranger) hello(t testing.TB) peer.Hello {
	return peer.Hello{Delegations: []peer.Delegation{s.delegation(t)}, Features: enet.AllFeatures(), Version: "evil"}
}

// envelope is a message from anybody to anybody, not sent yet.
func (s *stranger) envelope(from, to identity.NodeID, m peer.Message) enet.Envelope {
	body, err := es.CanonicalJSON(m)
	if err != nil {
		panic(err)
	}
	return s.raw(from, to, m.Kind(), body)
}

func (s *stranger) raw(from, to identity.NodeID, kind string, body []byte) enet.Envelope {
	var id [16]byte
	_, _ = rand.Read(id[:])
	now := time.Now().UTC().Truncate(time.Microsecond)
	return enet.Envelope{
		ID: hex.EncodeToString(id[:]), Network: network, From: from, To: to, SentAt: now, Expires: now.Add(patience),
		Seq: 1, Kind: kind, Body: body,
	}
}

// say signs and sends an envelope and waits for what comes back.
func (s *stranger) say(ctx context.Context, e enet.Envelope) (enet.Envelope, error) {
	frame, err := e.Marshal(func(d []byte) ([]byte, error) { return ed25519.Sign(s.key, d), nil })
	if err != nil {
		return enet.Envelope{}, err
	}
	return s.send(ctx, enet.Service(e.Kind), frame)
}

// send sends bytes as a request to a service.
func (s *stranger) send(ctx context.Context, service string, frame []byte) (enet.Envelope, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	st, err := s.host.NewStream(ctx, s.far, protocol.ID("/emet/"+network+"/"+service+"/1.0.0"))
	if err != nil {
		return enet.Envelope{}, err
	}
	defer st.Reset() //nolint:errcheck // all was said
	d, _ := ctx.Deadline()
	_ = st.SetDeadline(d)
	if err := put(st, frame); err != nil {
		return enet.Envelope{}, err
	}
	b, err := get(bufio.NewReader(st))
	if err != nil {
		return enet.Envelope{}, err
	}
	a, _, err := enet.ParseEnvelope(b)
	return a, err
}

func put(w io.Writer, frame []byte) error {
	_, err := w.Write(append(binary.AppendUvarint(nil, uint64(len(frame))), frame...))
	return err
}

func get(r *bufio.Reader) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return b, err
}

// listen answers everything with yes and remembers it.
func (s *stranger) listen(st lnetwork.Stream) {
	defer st.Close() //nolint:errcheck // a test
	b, err := get(bufio.NewReader(st))
	if err != nil {
		return
	}
	e, _, err := enet.ParseEnvelope(b)
	if err != nil {
		return
	}
	reply := peer.Message(peer.Ack{})
	m, err := enet.Decode(e.Kind, e.Body)
	if err == nil {
		switch m := m.(type) {
		case peer.Hello:
			reply = s.hello(panicky{})
		case peer.GetOffers:
			var o peer.Offers
			if s.texts != nil {
				o.Offers = s.texts(m.IDs)
			}
			reply = o
		case peer.ListOffers:
			reply = peer.OffersAnnounced{}
		}
		s.mu.Lock()
		s.heard = append(s.heard, m)
		s.mu.Unlock()
		select {
		case s.news <- struct{}{}:
		default:
		}
	}
	body, _ := json.Marshal(reply)
	a := s.raw(e.To, e.From, reply.Kind(), body)
	a.ID = e.ID
	frame, err := a.Marshal(func(d []byte) ([]byte, error) { return ed25519.Sign(s.key, d), nil })
	if err == nil {
		_ = put(st, frame)
	}
}

// panicky is a testing.TB for goroutines of the network.
type panicky struct{ testing.TB }

func (panicky) Helper()           {}
func (panicky) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// waitFor waits for a message of the node that fits.
func waitFor[M peer.Message](t *testing.T, s *stranger, fits func(M) bool) M {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		s.mu.Lock()
		for _, m := range s.heard {
			if m, ok := m.(M); ok && fits(m) {
				s.mu.Unlock()
				return m
			}
		}
		s.mu.Unlock()
		select {
		case <-s.news:
		case <-ctx.Done():
			var zero M
			t.Fatalf("no %s came; heard %+v", zero.Kind(), s.heard)
		}
	}
}

// refused says why a request was refused; ok is false when it was not.
func refused(a enet.Envelope, err error) (r peer.Refusal, ok bool) {
	if err != nil { // reset: silence
		return peer.Refusal{Code: "silence", Text: err.Error()}, true
	}
	if a.Kind == enet.KindHello {
		return peer.Refusal{Code: "hello"}, true
	}
	if a.Kind != enet.KindRefusal {
		return r, false
	}
	_ = json.Unmarshal(a.Body, &r)
	return r, true
}
