package appkey_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/appkey"
)

const (
	me    identity.NodeID = "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf"
	other identity.NodeID = "0x2b5ad5c4795c026514f8317c7a215e218dccd6cf"
)

var (
	noon     = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	operator = identity.Caller{Actor: es.ActorOperator}
	hash     = strings.Repeat("ab", 32)
	rules    = estest.For(appkey.Rules)
	create   = appkey.Create{
		At: noon, By: operator, Hash: hash, Identity: me, Name: "requestor", Origins: []string{"*", "http://localhost:8080"}, Prefix: "abcdef",
	}
	created = appkey.Created{
		Hash: hash, Identity: me, Name: "requestor", Origins: create.Origins, Prefix: "abcdef", Role: identity.RoleManager,
	}
)

func TestANameAndItsIdentityHaveOneKey(t *testing.T) {
	t.Parallel()
	rules.When(create).Then(t, created)
	again := create
	again.Hash = strings.Repeat("cd", 32)
	rules.Given(created).When(again).Then(t)
	if got := rules.Given(created).State().Hash; got != hash {
		t.Fatalf("the old key is %s, want %s", got, hash)
	}
}

func TestANameOfAnotherIdentityIsTaken(t *testing.T) {
	t.Parallel()
	foreign := create
	foreign.Identity = other
	o := rules.Given(created).When(foreign)
	o.Refused(t, appkey.ErrTaken)
	if !strings.Contains(o.Err.Error(), "UNIQUE constraint failed: app_key.name") {
		t.Fatalf("the error reads %q", o.Err)
	}
}

func TestADroppedNameIsFree(t *testing.T) {
	t.Parallel()
	drop := appkey.Drop{By: operator, Name: "requestor"}
	dropped := appkey.Dropped{Hash: hash, Identity: me, Name: "requestor"}
	rules.Given(created).When(drop).Then(t, dropped)
	rules.Given(created, dropped).When(drop).Refused(t, appkey.ErrUnknown)
	rules.When(drop).Refused(t, appkey.ErrUnknown)
	foreign := drop
	foreign.Identity = other
	rules.Given(created).When(foreign).Refused(t, appkey.ErrUnknown)
	moved := create
	moved.Identity = other
	want := created
	want.Identity = other
	rules.Given(created, dropped).When(moved).Then(t, want)
}

func TestOnlyTheOperatorHandlesKeys(t *testing.T) {
	t.Parallel()
	for _, by := range []identity.Caller{{}, {Actor: es.ActorREST, Node: me, Role: identity.RoleManager}, {Actor: es.ActorPeer, Node: me}} {
		c := create
		c.By = by
		rules.When(c).Refused(t, identity.ErrForbidden)
		rules.Given(created).When(appkey.Drop{By: by, Name: "requestor"}).Refused(t, identity.ErrForbidden)
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*appkey.Create){
		"no name":      func(c *appkey.Create) { c.Name = "" },
		"long name":    func(c *appkey.Create) { c.Name = strings.Repeat("n", 129) },
		"control":      func(c *appkey.Create) { c.Name = "a\x00" },
		"space":        func(c *appkey.Create) { c.Name = "a " },
		"identity":     func(c *appkey.Create) { c.Identity = "0xABCDEF4552091a69125d5dfcb7b8c2659029395bdf" },
		"hash":         func(c *appkey.Create) { c.Hash = "ab" },
		"upper hash":   func(c *appkey.Create) { c.Hash = strings.ToUpper(hash) },
		"long prefix":  func(c *appkey.Create) { c.Prefix = "abcdefg" },
		"role":         func(c *appkey.Create) { c.Role = "root" },
		"path":         func(c *appkey.Create) { c.Origins = []string{"http://a/b"} },
		"no scheme":    func(c *appkey.Create) { c.Origins = []string{"localhost"} },
		"many origins": func(c *appkey.Create) { c.Origins = make([]string, 65) },
		"expired":      func(c *appkey.Create) { c.Limit.Expires = noon },
	} {
		c := create
		change(&c)
		t.Run(name, func(t *testing.T) { rules.When(c).Refused(t, nil) })
	}
}

func TestAKeyExpires(t *testing.T) {
	t.Parallel()
	c := create
	c.Limit.Expires = noon.Add(time.Hour).In(time.FixedZone("x", 3600))
	s := rules.After(t, c).State()
	if !s.Live(noon) || s.Live(noon.Add(time.Hour)) || (appkey.State{}).Live(noon) {
		t.Fatal("a key lives from its creation until it expires")
	}
}

func TestTheStreamIsNamedByDigest(t *testing.T) {
	t.Parallel()
	if got := appkey.StreamID("requestor"); len(got) != 16 || got == appkey.StreamID("Requestor") {
		t.Fatalf("stream id %q", got)
	}
	if got := appkey.StreamID(""); got != "e3b0c44298fc1c14" {
		t.Fatalf("stream id of nothing is %s", got)
	}
}

func TestFactsAreCanonicalJSON(t *testing.T) {
	t.Parallel()
	full := created
	full.Limit.Expires = noon
	for _, f := range []appkey.Event{created, full, appkey.Dropped{Hash: hash, Identity: me, Name: "<n>"}} {
		b, err := es.CanonicalJSON(f)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := jcs.Transform(b); err != nil || string(want) != string(b) {
			t.Errorf("%T: %s, want %s (%v)", f, b, want, err)
		}
	}
}
