package payments

import (
	"context"
	"log/slog"
	"math/big"
	"sync"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/market/agreement"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// Aggregates are the streams of money.
type Aggregates struct {
	Log        *es.Log
	Agreements *es.Aggregate[agreement.Command, agreement.Event, agreement.State]
	Bills      *es.Aggregate[bill.Command, bill.Event, bill.State]
	Wallets    *es.Aggregate[wallet.Command, wallet.Event, wallet.State]
	Txs        *es.Aggregate[tx.Command, tx.Event, tx.State]
	Payments   *es.Aggregate[payment.Command, payment.Event, payment.State]
}

// Signer signs what its methods name, and nothing else.
type Signer interface {
	// SignTransaction signs the signing hash of a transaction: r‖s‖v.
	SignTransaction(ctx context.Context, as identity.NodeID, digest [32]byte) ([]byte, error)
	// SignPayment signs a payment document: v‖r‖s over its SHA3-256.
	SignPayment(ctx context.Context, as identity.NodeID, canonical []byte) ([]byte, error)
}

// Unsigned is a transaction that waits for its signature.
type Unsigned interface {
	SigningHash() [32]byte
	Assemble(signature []byte) (raw []byte, hash onchain.Hash, err error)
}

// Chains are the networks that this node can reach.
type Chains interface {
	// Chain returns the network of an id; an error says that it is not
	// configured here.
	Chain(chainID uint64) (onchain.Chain, error)
	// Build makes the transaction of a call.
	Build(p onchain.Profile, c onchain.Call, nonce, gas uint64, fees onchain.Fees) (Unsigned, error)
	// Fund asks whoever gives test money away on the network.
	Fund(ctx context.Context, chainID uint64, owner onchain.Address) (text string, err error)
}

// Effects carries out the intents of money.
type Effects struct {
	Aggregates
	Peers  effects.Peers
	Signer Signer
	// Locked says whether an error of the signer means a locked identity.
	Locked func(error) bool
	Chains Chains
	// Recover returns who signed a payment document.
	Recover func(canonical, signature []byte) (identity.NodeID, error)
	Claims  Claims
	// AgreementOf names the agreement of an activity of the provider's side, ""
	// when there is none.
	AgreementOf func(ctx context.Context, activityID string) (string, error)
	Logger      *slog.Logger
	// Held is an error while nothing may be paid; Freeze makes it one. nil =
	// that never is so.
	Held   func(context.Context) error
	Freeze func(context.Context, ledger.Frozen) error

	compared sync.Map // what came of holding wallets against the chain, by id
	proving  sync.Mutex
	// proved are the transfers found for claims whose outcome is being written.
	proved map[string][]onchain.Share
}

// Claims remembers which payment rests on which transfer. It has seen the
// whole log.
type Claims interface {
	// Claimed is how much of a transfer other payments than this one rest on.
	Claimed(ctx context.Context, ref onchain.LogRef, except string) (*big.Int, error)
}

// Table is what is carried out, by event type.
func (e *Effects) Table() map[string]effects.Effect {
	return map[string]effects.Effect{
		"bill.note_issued.v1":           e.sendNote,
		"bill.invoice_issued.v1":        e.sendInvoice,
		"bill.note_accepted.v1":         e.sendAcceptance,
		"bill.invoice_accepted.v1":      e.sendAcceptance,
		"bill.note_rejected.v1":         e.sendNotice,
		"bill.invoice_rejected.v1":      e.sendNotice,
		"bill.note_cancelled.v1":        e.sendNotice,
		"bill.invoice_cancelled.v1":     e.sendNotice,
		"wallet.fund_requested.v1":      e.fund,
		"tx.signing_requested.v1":       e.signTx,
		"tx.broadcast_requested.v1":     e.broadcast,
		"payment.signing_requested.v1":  e.signPayment,
		"payment.delivery_requested.v1": e.deliverPayment,
		"payment.claimed.v1":            e.checkClaim,
	}
}

// chainOf finds the network of a payment platform.
func (e *Effects) chainOf(p pay.Platform) (onchain.Chain, error) {
	profile, err := onchain.ParsePlatform(string(p))
	if err != nil {
		return nil, err
	}
	return e.Chains.Chain(profile.ChainID)
}

func (e *Effects) fund(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	f := a.Intent.Data.(wallet.FundRequested)
	addr, err := onchain.ParseAddress(f.Address)
	var text string
	if err == nil {
		text, err = e.Chains.Fund(ctx, f.ChainID, addr)
	}
	answer := wallet.AnswerFund{RequestID: f.RequestID, Text: text}
	if err != nil {
		if ctx.Err() != nil {
			return effects.Outcome{}, ctx.Err()
		}
		answer.Failure = err.Error()
	}
	return effects.Outcome{Order: es.Order{Category: wallet.Category, ID: a.Intent.Stream.Key(), Command: answer}}, nil
}
