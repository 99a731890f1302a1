package esdb_test

import (
	"context"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/emet-node/emet/api/esdb"
	"github.com/emet-node/emet/domain/es"
)

// secure opens the door with TLS and returns the connection string for a key.
func secure(t *testing.T, s es.Store, mayRead func(string) bool) func(key string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "grpc")
	c, ca, err := esdb.Certificate(dir, "127.0.0.1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	addr := door(t, esdb.Options{Store: s, TLS: c, MayRead: mayRead})
	return func(key string) string {
		u := url.URL{Scheme: "esdb", Host: addr, RawQuery: "tls=true&tlsCAFile=" + url.QueryEscape(ca)}
		if key != "" {
			u.User = url.UserPassword("auditor", key)
		}
		return u.String()
	}
}

func firstEvent(ctx context.Context, db *client.Client) error {
	r, err := db.ReadAll(ctx, client.ReadAllOptions{From: client.Start{}}, 1)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.Recv()
	return err
}

func TestWithTLSTheKeyOpens(t *testing.T) {
	t.Parallel()
	at := secure(t, history(t), func(secret string) bool { return secret == "k:e/y" })
	if err := firstEvent(t.Context(), connect(t, at("k:e/y"))); err != nil {
		t.Errorf("with the key: %v", err)
	}
	for _, key := range []string{"other", ""} {
		if err := firstEvent(t.Context(), connect(t, at(key))); errorCode(err) != client.ErrorCodeUnauthenticated {
			t.Errorf("with key %q: %v", key, err)
		}
	}
}

func TestARevokedKeyEndsSubscriptions(t *testing.T) {
	t.Parallel()
	var revoked atomic.Bool
	at := secure(t, history(t), func(string) bool { return !revoked.Load() })
	sub, err := connect(t, at("key")).SubscribeToAll(t.Context(), client.SubscribeToAllOptions{From: client.End{}})
	if err != nil {
		t.Fatal(err)
	}
	for sub.Recv().CaughtUp == nil { //nolint:revive // until it is live
	}
	revoked.Store(true)
	begun := time.Now()
	for {
		if d := sub.Recv().SubscriptionDropped; d != nil {
			if status.Code(d.Error) != codes.Unauthenticated {
				t.Errorf("dropped: %v", d.Error)
			}
			break
		}
	}
	if took := time.Since(begun); took > patience {
		t.Errorf("it took %v", took)
	}
}

// A client in plain text sends no key; it is known by its user. One that sends
// a key all the same must send the right one.
func TestInPlainTextAWrongKeyIsRefused(t *testing.T) {
	t.Parallel()
	addr := door(t, esdb.Options{Store: history(t), MayRead: func(secret string) bool { return secret == "right" }})
	c := streams.NewStreamsClient(raw(t, addr))
	for header, want := range map[string]codes.Code{
		"Basic YXVkaXRvcjpyaWdodA==": codes.OK, "Basic YXVkaXRvcjp3cm9uZw==": codes.Unauthenticated, "Bearer right": codes.Unauthenticated, "Basic !": codes.Unauthenticated,
	} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", header)
		call, err := c.Read(ctx, &streams.ReadReq{Options: &streams.ReadReq_Options{
			StreamOption: &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{}}, CountOption: &streams.ReadReq_Options_Count{Count: 1},
			UuidOption: &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_String_{String_: &shared.Empty{}}},
		}})
		if err == nil {
			_, err = call.Recv()
		}
		if status.Code(err) != want {
			t.Errorf("%s: %v", header, err)
		}
	}
}

func TestPlainTextStaysOnTheMachine(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0", "nonsense"} {
		if l, err := esdb.Listen(addr, false); err == nil {
			_ = l.Close()
			t.Errorf("%s: opened", addr)
		}
	}
}

func TestACertificateIsKeptWhileItIsGood(t *testing.T) {
	t.Parallel()
	dir, now := t.TempDir(), time.Now()
	read := func() string {
		b, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	make := func(host string, at time.Time) string {
		if _, _, err := esdb.Certificate(dir, host, at); err != nil {
			t.Fatal(err)
		}
		return read()
	}
	first := make("127.0.0.1", now)
	if make("localhost", now.Add(300*24*time.Hour)) != first {
		t.Error("made anew though it was good")
	}
	second := make("127.0.0.1", now.Add(380*24*time.Hour))
	if second == first {
		t.Error("kept though it was about to end")
	}
	if make("node.example", now.Add(380*24*time.Hour)) == second {
		t.Error("kept though it is for another host")
	}
	if all := make("0.0.0.0", now); make("127.0.0.1", now) != all || make("0.0.0.0", now) != all {
		t.Error("the one for all addresses is not good for one of them")
	}
	info, err := os.Stat(filepath.Join(dir, "key.pem"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info.Mode(), err)
	}
}

// Clients ask for features before they say who they are.
func TestFeaturesNeedNoKey(t *testing.T) {
	t.Parallel()
	c := serverfeatures.NewServerFeaturesClient(raw(t, door(t, esdb.Options{Store: history(t)})))
	m, err := c.GetSupportedMethods(t.Context(), &shared.Empty{}, grpc.WaitForReady(true))
	if err != nil || m.GetEventStoreServerVersion() != "24.10.0" {
		t.Fatalf("%v, %v", m, err)
	}
	for _, x := range m.GetMethods() {
		if x.GetMethodName() == "batchappend" {
			t.Error("a log that is read only announces appends in batches")
		}
	}
}

func TestOnlySoManyAreConnected(t *testing.T) {
	t.Parallel()
	addr := door(t, esdb.Options{Store: history(t)})
	for range 64 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close() //nolint:errcheck // in a test
	}
	over, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer over.Close() //nolint:errcheck // in a test
	_ = over.SetReadDeadline(time.Now().Add(patience))
	if _, err := over.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the 65th connection: %v", err)
	}
}
