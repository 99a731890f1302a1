package account_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"
	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/identity/delegation"
)

const me identity.NodeID = "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"

var (
	noon     = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	operator = identity.Caller{Actor: es.ActorOperator}
	created  = account.Created{Alias: "main", Identity: me, Origin: account.Generated}
	rules    = estest.For(account.Rules)
)

func document(t *testing.T, change func(*delegation.Document)) string {
	t.Helper()
	d := delegation.Document{
		Identity: me, NotBefore: noon.Unix(), NotAfter: noon.Add(time.Hour).Unix(),
		PublicKey: "0102", Role: delegation.Host, Subject: "12D3KooW",
	}
	if change != nil {
		change(&d)
	}
	b, err := d.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAnIdentityIsCreatedOnce(t *testing.T) {
	t.Parallel()
	create := account.Create{By: operator, Identity: me, Alias: "main", Origin: account.Generated}
	rules.When(create).Then(t, created)
	rules.Given(created).When(create).Then(t)
	rules.Given(created, account.Dropped{Identity: me}).When(create).Then(t, created)
	create.Locked = true
	rules.When(create).Then(t, created, account.Locked{Identity: me})
}

func TestOnlyTheOperatorHandlesIdentities(t *testing.T) {
	t.Parallel()
	for _, by := range []identity.Caller{{}, {Actor: es.ActorPeer, Node: me}, {Actor: es.ActorREST, Node: me, Role: identity.RoleManager}, {Actor: es.ActorExeUnit}} {
		for _, c := range []account.Command{
			account.Create{By: by, Identity: me},
			account.SetAlias{By: by, Alias: "x"},
			account.MakeDefault{By: by},
			account.Lock{By: by},
			account.Unlock{By: by},
			account.Drop{By: by},
			account.DelegateKey{By: by},
			account.RevokeKey{By: by},
		} {
			rules.Given(created).When(c).Refused(t, identity.ErrForbidden)
		}
	}
}

func TestSayingItTwiceMakesItTrueOnce(t *testing.T) {
	t.Parallel()
	born := rules.Given(created)
	born.When(account.SetAlias{By: operator, Alias: "main"}).Then(t)
	born.When(account.SetAlias{By: operator}).Then(t, account.Aliased{Identity: me})
	born.When(account.MakeDefault{By: operator}).Then(t, account.MadeDefault{Identity: me})
	born.When(account.MakeDefault{By: operator, Present: me}).Then(t)
	born.When(account.Unlock{By: operator}).Then(t)
	born.When(account.Lock{By: operator}).Then(t, account.Locked{Identity: me})
	locked := born.After(t, account.Lock{By: operator})
	locked.When(account.Lock{By: operator}).Then(t)
	locked.When(account.Unlock{By: operator}).Then(t, account.Unlocked{Identity: me})
}

func TestTheDefaultIdentityCannotBeDropped(t *testing.T) {
	t.Parallel()
	rules.Given(created).When(account.Drop{By: operator, Default: me}).Refused(t, account.ErrDefault)
	gone := rules.Given(created).After(t, account.Drop{By: operator})
	gone.When(account.Drop{By: operator}).Then(t)
	gone.When(account.Lock{By: operator}).Refused(t, account.ErrDropped)
	rules.When(account.Lock{By: operator}).Refused(t, account.ErrUnknown)
}

func TestADelegationIsKeptUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	sig := make([]byte, 65)
	doc := document(t, nil)
	delegate := account.DelegateKey{At: noon, By: operator, Document: doc, Signature: sig}
	fact := account.KeyDelegated{
		Document: doc, Identity: me, NotAfter: noon.Add(time.Hour), PublicKey: "0102", Role: "host", Signature: sig, Subject: "12D3KooW",
	}
	born := rules.Given(created)
	born.When(delegate).Then(t, fact)
	bound := born.Given(fact)
	bound.When(delegate).Then(t)
	revoke := account.RevokeKey{By: operator, PublicKey: "0102", Reason: "lost"}
	bound.When(revoke).Then(t, account.KeyRevoked{Identity: me, PublicKey: "0102", Reason: "lost", Role: "host"})
	bound.After(t, revoke).When(revoke).Then(t)
	if len(bound.State().Keys) != 1 || len(bound.After(t, revoke).State().Keys) != 0 {
		t.Fatal("keys of the state do not follow the facts")
	}

	delegate.At = noon.Add(2 * time.Hour)
	born.When(delegate).Refused(t, delegation.ErrNotValid)
	delegate.At, delegate.Signature = noon, sig[1:]
	born.When(delegate).Refused(t, nil)
	delegate.Signature = sig
	delegate.Document = document(t, func(d *delegation.Document) { d.Identity = "0x" + identity.NodeID(strings.Repeat("2", 40)) })
	born.When(delegate).Refused(t, identity.ErrForbidden)
}

func TestAnAliasIsPrintableAndNoNodeID(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{" x", "x\n", string(me), strings.Repeat("x", 129), "\xff"} {
		rules.When(account.Create{By: operator, Identity: me, Alias: bad}).Refused(t, account.ErrBadAlias)
		rules.Given(created).When(account.SetAlias{By: operator, Alias: bad}).Refused(t, account.ErrBadAlias)
	}
}

func TestFactsAreCanonicalJSON(t *testing.T) {
	t.Parallel()
	for _, f := range []account.Event{
		account.Created{Alias: "a", Identity: me, Origin: account.External, PublicKey: "p"},
		account.Aliased{Alias: "a", Identity: me},
		account.KeyDelegated{Document: "{}", Identity: me, NotAfter: noon, PublicKey: "p", Role: "r", Signature: []byte{1}, Subject: "s"},
		account.KeyRevoked{Identity: me, PublicKey: "p", Reason: "<>", Role: "r"},
	} {
		b, err := es.CanonicalJSON(f)
		if err != nil {
			t.Fatal(err)
		}
		want, err := jcs.Transform(b)
		if err != nil || string(want) != string(b) {
			t.Errorf("%T: %s, want %s (%v)", f, b, want, err)
		}
	}
}

// Whatever is asked, a dropped identity has no keys and a stranger changes nothing.
func TestLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s account.State
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			by := operator
			if rapid.Bool().Draw(t, "stranger") {
				by = identity.Caller{Actor: es.ActorPeer, Node: me}
			}
			c := rapid.SampledFrom([]account.Command{
				account.Create{By: by, Identity: me},
				account.SetAlias{By: by, Alias: "x"},
				account.MakeDefault{By: by},
				account.Lock{By: by},
				account.Unlock{By: by},
				account.Drop{By: by},
				account.RevokeKey{By: by, PublicKey: "01"},
			}).Draw(t, "command")
			facts, err := account.Rules.Decide(s, c)
			if by.Actor == es.ActorPeer && !errors.Is(err, identity.ErrForbidden) {
				t.Fatalf("a stranger's %T was not refused: %v", c, err)
			}
			s = account.Rules.Fold(s, facts...)
			if s.Dropped && (len(s.Keys) > 0 || !s.Locked) {
				t.Fatalf("dropped, but %+v", s)
			}
			if again, err := account.Rules.Decide(s, c); err == nil && len(again) > 0 {
				if _, ok := c.(account.MakeDefault); !ok {
					t.Fatalf("%T said twice decides %v", c, again)
				}
			}
		}
	})
}
