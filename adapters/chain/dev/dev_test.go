package dev_test

import (
	"context"
	"math/big"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/chain/dev"
	"github.com/emet-node/emet/domain/payment/onchain"
)

func start(t *testing.T, cfg dev.Config) *dev.Chains {
	t.Helper()
	s, err := dev.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestAChainStartsFastAndFunds(t *testing.T) {
	s := start(t, dev.Config{Networks: []string{"hoodi"}})
	begin := time.Now()
	c, err := s.Chain("hoodi")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready after %v", time.Since(begin))
	begin = time.Now()
	if _, err := c.Fund(context.Background(), onchain.MustAddress("0x2b5ad5c4795c026514f8317c7a215e218dccd6cf")); err != nil {
		t.Fatal(err)
	}
	t.Logf("funded after %v", time.Since(begin))
	_ = big.NewInt
}
