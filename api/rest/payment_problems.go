package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	gen "github.com/emet-node/emet/api/gen/payment"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/wallet"
)

const (
	problemBase    = paymentBase + "/allocations"
	validationType = problemBase + "/validation-error"
)

// problemAbout is what every problem of an allocation tells about the request.
type problemAbout struct {
	body              []byte
	platform, address string
}

// answer makes the error of a problem.
func (a problemAbout) answer(status int, b gen.AllocationProblem) error {
	b.RequestBody, b.PaymentPlatform, b.Address = json.RawMessage(a.body), a.platform, a.address
	return &Problem{Status: status, Text: b.Detail, Body: b}
}

func (a problemAbout) invalid(what string, b gen.AllocationProblem) error {
	b.Type, b.Instance = validationType, validationType+"/"+what
	return a.answer(http.StatusBadRequest, b)
}

// of finds the problem for an error of the domain.
func (a problemAbout) of(err error) error {
	var few *wallet.InsufficientFunds
	var passed *allocation.TimeoutPassed
	switch {
	case errors.Is(err, identity.ErrForbidden):
		return err
	case errors.As(err, &few):
		return a.invalid("insufficient-account-funds", gen.AllocationProblem{
			Detail: fmt.Sprintf("Insufficient funds to make allocation for payment platform %s. Requested: %s, available: %s, reserved by other allocations: %s.",
				a.platform, few.Requested, few.Available, few.Reserved),
			RequestedFunds: moneyOf(few.Requested), AvailableFunds: moneyOf(few.Available), ReservedFunds: moneyOf(few.Reserved),
		})
	case errors.As(err, &passed):
		return a.invalid("timeout-passed", gen.AllocationProblem{
			Detail: "The timeout of the allocation is in the past.", RequestedTimeout: dto.At(passed.Requested),
		})
	}
	return a.internal("The allocation could not be made.", err)
}

func (a problemAbout) internal(detail string, err error) error {
	return a.answer(http.StatusInternalServerError, gen.AllocationProblem{
		Type: problemBase + "/internal-error", Detail: detail, InternalError: err.Error(),
	})
}

// unreachable says that the chain could not be asked, or that what answers
// there is another one.
func (a problemAbout) unreachable(network string, err error) error {
	why := ""
	if wrong := (*onchain.WrongChainError)(nil); errors.As(err, &wrong) {
		why = ": " + wrong.Error()
	}
	return a.internal(fmt.Sprintf("The chain of network %s could not be asked what %s holds, so nothing was allocated%s. "+
		"See that this node reaches an RPC endpoint of %s (%s_GETH_ADDR may list some), then try again.",
		network, a.address, why, network, strings.ToUpper(network)), err)
}

// notOurs says that an address is not the caller's.
func (a problemAbout) notOurs(me identity.NodeID) error {
	return a.answer(http.StatusInternalServerError, gen.AllocationProblem{
		Type:   problemBase + "/account-not-registered",
		Detail: fmt.Sprintf("This app-key cannot pay from %s. Its identity is %s: leave the address out, or use a key of that identity.", a.address, me),
	})
}

func (a problemAbout) noDeposits() error {
	return a.invalid("deposit-validation-error", gen.AllocationProblem{
		Detail: "This node does not pay from deposits. Leave the deposit out to pay from the account itself.",
	})
}

// badPlatform says that a platform cannot be read or is not served.
func badPlatform(body []byte, asked json.RawMessage, err error) error {
	return &Problem{Status: http.StatusBadRequest, Text: err.Error(), Body: gen.AllocationProblem{
		Type: problemBase + "/bad-payment-platform", Detail: "The payment platform cannot be used: " + err.Error(),
		RequestBody: json.RawMessage(body), RequestedPaymentPlatform: asked, ParseError: err.Error(),
	}}
}
