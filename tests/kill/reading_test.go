package kill

import (
	"slices"
	"strings"
	"testing"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
)

// A log that is not as clients know it is found out, whatever is wrong.
func TestTheModelFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	ids := []uuid.UUID{{1}, {2}, {3}, {4}}
	for want, change := range map[string]func(*model, []*client.RecordedEvent) []*client.RecordedEvent{
		"": func(_ *model, l []*client.RecordedEvent) []*client.RecordedEvent { return l },
		"is lost": func(_ *model, l []*client.RecordedEvent) []*client.RecordedEvent {
			return l[:1]
		},
		"1 of 2 events": func(_ *model, l []*client.RecordedEvent) []*client.RecordedEvent { return l[:3] },
		"comes after 1": func(_ *model, l []*client.RecordedEvent) []*client.RecordedEvent {
			return slices.Delete(l, 1, 2)
		},
		"is nobody's": func(_ *model, l []*client.RecordedEvent) []*client.RecordedEvent {
			l[2].EventID = uuid.UUID{9}
			return l
		},
		"another content": func(_ *model, l []*client.RecordedEvent) []*client.RecordedEvent {
			l[3].Data = []byte("3")
			return l
		},
		"was refused": func(m *model, l []*client.RecordedEvent) []*client.RecordedEvent {
			m.all[0].outcome = rejected
			return l
		},
		"ends at revision": func(m *model, l []*client.RecordedEvent) []*client.RecordedEvent {
			m.all[1].at++
			return l
		},
		"is the one with number": func(_ *model, l []*client.RecordedEvent) []*client.RecordedEvent {
			again := *l[1]
			again.Position.Commit, again.EventNumber = 5, 3
			return append(l, &again)
		},
	} {
		m := newModel()
		m.begin(&attempt{stream: "kept-1", expected: anyRevision, ids: ids[1:2], data: []string{"1"}, outcome: acked, last: 0, at: 2})
		m.begin(&attempt{stream: "kept-1", expected: 0, ids: ids[2:4], data: []string{"2", "4"}, outcome: acked, last: 2, at: 4})
		var l []*client.RecordedEvent
		for i, data := range []string{"0", "1", "2", "4"} {
			e := &client.RecordedEvent{EventID: ids[i], EventType: typeName, Data: []byte(data), StreamID: "kept-1", EventNumber: uint64(max(0, i-1)), Position: client.Position{Commit: uint64(i) + 1}}
			if i == 0 {
				e.StreamID = "node-1"
			}
			l = append(l, e)
		}
		r := m.read()
		var err error
		for _, e := range change(m, l) {
			if err = r.take(e); err != nil {
				break
			}
		}
		if err == nil {
			err = r.over()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
