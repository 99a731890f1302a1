package evm_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/chain/evm"
	"github.com/emet-node/emet/domain/payment/onchain"
)

// answers maps a method to the JSON of its result, or to "!" and the JSON of
// its error.
type answers map[string]string

// honest are the answers of an endpoint of hoodi.
func honest(more answers) answers {
	out := answers{
		"eth_chainId":          `"0x88bb0"`,
		"eth_getBlockByNumber": headAt(time.Now()),
		"eth_getCode":          `"0x60"`,
		"eth_call":             word("12"),
	}
	for k, v := range more {
		out[k] = v
	}
	return out
}

func word(hex string) string { return `"0x` + strings.Repeat("0", 64-len(hex)) + hex + `"` }

func headAt(at time.Time) string {
	zero := "0x" + strings.Repeat("00", 32)
	return fmt.Sprintf(`{"hash":"%s","parentHash":"%s","number":"0x10","timestamp":"0x%x","baseFeePerGas":"0x7"}`,
		strings.Replace(zero, "0x00", "0x01", 1), zero, at.Unix())
}

type question struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
}

// endpoint serves answers, and counts the questions.
func endpoint(t *testing.T, says answers) (url string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		var q question
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		result, known := says[q.Method]
		switch failure, failed := strings.CutPrefix(result, "!"); {
		case !known:
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"the method %s does not exist"}}`, q.ID, q.Method)
		case failed:
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":%s}`, q.ID, failure)
		default:
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, q.ID, result)
		}
	}), asked
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func open(t *testing.T, urls ...string) *evm.Client {
	t.Helper()
	return openWith(t, evm.Config{Profile: network(t, "hoodi"), URLs: urls})
}

func openWith(t *testing.T, cfg evm.Config) *evm.Client {
	t.Helper()
	c, err := evm.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// soon is a context that does not wait for all pauses between rounds.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func TestAnEndpointOfAnotherChainIsNotUsed(t *testing.T) {
	t.Parallel()
	wrong, _ := endpoint(t, honest(answers{"eth_chainId": `"0x89"`, "eth_getBalance": `"0x7"`}))
	var bad *onchain.WrongChainError
	_, err := open(t, wrong).NativeBalance(context.Background(), one)
	if !errors.As(err, &bad) || bad.Want != 560048 || bad.Got != 137 || "http://"+bad.Endpoint != wrong {
		t.Errorf("error %v, want a wrong chain", err)
	}
	if !errors.Is(err, onchain.ErrUnavailable) {
		t.Error("a wrong endpoint decides something about the chain that was meant")
	}
	right, _ := endpoint(t, honest(answers{"eth_getBalance": `"0x5"`}))
	if n, err := open(t, wrong, right).NativeBalance(context.Background(), one); err != nil || n.Int64() != 5 {
		t.Errorf("balance %v, %v; want 5", n, err)
	}
}

func TestEndpointsThatFailAreReplaced(t *testing.T) {
	t.Parallel()
	for what, h := range map[string]http.HandlerFunc{
		"down":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"429":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"HTML":      func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"truncated": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"jsonrpc":"2.0","id":1,"res`) },
		"endless": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":"`)
			for range 11 << 4 {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		},
		"stalled": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the client has gone
			<-r.Context().Done()
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			good, _ := endpoint(t, honest(answers{"eth_getBalance": `"0x5"`}))
			c := open(t, serve(t, h), good)
			begin := time.Now()
			for range 2 { // the second time the better endpoint comes first
				n, err := c.NativeBalance(context.Background(), one)
				if err != nil || n.Int64() != 5 {
					t.Errorf("balance %v, %v; want 5", n, err)
				}
			}
			if took := time.Since(begin); took > time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestAnEndpointThatLagsIsReplaced(t *testing.T) {
	t.Parallel()
	late, _ := endpoint(t, honest(answers{"eth_getBlockByNumber": headAt(time.Now().Add(-time.Hour)), "eth_getBalance": `"0x1"`}))
	good, _ := endpoint(t, honest(answers{"eth_getBalance": `"0x5"`}))
	c := open(t, good, late)
	if n, err := c.NativeBalance(context.Background(), one); err != nil || n.Int64() != 5 {
		t.Errorf("balance %v, %v; want 5", n, err)
	}
	c = openWith(t, evm.Config{Profile: network(t, "hoodi"), URLs: []string{late}, MaxHeadAge: time.Minute})
	if _, err := c.NativeBalance(soon(t), one); !errors.Is(err, onchain.ErrUnavailable) {
		t.Errorf("an old head: %v", err)
	}
	c = open(t, late) // a chain that rests
	if n, err := c.NativeBalance(context.Background(), one); err != nil || n.Int64() != 1 {
		t.Errorf("balance %v, %v; want 1", n, err)
	}
}

func TestSilenceIsNotAbsence(t *testing.T) {
	t.Parallel()
	for what, answer := range map[string]string{
		"indexing":       `!{"code":-32000,"message":"transaction indexing is in progress"}`,
		"limit":          `!{"code":-32005,"message":"limit exceeded"}`,
		"internal":       `!{"code":-32603,"message":"internal error"}`,
		"another one":    `{"transactionHash":"0x` + strings.Repeat("22", 32) + `","blockHash":"0x` + strings.Repeat("11", 32) + `","status":"0x1"}`,
		"without status": `{"transactionHash":"0x` + strings.Repeat("00", 32) + `","blockHash":"0x` + strings.Repeat("11", 32) + `"}`,
		"no object":      `"yes"`,
	} {
		url, _ := endpoint(t, honest(answers{"eth_getTransactionReceipt": answer}))
		if r, err := open(t, url).Receipt(soon(t), onchain.Hash{}); !errors.Is(err, onchain.ErrUnavailable) || r != nil {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
	}
	url, _ := endpoint(t, honest(answers{"eth_getTransactionReceipt": `null`}))
	if r, err := open(t, url).Receipt(context.Background(), onchain.Hash{}); err != nil || r != nil {
		t.Errorf("absence: %+v, %v", r, err)
	}
}

func TestWhatNodesSayAboutTransactions(t *testing.T) {
	t.Parallel()
	u, err := buildTransfer(network(t, "hoodi"), one, []onchain.Payment{{To: receiver, Amount: glm}}, 7, 80_000, onchain.Fees{MaxFee: 2, Tip: 1})
	if err != nil {
		t.Fatal(err)
	}
	raw, hash, err := u.Assemble(sign(t, u.Digest))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]error{
		"already known":                                                                onchain.ErrAlreadyKnown,
		"replacement transaction underpriced":                                          onchain.ErrUnderpriced,
		"transaction underpriced: tip needed 1, tip permitted 0":                       onchain.ErrUnderpriced,
		"max fee per gas less than block base fee: address 0x":                         onchain.ErrUnderpriced,
		"nonce too low: next nonce 9, tx nonce 8":                                      onchain.ErrNonceTooLow,
		"insufficient funds for gas * price + value: balance 0, tx cost 5, overshot 5": onchain.ErrInsufficientFunds,
	} {
		url, _ := endpoint(t, honest(answers{"eth_sendRawTransaction": `!{"code":-32000,"message":"` + text + `"}`}))
		got, err := open(t, url).Send(context.Background(), raw)
		if !errors.Is(err, want) || errors.Is(err, onchain.ErrUnavailable) || got != hash {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
	// Not all nodes give them the code of geth, nor its words.
	for answer, want := range map[string]error{
		`!{"code":-32603,"message":"already known"}`:                                                 onchain.ErrAlreadyKnown,
		`!{"code":-32010,"message":"AlreadyKnown"}`:                                                  onchain.ErrAlreadyKnown,
		`!{"code":-32010,"message":"Transaction with the same hash was already imported."}`:          onchain.ErrAlreadyKnown,
		`!{"code":-32010,"message":"OldNonce, Current nonce: 9, nonce of rejected tx: 8"}`:           onchain.ErrNonceTooLow,
		`!{"code":-32603,"message":"Transaction nonce is too low. Try incrementing the nonce."}`:     onchain.ErrNonceTooLow,
		`!{"code":-32603,"message":"insufficient funds for gas * price + value: balance 0, cost 5"}`: onchain.ErrInsufficientFunds,
	} {
		url, _ := endpoint(t, honest(answers{"eth_sendRawTransaction": answer}))
		if got, err := open(t, url).Send(context.Background(), raw); !errors.Is(err, want) || errors.Is(err, onchain.ErrUnavailable) || got != hash {
			t.Errorf("%s: %v, %v; want %v", answer, got, err, want)
		}
	}
	url, asked := endpoint(t, honest(answers{"eth_sendRawTransaction": `!{"code":-32000,"message":"invalid sender"}`}))
	var rejected *onchain.RejectedError
	if _, err := open(t, url).Send(context.Background(), raw); !errors.As(err, &rejected) || rejected.Text != "invalid sender" {
		t.Errorf("invalid sender: %v", err)
	}
	if n := asked.Load(); n > 7 {
		t.Errorf("%d questions: a plain refusal was asked again", n)
	}
}

func TestATokenThatIsNotGLMIsRefused(t *testing.T) {
	t.Parallel()
	for what, bad := range map[string]answers{
		"no code":     {"eth_getCode": `"0x"`},
		"6 decimals":  {"eth_call": word("6")},
		"no decimals": {"eth_call": `"0x"`},
		"reverts":     {"eth_call": `!{"code":3,"message":"execution reverted","data":"0x"}`},
	} {
		url, _ := endpoint(t, honest(bad))
		c := open(t, url)
		var wrong *evm.ContractError
		if err := c.Check(context.Background()); !errors.As(err, &wrong) || wrong.Network != "hoodi" {
			t.Errorf("%s: %v", what, err)
		}
		u := transferOn(t, "hoodi")
		raw, _, err := u.Assemble(sign(t, u.Digest))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Send(context.Background(), raw); !errors.As(err, &wrong) {
			t.Errorf("%s: sent in spite of it: %v", what, err)
		}
	}
	url, _ := endpoint(t, honest(nil))
	if err := open(t, url).Check(context.Background()); err != nil {
		t.Errorf("the right token: %v", err)
	}
}

func transferOn(t *testing.T, name string) evm.Unsigned {
	t.Helper()
	u, err := buildTransfer(network(t, name), one, []onchain.Payment{{To: receiver, Amount: glm}}, 0, 80_000, onchain.Fees{MaxFee: 2, Tip: 1})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestATransactionForAnotherChainStaysHere(t *testing.T) {
	t.Parallel()
	url, asked := endpoint(t, honest(nil))
	u := transferOn(t, "holesky")
	raw, _, err := u.Assemble(sign(t, u.Digest))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, url).Send(context.Background(), raw); err == nil || asked.Load() > 0 {
		t.Errorf("error %v after %d questions; want none asked", err, asked.Load())
	}
}

func TestFeesStayWithinTheProfile(t *testing.T) {
	t.Parallel()
	p := network(t, "hoodi")
	estimate := func(base, tip string) onchain.Estimate {
		t.Helper()
		url, _ := endpoint(t, honest(answers{
			"eth_estimateGas": `"0xc350"`, "eth_getBalance": `"0xde0b6b3a7640000"`,
			"eth_feeHistory": `{"baseFeePerGas":["0x1","` + base + `"],"reward":[["` + tip + `"]]}`,
		}))
		e, err := open(t, url).Estimate(context.Background(), onchain.Call{From: one, To: receiver})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := estimate("0x3b9aca00", "0x0"); e.Gas != 80_000 || e.Fees != (onchain.Fees{MaxFee: 2*gwei + p.Tip, Tip: p.Tip}) {
		t.Errorf("quiet: %+v", e)
	}
	if e := estimate("0xffffffffffff", "0xffffffffffffff"); e.Fees.MaxFee != p.MaxFee || e.Fees.Tip > p.MaxFee/10 {
		t.Errorf("greedy: %+v", e)
	}
}

func TestMissingTokensHaveAName(t *testing.T) {
	t.Parallel()
	reason := "08c379a0" + strings.Repeat("0", 62) + "20" + strings.Repeat("0", 62) + "26" +
		fmt.Sprintf("%x", "ERC20: transfer amount exceeds balance") + strings.Repeat("0", 52)
	for _, data := range []string{"0x" + reason, "0xe450d38c"} {
		url, _ := endpoint(t, honest(answers{"eth_estimateGas": `!{"code":3,"message":"execution reverted","data":"` + data + `"}`}))
		_, err := open(t, url).Estimate(context.Background(), onchain.Call{From: one, To: receiver})
		var reverted *onchain.RevertError
		if !errors.Is(err, onchain.ErrInsufficientToken) || !errors.As(err, &reverted) {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func TestFinalityFallsBackToDepth(t *testing.T) {
	t.Parallel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			question
			Params []any `json:"params"`
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		answer := honest(nil)[q.Method]
		if q.Method == "eth_getBlockByNumber" {
			switch q.Params[0] {
			case "finalized":
				fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-39001,"message":"finalized block not found"}}`, q.ID)
				return
			case "0x0":
				answer = strings.Replace(answer, `"0x10"`, `"0x0"`, 1)
			}
		}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, q.ID, answer)
	})
	if h, err := open(t, url).Finalised(context.Background()); err != nil || h.Number != 0 {
		t.Errorf("finalised %+v, %v; want 0: head 16 is less deep than %d", h, err, network(t, "hoodi").FinalDepth)
	}
}

func TestErrorsDoNotTellAccessKeys(t *testing.T) {
	t.Parallel()
	wrong, _ := endpoint(t, honest(answers{"eth_chainId": `"0x89"`}))
	for _, url := range []string{wrong, serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }), "http://127.0.0.1:1"} {
		_, err := open(t, url+"/v3/canary?key=canary").Head(soon(t))
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("error %v", err)
		}
	}
	if _, err := evm.Open(evm.Config{Profile: network(t, "hoodi"), URLs: []string{"canary://canary"}}); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a bad URL: %v", err)
	}
}

func TestGivingIsForDevelopmentChains(t *testing.T) {
	t.Parallel()
	url, _ := endpoint(t, honest(nil))
	if err := open(t, url).Fund(context.Background(), one); err == nil || errors.Is(err, onchain.ErrUnavailable) {
		t.Errorf("error %v, want a refusal", err)
	}
}
