package evm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/emet-node/emet/domain/payment/onchain"
)

const (
	maxAnswer   = 10 << 20         // bytes; more is a fault of the endpoint
	askTimeout  = 5 * time.Second  // for one question to one endpoint
	verifyEvery = 5 * time.Minute  // chain id, age of the head
	maxBehind   = 60 * time.Second // of the newest head that any endpoint showed
)

// pauses between rounds over all endpoints.
var pauses = []time.Duration{800 * time.Millisecond, 1200 * time.Millisecond, 2 * time.Second, 2800 * time.Millisecond}

// endpoint is one URL, and what is thought of it.
type endpoint struct {
	host string // how it is named in errors: the rest of a URL may be secret
	rpc  *rpc.Client

	mu       sync.Mutex
	penalty  float64 // grows with failures and slowness, halves with each success
	verified time.Time
	wrong    error // it serves something else; nothing of it is used until verified anew
}

// pool asks endpoints in order of merit.
type pool struct {
	all     []*endpoint
	chainID uint64
	maxAge  time.Duration

	mu     sync.Mutex
	newest time.Time // time of the newest head seen
}

func dial(urls []string) ([]*endpoint, error) {
	var out []*endpoint
	hc := &http.Client{Transport: limited{http.DefaultTransport}}
	for _, u := range urls {
		parsed, err := url.Parse(u)
		if err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
			return nil, fmt.Errorf("chain endpoint %d is no URL of a host: want http:// or https://", len(out)+1)
		}
		c, err := rpc.DialOptions(context.Background(), u, rpc.WithHTTPClient(hc), rpc.WithBatchResponseSizeLimit(maxAnswer))
		if err != nil {
			return nil, fmt.Errorf("chain endpoint %s: %w", parsed.Host, err)
		}
		out = append(out, &endpoint{rpc: c, host: parsed.Host})
	}
	return out, nil
}

// limited cuts answers that are too long.
type limited struct{ next http.RoundTripper }

func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(r)
	if err == nil {
		resp.Body = &limitedBody{ReadCloser: resp.Body, left: maxAnswer}
	}
	return resp, err
}

type limitedBody struct {
	io.ReadCloser
	left int64
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("answer is longer than %d MiB", maxAnswer>>20)
	}
	return n, err
}

// question is put to one endpoint.
type question func(ctx context.Context, c *rpc.Client) error

// ask puts q to one endpoint after the other until one gives a plain answer.
// After each round over all of them it pauses; ctx may end it earlier.
func (p *pool) ask(ctx context.Context, q question) error {
	for round := 0; ; round++ {
		err, hope := p.round(ctx, q)
		if !hope || round == len(pauses) || !wait(ctx, pauses[round]) {
			return err
		}
	}
}

// round asks every endpoint once at most. There is hope when no plain answer
// came, but some endpoint serves the right chain and may answer later.
func (p *pool) round(ctx context.Context, q question) (err error, hope bool) {
	var wrongChain *onchain.WrongChainError
	for _, e := range p.ranked() {
		one := p.askOne(ctx, e, q)
		if !errors.Is(one, onchain.ErrUnavailable) {
			return one, false
		}
		if err == nil || !errors.As(one, &wrongChain) {
			err = one
		}
		hope = hope || !errors.As(one, &wrongChain)
		if ctx.Err() != nil {
			return err, false
		}
	}
	return err, hope
}

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// askOne asks e, after it has shown that it serves the right chain.
func (p *pool) askOne(ctx context.Context, e *endpoint, q question) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	start := time.Now()
	err := p.verify(ctx, e)
	if err == nil {
		err = classify(q(ctx, e.rpc))
	}
	e.judge(time.Since(start), err)
	if err != nil && errors.Is(err, onchain.ErrUnavailable) {
		return fmt.Errorf("%s: %w", e.host, err)
	}
	return err
}

// verify checks chain id and age of the head, once in a while.
func (p *pool) verify(ctx context.Context, e *endpoint) error {
	e.mu.Lock()
	fresh, wrong := time.Since(e.verified) < verifyEvery && !e.verified.IsZero(), e.wrong
	e.mu.Unlock()
	if fresh {
		return wrong
	}
	err := p.inspect(ctx, e)
	var wrongChain *onchain.WrongChainError
	if err != nil && !errors.As(err, &wrongChain) {
		return unavailable(err)
	}
	e.mu.Lock()
	e.verified, e.wrong = time.Now(), err
	e.mu.Unlock()
	return err
}

func (p *pool) inspect(ctx context.Context, e *endpoint) error {
	var id hexutil.Uint64
	if err := e.rpc.CallContext(ctx, &id, "eth_chainId"); err != nil {
		return err
	}
	if uint64(id) != p.chainID {
		return &onchain.WrongChainError{Endpoint: e.host, Want: p.chainID, Got: uint64(id)}
	}
	var head *wireHead
	if err := e.rpc.CallContext(ctx, &head, "eth_getBlockByNumber", "latest", false); err != nil {
		return err
	}
	if head == nil {
		return errors.New("the endpoint has no block")
	}
	return p.inTime(head.head().Time)
}

// inTime refuses a head that is far behind the others, or, where the network
// is known to move by itself, behind the clock. A head in the future counts as
// one of now: it must not make all honest ones look old.
func (p *pool) inTime(head time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); head.After(now) {
		head = now
	}
	if head.After(p.newest) {
		p.newest = head
	}
	if behind := p.newest.Sub(head); behind > maxBehind {
		return fmt.Errorf("its newest block is %v behind that of others", behind)
	}
	if age := time.Since(head); p.maxAge > 0 && age > p.maxAge {
		return fmt.Errorf("its newest block is %v old", age.Round(time.Second))
	}
	return nil
}

// ranked are all endpoints, the best first.
func (p *pool) ranked() []*endpoint {
	score := make(map[*endpoint]float64, len(p.all))
	for _, e := range p.all {
		e.mu.Lock()
		score[e] = e.penalty
		e.mu.Unlock()
	}
	out := slices.Clone(p.all)
	slices.SortStableFunc(out, func(a, b *endpoint) int {
		switch {
		case score[a] < score[b]:
			return -1
		case score[a] > score[b]:
			return 1
		}
		return 0
	})
	return out
}

// judge remembers how it went: a failure weighs as much as ten seconds. Small
// differences of speed are left out, so that a pool stays with one endpoint.
func (e *endpoint) judge(took time.Duration, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.penalty = e.penalty/2 + took.Truncate(500*time.Millisecond).Seconds()
	if errors.Is(err, onchain.ErrUnavailable) && !errors.Is(err, context.Canceled) {
		e.penalty += 10
	}
}
