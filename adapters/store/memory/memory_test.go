package memory_test

import (
	"testing"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/adapters/store/storetest"
	"github.com/emet-node/emet/domain/es"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(testing.TB) es.Store { return memory.New() })
}
