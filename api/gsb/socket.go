package gsb

import (
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/emet-node/emet/api/gsb/flex"
)

// Subprotocol is what the WebSocket must speak.
const Subprotocol = "gsb+flexbuffers"

const (
	closeNormal      = websocket.CloseNormalClosure
	closeGoingAway   = websocket.CloseGoingAway
	closeUnsupported = websocket.CloseUnsupportedData
	closePolicy      = websocket.ClosePolicyViolation

	writeStall   = 30 * time.Second
	pingInterval = 15 * time.Second
	silence      = 60 * time.Second
)

// upgrader leaves the question of origin to the server in front of it.
var upgrader = websocket.Upgrader{
	Subprotocols:     []string{Subprotocol},
	HandshakeTimeout: 10 * time.Second,
	CheckOrigin:      func(*http.Request) bool { return true },
}

// Connect upgrades a request to the WebSocket of a service and serves it until
// it ends. The socket replaces an earlier one of the same service. Before the
// upgrade it returns [ErrNoService] without having written anything; an upgrade
// that fails has answered the request itself.
func (b *Bridge) Connect(o Owner, id string, w http.ResponseWriter, r *http.Request) error {
	s, err := b.owned(o, id)
	if err != nil {
		return err
	}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		b.log.Debug("upgrade refused", "service", s.on, "error", err)
		return nil
	}
	k := &socket{conn: conn, kick: make(chan struct{}, 1), done: make(chan struct{})}
	old, err := s.attach(k)
	if err != nil {
		k.close(closeNormal, "service was unbound")
		return nil
	}
	if old != nil {
		old.close(closePolicy, "another connection took over")
	}
	var writer sync.WaitGroup
	writer.Go(func() { k.write(s) })
	k.read(s)
	s.detach(k)
	k.close(closeNormal, "")
	writer.Wait()
	return nil
}

// socket is one WebSocket of a service: one goroutine reads, one writes.
type socket struct {
	conn *websocket.Conn
	kick chan struct{} // there is something to write
	done chan struct{}
	once sync.Once
}

func (k *socket) wake() {
	select {
	case k.kick <- struct{}{}:
	default:
	}
}

func (k *socket) close(code int, why string) {
	k.once.Do(func() {
		close(k.done)
		frame := websocket.FormatCloseMessage(code, why)
		_ = k.conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(time.Second))
		_ = k.conn.Close()
	})
}

// write sends waiting requests, and pings while there are none.
func (k *socket) write(s *service) {
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		for c := s.next(k); c != nil; c = s.next(k) {
			_ = k.conn.SetWriteDeadline(time.Now().Add(writeStall))
			if k.conn.WriteMessage(websocket.BinaryMessage, c.frame) != nil {
				k.close(closePolicy, "too slow")
				return
			}
		}
		select {
		case <-k.done:
			return
		case <-k.kick:
		case <-ping.C:
			if k.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeStall)) != nil {
				k.close(closePolicy, "too slow")
				return
			}
		}
	}
}

// read takes answers until the client goes away or misbehaves.
func (k *socket) read(s *service) {
	alive := func() { _ = k.conn.SetReadDeadline(time.Now().Add(silence)) }
	k.conn.SetReadLimit(MaxFrameBytes)
	k.conn.SetPongHandler(func(string) error { alive(); return nil })
	for {
		alive()
		typ, frame, err := k.conn.ReadMessage()
		if err != nil {
			return
		}
		if typ != websocket.BinaryMessage {
			k.close(closeUnsupported, "only binary frames are understood")
			return
		}
		id, a, ok := parseAnswer(frame)
		if !ok {
			k.close(closePolicy, "want a map with id and payload or error")
			return
		}
		s.resolve(k, id, a)
	}
}

// parseAnswer reads {id, payload} or {id, error}.
func parseAnswer(frame []byte) (id string, a answer, ok bool) {
	v, err := flex.Unmarshal(frame)
	if err != nil {
		return "", a, false
	}
	m, _ := v.(map[string]any)
	id, ok = m["id"].(string)
	if !ok {
		return "", a, false
	}
	if e, has := m["error"]; has && e != nil {
		return id, answer{err: &Refused{Value: e}}, true
	}
	payload, has := m["payload"]
	return id, answer{payload: payload}, has
}
