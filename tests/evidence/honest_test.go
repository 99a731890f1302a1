package evidence

import (
	"crypto"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/emet-node/emet/adapters/ledger/dossier"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/verifier"
)

const cryptoNone = crypto.Hash(0)

// opinion is what both verifiers say of a dossier.
func opinion(t testing.TB, what string, b []byte, trusted ...identity.NodeID) dossier.Report {
	t.Helper()
	report := dossier.Verify(b, dossier.Trust{Identities: trusted})
	second := verifier.Trust{}
	for _, id := range trusted {
		second.Identities = append(second.Identities, string(id))
	}
	claims, err := verifier.Verify(b, second)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range report.Claims {
		if s := claims[i]; s.Claim != c.Claim || s.Verdict != string(c.Verdict) {
			t.Fatalf("%s: the verifiers disagree about %s: %s (%s) and %s %s (%s)", what, c.Claim, c.Verdict, c.Says, s.Claim, s.Verdict, s.Why)
		}
	}
	return report
}

func (w *world) opinion(t testing.TB, what string, b []byte) dossier.Report {
	t.Helper()
	return opinion(t, what, b, w.buyer.id, w.seller.id)
}

func encode(t testing.TB, d dossier.Dossier) []byte {
	t.Helper()
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// histories is how many honest ones are made: EMET_EVIDENCE_HISTORIES, or
// fewer with -short.
func histories() int {
	if n, err := strconv.Atoi(os.Getenv("EMET_EVIDENCE_HISTORIES")); err == nil {
		return n
	}
	if testing.Short() {
		return 200
	}
	return 10_000
}

// No honest history is disproved in anything, and one of which nothing is
// missing is proved in everything, whatever is withheld.
func TestHonestHistoriesRaiseNoAlarm(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	seeds := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range seeds {
				honest(t, seed)
			}
		})
	}
	for seed := range uint64(histories()) { //nolint:gosec // not negative
		seeds <- seed
		if t.Failed() {
			break
		}
	}
	close(seeds)
	wg.Wait()
}

func honest(t *testing.T, seed uint64) {
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("seed %d: %v", seed, p)
		}
	}()
	w := newWorld(seed, anyhow, cheats{})
	var redact []string
	if seed%3 == 0 {
		redact = []string{"stdout", "env", "meta", "commands"}[:1+seed/3%4]
	}
	r := w.opinion(t, "seed "+strconv.FormatUint(seed, 10), encode(t, w.build(redact...).Dossier))
	how := w.how
	full := how.signed && how.envelopes && how.invoiced && how.accepted && how.paid && how.chain && how.cosigned && how.activities > 0 && how.notes > 0 && how.blocks
	for _, c := range r.Claims {
		if c.Verdict == dossier.Disproved || full && c.Verdict != dossier.Proved {
			t.Errorf("seed %d, %+v: %s is %s: %s", seed, how, c.Claim, c.Verdict, c.Says)
		}
	}
}

// What a lie is about is what is disproved.
func TestEveryLieIsFoundOut(t *testing.T) {
	t.Parallel()
	lies := []struct {
		name  string
		lies  cheats
		claim []string
	}{
		{"terms", cheats{terms: true}, []string{dossier.ClaimRequestor, dossier.ClaimProvider, dossier.ClaimProposals}},
		{"another reading", cheats{otherNote: true}, []string{dossier.ClaimNotesUsage}},
		{"a note that falls", cheats{lowNote: true}, []string{dossier.ClaimNotesMonotone}},
		{"overcharge", cheats{overcharge: true}, []string{dossier.ClaimNotesPrice}},
		{"invoice", cheats{invoice: true}, []string{dossier.ClaimInvoice}},
		{"acceptance", cheats{acceptance: true}, []string{dossier.ClaimMessages}},
		{"proof of payment", cheats{proof: true}, []string{dossier.ClaimPaymentSigned}},
		{"payee", cheats{payee: true}, []string{dossier.ClaimPaymentChain}},
		{"reverted", cheats{reverted: true}, []string{dossier.ClaimPaymentChain}},
		{"short", cheats{short: true}, []string{dossier.ClaimPaymentChain}},
		{"cosigner", cheats{cosigner: true}, []string{dossier.ClaimCosignedAgreement, dossier.ClaimCosignedBills, dossier.ClaimCosignedPayments}},
		{"fork", cheats{fork: true}, []string{dossier.ClaimCosignedAgreement, dossier.ClaimCosignedBills, dossier.ClaimCosignedPayments}},
		{"agreement id", cheats{wrongID: true}, []string{dossier.ClaimAgreementID}},
		{"commands", cheats{ends: true}, []string{dossier.ClaimCommands}},
	}
	for _, lie := range lies {
		t.Run(lie.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(20) {
				if (lie.lies.otherNote || lie.lies.acceptance) && seed%2 == 0 {
					continue // only a provider can tell it
				}
				w := newWorld(seed, whole, lie.lies)
				if lie.lies.lowNote && w.how.notes < 2 {
					continue
				}
				r := w.opinion(t, lie.name, encode(t, w.build().Dossier))
				for _, name := range lie.claim {
					if r.Of(name) != dossier.Disproved {
						t.Errorf("seed %d: %s is %s", seed, name, r.Of(name))
					}
				}
				for _, c := range r.Claims {
					if c.Verdict == dossier.Disproved && !slices.Contains(lie.claim, c.Claim) && !related(lie.name, c.Claim) {
						t.Errorf("seed %d: %s too: %s", seed, c.Claim, c.Says)
					}
				}
			}
		})
	}
}

// related are claims that fall with others.
func related(lie, claim string) bool {
	switch lie {
	case "a note that falls", "another reading":
		return claim == dossier.ClaimNotesPrice || claim == dossier.ClaimNotesUsage
	case "cosigner", "fork":
		return claim == dossier.ClaimBracket
	}
	return false
}
