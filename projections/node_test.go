package projections_test

import (
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/identity/appkey"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/projections"
)

func TestIntentsWithoutOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := openNode(t, w, projections.Memory)
	w.say("agreement-R-x", agreement.ConfirmationRequested{AgreementID: "x", Side: r})
	w.say("agreement-R-y", agreement.Terminated{AgreementID: "y", Side: r, Reason: "{}"}) // not ours: nobody to tell
	w.say("agreement-R-z", agreement.Terminated{AgreementID: "z", Side: r, Reason: "{}", Notify: true})
	open, err := n.Pending(t.Context())
	must(t, err)
	if len(open) != 2 || open[0].Stream != "agreement-R-x" || open[1].Stream != "agreement-R-z" {
		t.Fatalf("open: %+v", open)
	}
	id, err := es.ParseID(open[0].ID)
	must(t, err)
	w.sayAs(es.Meta{Key: id.String() + "/2"}, "agreement-R-x", agreement.CommitFailed{AgreementID: "x"}) // an attempt is no answer
	w.sayAs(es.Meta{Key: es.FinalKey(id)}, "agreement-R-x", agreement.Confirmed{AgreementID: "x", Side: r})
	left, err := n.OpenIntents(t.Context())
	must(t, err)
	if len(left) != 1 || left[0] != open[1].Position {
		t.Fatalf("left: %v", left)
	}
}

func TestKeysActAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := openNode(t, w, t.TempDir())
	ctx := t.Context()
	w.say("appkey-k", appkey.Created{Hash: "h1", Identity: alice, Name: "golem", Role: identity.RoleManager, Origins: []string{"http://x"}})
	k, ok, err := n.AppKey(ctx, "h1", noon)
	if err != nil || !ok || k.Identity != alice || k.ID != appkey.StreamID("golem") {
		t.Fatalf("%+v %v %v", k, ok, err)
	}
	w.say("appkey-l", appkey.Created{Hash: "h2", Identity: alice, Name: "short", Role: identity.RoleManager, Limit: appkey.Limit{Expires: noon}})
	if _, ok, _ := n.AppKey(ctx, "h2", noon); ok {
		t.Error("an expired key counts")
	}
	if o := n.Origins(); len(o) != 1 || o[0] != "http://x" {
		t.Errorf("origins %v", o)
	}
	w.say("appkey-k", appkey.Dropped{Hash: "h1", Identity: alice, Name: "golem"})
	if _, ok, _ := n.AppKey(ctx, "h1", noon); ok {
		t.Error("a dropped key counts")
	}
	if all, _ := n.AppKeys(ctx); len(all) != 1 {
		t.Errorf("keys: %+v", all)
	}
}

func TestIdentitiesDeadlinesTimeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := openNode(t, w, projections.Memory)
	wholeDeal(t, w)
	ctx := t.Context()
	if ids, err := n.Identities(ctx); err != nil || len(ids) != 2 || ids[0].ID != alice || !ids[0].Default || ids[1].Default {
		t.Errorf("identities: %+v %v", ids, err)
	}
	w.say("identity-"+string(alice), account.Dropped{Identity: alice})
	if ids, _ := n.Identities(ctx); len(ids) != 1 || ids[0].ID != bob {
		t.Errorf("identities: %+v", ids)
	}
	due, err := n.Deadlines(ctx, time.Time{}, 0)
	must(t, err)
	got := map[string]bool{}
	for _, d := range due {
		got[string(d.Stream)+" "+d.What] = true
	}
	if len(got) != 3 || !got["allocation-al release"] || !got["demand-demand-1 expiry"] || !got["offer-offer-1 expiry"] {
		t.Errorf("deadlines: %v (an approved agreement has none)", got)
	}
	line, err := n.Timeline(ctx, deal, 0, 3)
	must(t, err)
	if len(line) != 3 || line[0].Type != "identity.created.v1" || line[2].Position != 2 {
		t.Errorf("timeline: %+v", line)
	}
	if at, err := n.Positions(ctx, deal); err != nil || len(at) < 10 || at[1] != 1 {
		t.Errorf("positions: %v, %v", at, err)
	}
}
