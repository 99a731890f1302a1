package net_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"

	"github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/adapters/net/memory"
	"github.com/emet-node/emet/adapters/net/nettest"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// fill sets every field of a message to something.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Slice:
		switch {
		case v.Type().String() == "json.RawMessage":
			v.SetBytes([]byte(`{"a":1}`))
		default:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			fill(v.Index(0))
			fill(v.Index(1))
		}
	case reflect.String:
		v.SetString("<t\u2028\u00fc>")
	case reflect.Int64:
		v.SetInt(42)
	case reflect.Uint8:
		v.SetUint(7)
	case reflect.Bool:
		v.SetBool(true)
	default:
		panic(v.Type().String())
	}
}

func TestEveryMessageIsCanonicalAndComesBack(t *testing.T) {
	t.Parallel()
	if len(net.Kinds()) < 39 {
		t.Fatalf("%d kinds", len(net.Kinds()))
	}
	for _, kind := range net.Kinds() {
		zero, err := net.Decode(kind, []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		v := reflect.New(reflect.TypeOf(zero)).Elem()
		fill(v)
		m := v.Interface().(peer.Message)
		body, err := net.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := jcs.Transform(body); err != nil || string(want) != string(body) {
			t.Errorf("%s: %s is not canonical, want %s (%v)", kind, body, want, err)
		}
		if got, err := net.Decode(kind, body); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %+v came back as %+v (%v)", kind, m, got, err)
		}
	}
}

func TestCodecRefuses(t *testing.T) {
	t.Parallel()
	if _, err := net.Decode("market.nonsense", nil); !errors.Is(err, net.ErrUnknownKind) {
		t.Error(err)
	}
	if _, err := net.Decode("market.counter", make([]byte, 129<<10)); !errors.Is(err, net.ErrTooLarge) {
		t.Error(err)
	}
	if _, err := net.Decode("market.counter", []byte(`{"prev":1}`)); err == nil {
		t.Error("a number was read as text")
	}
	if _, err := net.Decode("market.counter", []byte(strings.Repeat("[", 100000))); err == nil {
		t.Error("depth")
	}
	if m, err := net.Decode("market.counter", []byte(`{"later":{},"prev":"p"}`)); err != nil || m.(peer.ProposalCountered).Prev != "p" {
		t.Error("a field of a later version was not passed over")
	}
}

func sample() net.Envelope {
	return net.Envelope{
		ID: "m1", Network: "dev", From: nettest.Person(1).ID, To: nettest.Person(2).ID, SentAt: time.UnixMicro(1767225600000001).UTC(),
		Expires: time.UnixMicro(1767225630000000).UTC(), Seq: 3, AckSeq: 300, Head: es.Hash{1}, Kind: "market.counter", Body: []byte(`{}`), Stream: true,
	}
}

func TestEnvelopeIsSignedAsAWhole(t *testing.T) {
	t.Parallel()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b, err := sample().Marshal(func(d []byte) ([]byte, error) { return ed25519.Sign(key, d), nil })
	if err != nil {
		t.Fatal(err)
	}
	e, digest, err := net.ParseEnvelope(b)
	if err != nil || !ed25519.Verify(pub, digest, e.Signature) {
		t.Fatalf("%+v %v", e, err)
	}
	want := sample()
	want.Signature = e.Signature
	if !reflect.DeepEqual(e, want) {
		t.Fatalf("%+v came back as %+v", want, e)
	}
	for i := range b {
		c := append([]byte(nil), b...)
		c[i] ^= 1
		if e, digest, err := net.ParseEnvelope(c); err == nil && ed25519.Verify(pub, digest, e.Signature) {
			t.Fatalf("byte %d may be changed", i)
		}
	}
	if _, _, err := net.ParseEnvelope(append(b, b...)); !errors.Is(err, net.ErrEnvelope) {
		t.Fatalf("something after the signature: %v", err)
	}
}

func FuzzParseEnvelope(f *testing.F) {
	b, err := sample().Marshal(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	b, err = sample().Marshal(func([]byte) ([]byte, error) { return make([]byte, 64), nil })
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, in []byte) {
		e, _, err := net.ParseEnvelope(in)
		if err != nil {
			return
		}
		out, err := e.Marshal(func([]byte) ([]byte, error) { return e.Signature, nil })
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := net.ParseEnvelope(out)
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Fatalf("%+v came back as %+v (%v)", e, again, err)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add("market.open", []byte(`{"demandId":"d","proposal":{"created":"2026-01-01T00:00:00Z"}}`))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		m, err := net.Decode(kind, body)
		if err == nil && m.Kind() != kind {
			t.Fatalf("%s became %s", kind, m.Kind())
		}
	})
}

func TestLoopStaysInTheProcess(t *testing.T) {
	t.Parallel()
	a, b, c := nettest.Person(1).ID, nettest.Person(2).ID, nettest.Person(3).ID
	h := &nettest.Handler{OnStream: func(_ context.Context, from peer.Caller, _ peer.Message, yield func(peer.Message, error) bool) {
		yield(peer.ActivityState{State: from.Via}, nil)
	}}
	var heard []peer.Caller
	server := net.NewServer(h, func(_ context.Context, from peer.Caller, _ peer.OffersAnnounced) { heard = append(heard, from) }, nil)
	local := func(id identity.NodeID) bool { return id == a || id == b }
	far := &nettest.Handler{}
	mesh := memory.New()
	remote := mesh.Join([]identity.NodeID{a, b}, h, nil)
	other := mesh.Join([]identity.NodeID{c}, far, nil)
	t.Cleanup(func() { remote.Close(); other.Close() })
	loop := net.NewLoop(remote, local, server)

	if _, err := loop.Call(t.Context(), a, b, peer.Exec{}); err != nil {
		t.Fatal(err)
	}
	if seen := h.Seen(); len(seen) != 1 || seen[0].Via != "local" || seen[0].Node != a || seen[0].To != b {
		t.Fatalf("the handler saw %+v", seen)
	}
	for m, err := range loop.Stream(t.Context(), a, b, peer.FollowBatch{}) {
		if err != nil || m.(peer.ActivityState).State != "local" {
			t.Fatalf("%v %v", m, err)
		}
	}
	if _, err := loop.Call(t.Context(), c, b, peer.Exec{}); !errors.Is(err, net.ErrNotOurs) {
		t.Fatalf("a stranger in the loop: %v", err)
	}
	if _, err := loop.Call(t.Context(), a, c, peer.Exec{}); err != nil || len(far.Seen()) != 1 {
		t.Fatalf("the far node was not reached: %v", err)
	}
	if err := loop.Broadcast(t.Context(), a, peer.OffersAnnounced{}); err != nil || len(heard) != 1 || heard[0].Node != a {
		t.Fatalf("heard %v, %v", heard, err)
	}
	alone := net.NewLoop(nil, local, server)
	if _, err := alone.Call(t.Context(), a, c, peer.Exec{}); !errors.Is(err, peer.ErrUnreachable) {
		t.Fatalf("without a network: %v", err)
	}
	if got := alone.Features(b); len(got) == 0 || alone.Close() != nil || alone.Status().Transport != "local" {
		t.Fatal("a loop alone")
	}
}
