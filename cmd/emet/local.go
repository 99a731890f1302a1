package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/cmd/emet/keep"
)

// localOptions say how a local network is set up.
type localOptions struct {
	Dir       string // "" = a temporary one that is removed
	Port      int    // of the REST interface, 0 = any free one
	Providers int
	Level     string    // of its log
	Stderr    io.Writer // gets its log; nil = nobody
	News      func(name, what string)
	Store     string // where its log is; "" = in segments
	GRPC      string // address of its door for EventStoreDB clients; "" = none
	GRPCTLS   bool
}

// localNet is a network in a process of its own, which is started again when
// it is killed.
type localNet struct {
	Client *client.Client
	Door   string // connection string for EventStoreDB clients; "" = none

	keeper *keep.Keeper
	hold   *keep.Hold
	temp   string // directory to be removed
	failed chan error
}

// startLocal starts a network and returns when a client can use it. It runs
// until Stop, though ctx may end: whoever rents there can leave in good order.
func startLocal(ctx context.Context, o localOptions) (n *localNet, err error) {
	n = &localNet{failed: make(chan error, 1)}
	n.keeper = &keep.Keeper{News: o.News, Failed: func(err error) { n.failed <- err }}
	defer func() {
		if err != nil {
			n.Stop()
		}
	}()
	if o.Port != 0 { // said at once, and plainly
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port)))
		if err != nil {
			return n, fmt.Errorf("REST cannot listen on 127.0.0.1:%d: %w; another node may run here, choose another port with --port", o.Port, err)
		}
		_ = l.Close()
	}
	if o.Dir == "" {
		if n.temp, err = os.MkdirTemp("", "emet-dev-"); err != nil {
			return n, err
		}
		o.Dir = n.temp
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return n, err
	}
	if n.hold, err = keep.Take(ctx, o.Dir, "dev", nil); err != nil {
		return n, fmt.Errorf("%w; end it, or name another directory with -d", err)
	}
	n.keeper.Inherit = n.hold.Inherit()
	child, err := n.keeper.Start(ctx, n.process(o))
	if err != nil {
		return n, err
	}
	n.Client, n.Door = clientOf(child), strings.Trim(child.Said()["EMET_GRPC_URL"], "'")
	return n, nil
}

func (n *localNet) process(o localOptions) keep.Process {
	p := keep.Process{Name: "the network", Stderr: o.Stderr}
	if n.temp != "" { // what a killed process leaves goes with all the rest
		p.Env = []string{"TMPDIR=" + n.temp}
	}
	if o.Port == 0 {
		p.Ports = 1
	}
	if o.Store != "" { // it may have a password
		p.Env = append(p.Env, "EMET_STORE_ENGINE="+o.Store)
	}
	host, anyPort := strings.CutSuffix(o.GRPC, ":0")
	if anyPort {
		p.Ports++
	}
	p.Args = func(ports []int) []string {
		port := o.Port
		if port == 0 {
			port = ports[0]
		}
		args := []string{"dev", "--kept", "-d", o.Dir, "--port", strconv.Itoa(port), "--providers", strconv.Itoa(o.Providers), "--log-level", o.Level}
		if n.temp != "" {
			args = append(args, "--temporary")
		}
		if anyPort {
			args = append(args, "--grpc", host+":"+strconv.Itoa(ports[len(ports)-1]))
		} else if o.GRPC != "" {
			args = append(args, "--grpc", o.GRPC)
		}
		if o.GRPCTLS {
			args = append(args, "--grpc-tls")
		}
		return args
	}
	return p
}

// Wait waits until ctx ends, and then for the end of the network; or until the
// network cannot live.
func (n *localNet) Wait(ctx context.Context) error {
	var err error
	select {
	case <-ctx.Done():
	case err = <-n.failed:
	}
	n.Stop()
	return err
}

// Stop ends the network and everything that it started.
func (n *localNet) Stop() {
	n.keeper.Stop()
	if n.hold != nil {
		keep.Sweep(n.hold.Dir())
		_ = n.hold.Close()
	}
	if n.temp != "" {
		_ = os.RemoveAll(n.temp)
	}
}

var errNetworkLost = errors.New("the network of this run does not live")

// Until returns a context that ends with ctx, or when the network cannot live.
func (n *localNet) Until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-ctx.Done():
		case err := <-n.failed:
			cancel(errors.Join(errNetworkLost, err))
		}
	}()
	return ctx, func() { cancel(nil) }
}
