package dev

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emet-node/emet/domain/payment/onchain"
)

// Config says which chains there are, and where.
type Config struct {
	// Listen is host:port of the one listener; empty is a free port of the
	// loopback interface.
	Listen string
	// Dir keeps the blocks. Empty: everything is gone when the process ends.
	Dir string
	// Networks by name; none means all that are known.
	Networks []string
	// FundAccounts find gas coin and GLM on each chain.
	FundAccounts []onchain.Address
}

// Chains are development chains behind one listener. Each starts when it is
// used first.
type Chains struct {
	cfg      Config
	listener net.Listener
	server   *http.Server
	chains   map[string]func() (*Chain, error)

	mu      sync.Mutex
	started []*Chain
	closed  bool
}

// Serve runs chains until ctx ends. ready is told the URL of each network.
func Serve(ctx context.Context, cfg Config, ready func(urls map[string]string)) error {
	s, err := Start(cfg)
	if err != nil {
		return err
	}
	ready(s.URLs())
	<-ctx.Done()
	return s.Close()
}

// Start listens. It returns as soon as the chains can be asked.
func Start(cfg Config) (*Chains, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	s := &Chains{cfg: cfg, chains: map[string]func() (*Chain, error){}}
	if err := s.plan(); err != nil {
		return nil, err
	}
	if cfg.Dir != "" {
		if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("development chains: %w", err)
		}
	}
	var err error
	if s.listener, err = net.Listen("tcp", cfg.Listen); err != nil {
		return nil, fmt.Errorf("development chains: %w", err)
	}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.server.Serve(s.listener) }() // ends with Close
	return s, nil
}

// plan prepares a start for each network.
func (s *Chains) plan() error {
	profiles := onchain.Networks()
	if len(s.cfg.Networks) > 0 {
		profiles = nil
		for _, name := range s.cfg.Networks {
			p, ok := onchain.Network(name)
			if !ok {
				return fmt.Errorf("development chains: network %q is not known", name)
			}
			profiles = append(profiles, p)
		}
	}
	for _, p := range profiles {
		s.chains[p.Network] = sync.OnceValues(func() (*Chain, error) { return s.start(p) })
	}
	return nil
}

func (s *Chains) start(p onchain.Profile) (*Chain, error) {
	c, err := open(p, s.cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := s.keep(c); err != nil {
		return nil, err
	}
	for _, a := range s.cfg.FundAccounts {
		if err := c.fundPoor(context.Background(), a); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// keep remembers c for Close, unless that was already.
func (s *Chains) keep(c *Chain) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.Join(errors.New("development chains are closed"), c.Close())
	}
	s.started = append(s.started, c)
	return nil
}

// Chain is the chain of that network, started if it was not.
func (s *Chains) Chain(network string) (*Chain, error) {
	start, ok := s.chains[network]
	if !ok {
		return nil, fmt.Errorf("no development chain %q, only %s", network, strings.Join(s.names(), ", "))
	}
	return start()
}

// Fund gives an account gas coin and GLM of a network.
func (s *Chains) Fund(ctx context.Context, network string, to onchain.Address) error {
	c, err := s.Chain(network)
	if err != nil {
		return err
	}
	_, err = c.Fund(ctx, to)
	return err
}

// URL is where the network is asked by JSON-RPC.
func (s *Chains) URL(network string) string {
	return "http://" + s.listener.Addr().String() + "/" + network
}

// URLs are all of them, by network.
func (s *Chains) URLs() map[string]string {
	out := map[string]string{}
	for _, n := range s.names() {
		out[n] = s.URL(n)
	}
	return out
}

func (s *Chains) names() (out []string) {
	for n := range s.chains {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

// ServeHTTP hands a question to the chain that the path names. A name of
// another host in the request comes from a web page that was led here; it is
// turned away.
func (s *Chains) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !byAddress(r.Host) {
		http.Error(w, "ask by address, not by name", http.StatusForbidden)
		return
	}
	network := strings.Trim(r.URL.Path, "/")
	if _, ok := s.chains[network]; !ok {
		http.Error(w, "no such chain here, only /"+strings.Join(s.names(), ", /"), http.StatusNotFound)
		return
	}
	c, err := s.Chain(network)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	c.rpc.ServeHTTP(w, r)
}

func byAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return host == "localhost" || net.ParseIP(strings.Trim(host, "[]")) != nil
}

// Close ends all chains.
func (s *Chains) Close() error {
	err := s.server.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.started {
		err = errors.Join(err, c.Close())
	}
	s.started, s.closed = nil, true
	return err
}
