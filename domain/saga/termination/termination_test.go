package termination_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/saga/termination"
)

// fact is what happened to a stream of a story.
type fact struct {
	stream, story string
	data          any
}

// tell lets a new process hear facts; it returns what each one led to, by its
// story, without the position in the keys.
func tell(facts ...fact) (all []string, byStory map[string][]string) {
	p, byStory := termination.Saga.Start(), map[string][]string{}
	for i, f := range facts {
		r := es.Recorded{Data: f.data, Info: es.Meta{Correlation: f.story}}
		r.Stream, r.Position = es.Stream(f.stream), es.Position(i)
		for _, c := range p.Hear(r) {
			all = append(all, fmt.Sprintf("%+v %s", c.Order, c.Meta.Key))
			byStory[f.story] = append(byStory[f.story], fmt.Sprintf("%+v", c.Order))
		}
	}
	return all, byStory
}

func received(id, demand string) fact {
	return fact{"agreement-P-" + id, id, agreement.Received{AgreementID: id, Side: identity.Provider, Terms: agreement.Terms{DemandProperties: demand}}}
}

func created(side identity.Side, id, act string) fact {
	return fact{"activity-" + string(side) + "-" + act, id, activity.Created{ActivityID: act, AgreementID: id, Side: side}}
}

func over(side identity.Side, id, act string) fact {
	return fact{"activity-" + string(side) + "-" + act, id, activity.Terminated{ActivityID: act}}
}

func terminated(side identity.Side, id string) fact {
	return fact{"agreement-" + string(side) + "-" + id, id, agreement.Terminated{AgreementID: id, Side: side}}
}

const multi = `{"golem.srv.caps.multi-activity":true}`

func wants(t *testing.T, want []any, facts ...fact) {
	t.Helper()
	p := termination.Saga.Start()
	var got []any
	for i, f := range facts {
		r := es.Recorded{Data: f.data, Info: es.Meta{Correlation: f.story}}
		r.Stream, r.Position = es.Stream(f.stream), es.Position(i)
		for _, c := range p.Hear(r) {
			got = append(got, c.Category+"-"+c.ID)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("asked for %v, want %v", got, want)
	}
}

func TestTheEndOfAnAgreementEndsItsActivities(t *testing.T) {
	t.Parallel()
	wants(t, []any{"activity-P-2"}, received("a", multi), created("P", "a", "1"), created("P", "a", "2"), over("P", "a", "1"), terminated("P", "a"))
	wants(t, []any{"activity-R-1"}, created("R", "a", "1"), terminated("R", "a"))
	wants(t, nil, received("a", multi), created("P", "a", "1"), terminated("P", "b"), terminated("R", "a"))
}

func TestASingleActivityEndsItsAgreement(t *testing.T) {
	t.Parallel()
	wants(t, []any{"agreement-P-a"}, received("a", `{}`), created("P", "a", "1"), over("P", "a", "1"))
	wants(t, nil, received("a", multi), created("P", "a", "1"), over("P", "a", "1"))
	wants(t, nil, created("R", "a", "1"), over("R", "a", "1")) // that is for the provider to say
}

// It was asked for while the agreement held, and made when it did not any more.
func TestAnActivityMadeAfterTheEndIsEnded(t *testing.T) {
	t.Parallel()
	wants(t, []any{"activity-P-1"}, received("a", `{}`), terminated("P", "a"), created("P", "a", "1"))
	wants(t, []any{"activity-P-1", "activity-P-2"},
		received("a", `{}`), created("P", "a", "1"), terminated("P", "a"), over("P", "a", "1"), created("P", "a", "2"))
}

func TestStoriesDoNotMix(t *testing.T) {
	t.Parallel()
	stories := [][]fact{
		{received("a", multi), created("P", "a", "1"), created("P", "a", "2"), terminated("P", "a"), over("P", "a", "1"), over("P", "a", "2")},
		{received("b", `{}`), created("P", "b", "3"), over("P", "b", "3"), terminated("P", "b")},
		{received("c", `{}`), terminated("P", "c"), created("P", "c", "4")},
	}
	_, want := tell(append(append(append([]fact{}, stories[0]...), stories[1]...), stories[2]...)...)
	for range 200 {
		next, mixed := make([]int, len(stories)), []fact(nil)
		for len(mixed) < 13 {
			i := rand.IntN(len(stories))
			if next[i] < len(stories[i]) {
				mixed = append(mixed, stories[i][next[i]])
				next[i]++
			}
		}
		first, got := tell(mixed...)
		if second, _ := tell(mixed...); !reflect.DeepEqual(first, second) {
			t.Fatal("the same log led to other commands")
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%v\n%v", got, want)
		}
	}
}
