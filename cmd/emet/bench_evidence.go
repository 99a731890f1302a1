package main

import (
	"bytes"
	"context"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/emet-node/emet/adapters/ledger"
	"github.com/emet-node/emet/adapters/ledger/dossier"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/api/client/rent"
	gsb "github.com/emet-node/emet/api/gsb/client"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/verifier"
)

const (
	evidenceRuns   = 16 // of the guest, for more than 100 events
	evidenceRounds = 41
	evidenceEvents = 100 // that a figure is told for
)

// benchEvidence makes a deal between two processes, and measures its dossier:
// what it weighs for 100 events, and how long each verifier takes for it.
func benchEvidence(ctx context.Context, b *bench) error {
	dir := filepath.Join(b.dir, "evidence")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f := newFleet(dir)
	defer f.stop()
	c, err := f.start(ctx, 1)
	if err != nil {
		return err
	}
	id, err := benchDeal(ctx, b, c)
	if err != nil {
		return err
	}
	var (
		built dossier.Built
		file  []byte
	)
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		built, err = benchDossier(ctx, filepath.Join(dir, "requestor"), f.chain, id)
		if err == nil {
			file, err = built.Encode()
		}
		if err == nil {
			err = proved(file)
		}
		if err == nil {
			break
		}
		if time.Now().After(until) { // the last steps are cosigned a moment later
			return err
		}
	}
	b.say("evidence/dossier_kb", float64(len(file))/1024*evidenceEvents/float64(len(built.Events)), "KiB",
		fmt.Sprintf("events=%d", len(built.Events)), fmt.Sprintf("file_kb=%.1f", float64(len(file))/1024))
	return benchVerify(b, file)
}

// benchDeal lets a guest run many times, and pays for it.
func benchDeal(ctx context.Context, b *bench, c *client.Client) (agreement string, err error) {
	program, err := readProgram(b.program)
	if err != nil {
		return "", err
	}
	files := &gsb.Client{URL: c.URL, AppKey: c.Key}
	image, err := files.Publish(ctx, bytes.NewReader(program), int64(len(program)))
	if err != nil {
		return "", err
	}
	defer image.Close() //nolint:errcheck // the nodes end too
	sum := sha3.Sum256(program)
	pool, err := rent.Open(ctx, c, randomID(), rent.Wish{
		Image: "hash:sha3:" + hex.EncodeToString(sum[:]) + ":" + image.URL, Budget: "1", NoteInterval: 2 * time.Minute,
	}, func(rent.News) {})
	if err != nil {
		return "", err
	}
	defer pool.Close()
	m, err := pool.Rent(ctx)
	if err != nil {
		return "", err
	}
	for i := range evidenceRuns {
		if _, err := m.Do(ctx, rent.Run("echo", []string{fmt.Sprint(i)}, nil)); err != nil {
			return "", err
		}
	}
	if err := m.Close(ctx); err != nil {
		return "", err
	}
	settle, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	return m.Agreement(), errors.Join(pool.AwaitInvoices(settle), pool.SettleNow(settle), pool.AwaitSettled(settle))
}

// benchDossier makes the dossier of a node beside which it runs.
func benchDossier(ctx context.Context, dir, chain, id string) (dossier.Built, error) {
	store := filepath.Join(dir, "store")
	signed, err := ledger.Signed(vfs.Files{FS: vfs.OS{}}, store)
	if err != nil {
		return dossier.Built{}, err
	}
	r, err := node.ReadLog(dir)
	if err != nil {
		return dossier.Built{}, err
	}
	defer r.Close() //nolint:errcheck // only read
	name, err := r.LogID(ctx)
	if err != nil {
		return dossier.Built{}, err
	}
	l, err := ledger.OpenReader(ctx, r.Store, vfs.Files{FS: vfs.OS{}}, store, name, signed)
	if err != nil {
		return dossier.Built{}, err
	}
	key, err := r.Secrets.LogKey()
	if err != nil {
		return dossier.Built{}, err
	}
	ask, done, err := node.Inclusion(map[string][]string{"hoodi": {chain}})
	if err != nil {
		return dossier.Built{}, err
	}
	defer done()
	return dossier.Build(ctx, dossier.Source{
		Log: r.Log, Ledger: l, Entry: r.Store.Entry, EventKey: r.Secrets.Vault.EventKey, Inclusion: ask, Sign: signsWith(key),
	}, dossier.Wish{Agreement: id})
}

// proved says what of a dossier is not proved yet.
func proved(file []byte) error {
	d, err := dossier.Parse(file)
	if err != nil {
		return err
	}
	trust, _ := trustIn(d)
	for _, c := range dossier.Verify(file, trust).Claims {
		if c.Verdict != dossier.Proved {
			return fmt.Errorf("%s is %s: %s", c.Claim, c.Verdict, c.Says)
		}
	}
	return nil
}

// benchVerify measures both verifiers in turns.
func benchVerify(b *bench, file []byte) error {
	d, err := dossier.Parse(file)
	if err != nil {
		return err
	}
	trust, second := trustIn(d)
	var first, other []time.Duration
	for range evidenceRounds {
		began := time.Now()
		r := dossier.Verify(file, trust)
		first = append(first, time.Since(began))
		began = time.Now()
		claims, err := verifier.Verify(file, second)
		other = append(other, time.Since(began))
		if err != nil {
			return err
		}
		for i, c := range r.Claims {
			if c.Verdict != dossier.Proved || claims[i].Verdict != verifier.Proved {
				return fmt.Errorf("%s is %s and %s: %s", c.Claim, c.Verdict, claims[i].Verdict, c.Says)
			}
		}
	}
	b.say("evidence/verify_ms", median(first), "ms", fmt.Sprintf("worst=%.1f", ms(quantile(first, 1))))
	b.say("evidence/verify_second_ms", median(other), "ms", fmt.Sprintf("worst=%.1f", ms(quantile(other, 1))),
		fmt.Sprintf("ratio=%.2f", median(other)/median(first)), "of=verify")
	return nil
}

// trustIn trusts the owner of a dossier's log, as a bench may.
func trustIn(d dossier.Dossier) (dossier.Trust, verifier.Trust) {
	owner := dossier.Owner(d)
	return dossier.Trust{Identities: []identity.NodeID{owner}}, verifier.Trust{Identities: []string{string(owner)}}
}
