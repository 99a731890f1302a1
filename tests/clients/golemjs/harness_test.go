package golemjs

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// A client that finds an old node must say so and end, which shows that the
// package is installed, the driver runs and what it prints is read.
func TestTheDriverRunsPublishedGolemJS(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/version/get" && r.Header.Get("Authorization") == "" {
			asked.Add(1)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"current":{"version":"0.15.1","name":"old","seen":true,"releaseTs":"2024-05-01T10:00:00","insertionTs":null,"updateTs":null},"pending":null}`))
	}))
	defer srv.Close()
	began := time.Now()
	report, err := Rent(t.Context(), Node{URL: srv.URL, AppKey: "k"}, Order{ImageURL: "http://x/y", ImageHash: "00"})
	if err == nil {
		t.Fatalf("it took a node that is too old:\n%s", report)
	}
	failed := report.Find("failed")
	if len(failed) != 1 || failed[0].Text("message") == "" || asked.Load() != 1 {
		t.Errorf("asked %d times:\n%s", asked.Load(), report)
	}
	t.Logf("took %v", time.Since(began))
}
