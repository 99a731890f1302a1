package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/payment/onchain"
)

func TestAllocationProblemsAreTold(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.allocate("4")
	w.trace.Reset()
	for _, body := range []string{
		`{"totalAmount":"7"}`,
		`{"totalAmount":"1","timeout":"2020-01-01T00:00:00Z"}`,
		`{"totalAmount":"1","paymentPlatform":"erc20-rinkeby-tglm"}`,
		`{"totalAmount":"1","paymentPlatform":{"network":"amoy"}}`,
		`{"totalAmount":"1","address":"0x00000000000000000000000000000000000000ff"}`,
		`{"totalAmount":"1","deposit":{"id":"0x1","contract":"0x2"}}`,
		`{"totalAmount":"-1"}`,
		`{"totalAmount":"0.0000000000000000001"}`,
		`{"totalAmount":"x"}`,
		`{}`,
	} {
		w.as("alice", "POST", "/allocations", body)
	}
	w.as("alice", "PUT", "/allocations/"+id, `{"totalAmount":"11"}`)
	w.as("alice", "PUT", "/allocations/"+id, `{"timeout":"2020-01-01T00:00:00Z"}`)
	w.as("alice", "PUT", "/allocations/"+id, `{"deposit":{"validate":{}}}`)
	w.as("alice", "PUT", "/allocations/"+id, `{"totalAmount":"10"}`)
	w.as("alice", "PUT", "/allocations/unknown", `{"totalAmount":"10"}`)
	w.as("bob", "GET", "/allocations/"+id, "")
	w.as("bob", "DELETE", "/allocations/"+id, "")
	w.as("alice", "GET", "/demandDecorations?allocationIds=unknown", "")
	w.as("alice", "GET", "/demandDecorations?allocationIds="+id+"&allocationIds="+id, "")
	w.as("alice", "GET", "/demandDecorations", "")
	w.golden("problems.golden")
}

func TestAChainThatDoesNotAnswerIsNamed(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	w.chain = errors.New("dial tcp: connection refused")
	got := w.as("alice", "POST", "/allocations", `{"totalAmount":"1"}`)
	w.want(got, 500, `"type":"/payment-api/v1/allocations/internal-error"`, "network hoodi", "HOODI_GETH_ADDR", "connection refused")
	if ct := got.header.Get("Content-Type"); ct != "application/problem+json" {
		t.Error(ct)
	}
	w.chain = fmt.Errorf("rpc: %w", &onchain.WrongChainError{Endpoint: "rpc.example", Want: 560048, Got: 17000})
	w.want(w.as("alice", "POST", "/allocations", `{"totalAmount":"1"}`), 500, `nothing was allocated: endpoint rpc.example serves chain 17000, but chain 560048 is wanted`)
	w.want(w.as("alice", "GET", "/allocations", ""), 200, "[]")
}

func TestDevelopersMayAllocateWhatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newTill(t, func(d *PaymentDeps) { d.SkipValidation = true })
	w.chain = errors.New("no chain")
	w.want(w.as("alice", "POST", "/allocations", `{"totalAmount":"1000"}`), 201, `"totalAmount":"1000"`)
}

func TestPlatformsAreReadInAllForms(t *testing.T) {
	t.Parallel()
	d := &PaymentDeps{DefaultNetwork: "hoodi"}
	for _, name := range []string{"hoodi", "holesky", "polygon"} {
		p, _ := onchain.Network(name)
		d.Networks = append(d.Networks, p)
	}
	for in, want := range map[string]string{
		``: "erc20-hoodi-tglm", `null`: "erc20-hoodi-tglm", `{}`: "erc20-hoodi-tglm", `{"token":"glm"}`: "erc20-polygon-glm",
		`{"token":"tglm"}`: "erc20-hoodi-tglm", `{"network":"holesky"}`: "erc20-holesky-tglm", `"erc20-holesky-tglm"`: "erc20-holesky-tglm",
		`{"driver":"erc20","network":"polygon","token":"glm"}`: "erc20-polygon-glm", ` {"network":null} `: "erc20-hoodi-tglm",
	} {
		if p, err := d.platform(json.RawMessage(in)); err != nil || p.Platform() != want {
			t.Errorf("%s read as %s, %v", in, p.Platform(), err)
		}
	}
	for _, in := range []string{
		`"erc20-hoodi-tGLM"`, `{"token":"GLM"}`, `{"network":"polygon","token":"tglm"}`, `{"driver":"zksync"}`, `"erc20-mainnet-glm"`, `"dummy-glm"`,
		`7`, `[]`, `{"network":1}`,
	} {
		if p, err := d.platform(json.RawMessage(in)); err == nil {
			t.Errorf("%s was taken for %s", in, p.Platform())
		}
	}
}

func TestAddressesKeepTheirSpelling(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	spelled := "0x00000000000000000000000000000000000000A1"
	w.want(w.as("alice", "POST", "/allocations", `{"totalAmount":"5e-7","address":"`+spelled+`"}`), 201, spelled, `"totalAmount":"0.0000005"`)
}

func TestSeveralAllocationsMakeOneClause(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	var ids []string
	for _, platform := range []string{"erc20-hoodi-tglm", "erc20-holesky-tglm", "erc20-hoodi-tglm"} {
		body := w.want(w.as("alice", "POST", "/allocations", `{"totalAmount":"1","paymentPlatform":"`+platform+`"}`), 201)
		ids = append(ids, someIDs.FindString(body))
	}
	w.want(w.as("alice", "GET", "/demandDecorations?allocationIds="+strings.Join(ids, ","), ""), 200,
		`"(|\n  (golem.com.payment.platform.erc20-hoodi-tglm.address=*)\n  (golem.com.payment.platform.erc20-holesky-tglm.address=*)\n)"`)
}

func TestTheSameRequestAllocatesOnce(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	first := w.as("alice", "POST", "/allocations", `{"totalAmount":"3"}`, "Idempotency-Key: k").body
	if second := w.as("alice", "POST", "/allocations", `{"totalAmount":"3"}`, "Idempotency-Key: k"); second.status != 201 || second.body != first {
		t.Fatalf("%d %s, first %s", second.status, second.body, first)
	}
}

// A client that goes releases its allocation while it still accepts the last
// invoice.
func TestAReleaseWaitsForTheAcceptanceBeforeIt(t *testing.T) {
	t.Parallel()
	w := newTill(t)
	id := w.allocate("2")
	w.receiveInvoice("invoice-1", "1.5")
	inside, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.mu.Lock()
	w.slow = func() { once.Do(func() { close(inside); <-goOn }) }
	w.mu.Unlock()
	accepted, released := make(chan answered, 1), make(chan answered, 1)
	send := func(to chan answered, method, path, body string) {
		to <- ask(t, w.url, method, paymentBase+path, body, asAlice, "Content-Type: application/json")
	}
	go send(accepted, "POST", "/invoices/invoice-1/accept", `{"totalAmountAccepted":"1.5","allocationId":"`+id+`"}`)
	<-inside
	go send(released, "DELETE", "/allocations/"+id, "")
	select {
	case r := <-released:
		t.Fatalf("the release went before: %d %s", r.status, r.body)
	case <-time.After(100 * time.Millisecond):
	}
	close(goOn)
	if a := <-accepted; a.status != 200 || a.body != "null" {
		t.Fatalf("accept: %d %s", a.status, a.body)
	}
	if r := <-released; r.status != 200 || r.body != "null" {
		t.Fatalf("release: %d %s", r.status, r.body)
	}
	w.want(w.as("alice", "GET", "/invoices/invoice-1", ""), 200, `"status":"ACCEPTED"`)
}
