package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/api/gen/node"
)

// healthTime is how long one check may take.
const healthTime = 5 * time.Second

// GetHealth checks that the log and what is read from it work, that the
// caller's payments are not held up, and that the network can be asked about.
func (s nodeAPI) GetHealth(c echo.Context) error {
	ctx := c.Request().Context()
	for _, check := range []func(context.Context) *node.HealthProblem{s.checkLog, s.checkPayments, s.checkNet} {
		within, cancel := context.WithTimeout(ctx, healthTime)
		p := check(within)
		cancel()
		if p != nil && ctx.Err() == nil {
			return &Problem{Status: http.StatusInternalServerError, Text: p.Detail, Body: p}
		}
	}
	return ok(c, node.Health{Status: node.Ok})
}

const internalHealth = "/healthcheck/internal-error"

func internal(step node.HealthProblemStep, kind string, err error) *node.HealthProblem {
	return &node.HealthProblem{Type: internalHealth, Instance: internalHealth + "/" + kind, Step: step, Detail: err.Error()}
}

func (s nodeAPI) checkLog(ctx context.Context) *node.HealthProblem {
	if s.Healthy == nil {
		return nil
	}
	if err := s.Healthy(ctx); err != nil {
		return internal(node.MarketCheck, kindOf(ctx, "market-service-error"), err)
	}
	return nil
}

// checkPayments tells what drivers complain about: no coins for fees, say.
func (s nodeAPI) checkPayments(ctx context.Context) *node.HealthProblem {
	if s.Payment == nil {
		return nil
	}
	health, err := s.Payment.Views.Health(ctx, keyOf(ctx).Identity)
	if err != nil {
		return internal(node.PaymentsCheck, kindOf(ctx, "payment-service-error"), err)
	}
	var problems []string
	for platform, properties := range health {
		if properties != "" && properties != "[]" {
			problems = append(problems, string(platform)+": "+properties)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	const drivers = "/healthcheck/payment-driver-errors"
	return &node.HealthProblem{
		Type: drivers, Instance: drivers, Step: node.PaymentsCheck, Problems: problems, Detail: "payments are held up",
	}
}

func (s nodeAPI) checkNet(ctx context.Context) *node.HealthProblem {
	if _, err := s.Net.NetStatus(ctx, keyOf(ctx).Identity); err != nil {
		return internal(node.RelayCheck, kindOf(ctx, "net-service-error"), err)
	}
	return nil
}

func kindOf(ctx context.Context, kind string) string {
	if ctx.Err() != nil {
		return "internal-timeout"
	}
	return kind
}
