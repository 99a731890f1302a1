package libp2p

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	lpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/emet-node/emet/domain/identity"
)

const (
	maxRemembered = 256 // hosts in the file, those that were met last
	maxVisited    = 16  // of them are dialled at start
	saveEvery     = 20 * time.Millisecond
)

// remembered is what the file holds: where nodes that proved themselves were
// last. A node that starts again finds its partners without asking anybody.
type remembered struct {
	Hosts []rememberedHost `json:"hosts"`
}

type rememberedHost struct {
	hostAddrs
	Nodes []identity.NodeID `json:"nodes"`
}

// recall reads the file. One that is missing or cannot be read is as good as
// none.
func (n *Net) recall() []lpeer.AddrInfo {
	if n.cfg.File == "" {
		return nil
	}
	text, err := os.ReadFile(n.cfg.File)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			n.cfg.Log.Warn("the addresses of other nodes cannot be read", "error", err)
		}
		return nil
	}
	var r remembered
	if err := json.Unmarshal(text, &r); err != nil {
		n.cfg.Log.Warn("the addresses of other nodes cannot be read", "file", n.cfg.File, "error", err)
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []lpeer.AddrInfo
	for _, h := range r.Hosts[:min(len(r.Hosts), maxRemembered)] {
		id, err := lpeer.Decode(h.Host)
		addrs := parseAddrs(h.Addrs[:min(len(h.Addrs), maxAddrs)])
		if err != nil || len(addrs) == 0 || id == n.host.ID() {
			continue
		}
		n.known.addresses(id, addrs)
		for _, node := range h.Nodes[:min(len(h.Nodes), maxNodes)] {
			n.known.kept(node, id)
		}
		out = append(out, lpeer.AddrInfo{ID: id, Addrs: addrs})
	}
	return out
}

// revisit dials some of the hosts that were known before.
func (n *Net) revisit(hosts []lpeer.AddrInfo) {
	for _, h := range hosts[:min(len(hosts), maxVisited)] {
		n.spawn(func() {
			if err := n.dial(n.ctx, h); err != nil {
				n.cfg.Log.Debug("a host of before was not reached", "host", h.ID, "error", err)
			}
		})
	}
}

// remember keeps the file up to date until Close.
func (n *Net) remember() {
	for n.ctx.Err() == nil {
		select {
		case <-n.learnt:
			n.save()
		case <-n.ctx.Done():
			return
		}
		n.pause(saveEvery)
	}
}

// keeping is how far the file has come.
type keeping struct {
	asked  atomic.Int64 // calls of save
	mu     sync.Mutex
	done   int64  // of them, those whose news the file was made of
	text   string // of the file
	writes int
}

// save returns when the file holds what was known at the call. Of all that wait
// while it is written, one writes it for all.
func (n *Net) save() {
	if n.cfg.File == "" {
		return
	}
	k := &n.keeping
	mine := k.asked.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.done >= mine {
		return
	}
	k.done = k.asked.Load() // before it is looked at what is known
	text := n.memory()
	if text == k.text {
		return
	}
	k.writes++
	if err := writeFile(n.cfg.File, text); err != nil {
		n.cfg.Log.Warn("the addresses of other nodes cannot be kept", "error", err)
		return
	}
	k.text = text
}

// changed says that there is something to remember.
func (n *Net) changed() {
	select {
	case n.learnt <- struct{}{}:
	default:
	}
}

// memory is the text of the file.
func (n *Net) memory() string {
	n.mu.Lock()
	var met []identity.NodeID
	for id, p := range n.known.nodes {
		if (p.proved || p.kept) && len(n.known.addrs[p.host]) > 0 {
			met = append(met, id)
		}
	}
	slices.SortFunc(met, func(a, b identity.NodeID) int { // whoever was met last comes first
		return cmp.Or(cmp.Compare(n.known.nodes[b].met, n.known.nodes[a].met), cmp.Compare(a, b))
	})
	nodes := make(map[lpeer.ID][]identity.NodeID)
	for _, id := range met {
		if host := n.known.nodes[id].host; len(nodes) < maxRemembered || nodes[host] != nil {
			nodes[host] = append(nodes[host], id)
		}
	}
	r := remembered{Hosts: []rememberedHost{}}
	for _, host := range slices.Sorted(maps.Keys(nodes)) {
		slices.Sort(nodes[host])
		r.Hosts = append(r.Hosts, rememberedHost{hostAddrs: addrsOf(lpeer.AddrInfo{ID: host, Addrs: n.known.addrs[host]}), Nodes: nodes[host]})
	}
	n.mu.Unlock()
	text, err := json.Marshal(r)
	if err != nil {
		return "" // texts only
	}
	return string(text)
}

func writeFile(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = f.Sync() // a power cut must not leave an empty file
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
