package projections

import (
	"context"

	"github.com/emet-node/emet/domain/es"
)

// Activity answers questions about activities, batches and usage.
type Activity struct{ *DB }

// OpenActivity opens the group in dir ([Memory] = none).
func OpenActivity(ctx context.Context, dir string, log *es.Log) (*Activity, error) {
	return activityOf(ctx, Open, dir, log)
}

// ReadActivity reads the group as another process keeps it. See [OpenReadOnly].
func ReadActivity(ctx context.Context, dir string, log *es.Log) (*Activity, error) {
	return activityOf(ctx, OpenReadOnly, dir, log)
}

func activityOf(ctx context.Context, open opener, dir string, log *es.Log) (*Activity, error) {
	db, err := open(ctx, "activity", in(dir, "activity"), log, activities{}, activityEvents{}, batches{})
	if err != nil {
		return nil, err
	}
	return &Activity{DB: db}, nil
}

// AsOf is the group as it was when the log had pos events. Close it after use.
func (a *Activity) AsOf(ctx context.Context, pos es.Position) (*Activity, error) {
	db, err := a.DB.AsOf(ctx, pos)
	return &Activity{DB: db}, err
}
