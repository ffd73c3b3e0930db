package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.uber.org/zap"

	"github.com/shardline/shardline/cmd/shardline/config"
	"github.com/shardline/shardline/consumers"
)

// services is how destinations and dead letter queues reach AWS: with
// Shardline's own credentials, or with a role of their own.
type services struct {
	base        aws.Config
	application string // default session name of the roles
	metrics     *consumers.Metrics
	logger      *zap.Logger
	// refresh keeps the credentials of a role fresh for as long as clients may
	// call.
	refresh func(run func(context.Context) error)
}

// config is what clients are made of. Of names the user in metrics and logs, as
// in "destination/NAME"; region empty: the configuration's own; role nil:
// Shardline's own credentials.
func (s *services) config(of, region string, r *config.Role) aws.Config {
	c, credentials := consumers.Assume(consumers.AssumeConfig{Name: of, Region: region, Role: role(r),
		Application: s.application, Base: s.base, Metrics: s.metrics, Logger: s.logger})
	if credentials != nil {
		s.refresh(credentials.Run)
	}
	return c
}

// scoped is s for one user of it: end ends the refreshing of its credentials,
// and of nobody else's.
func (s *services) scoped() (own *services, end func()) {
	life, end := context.WithCancel(context.Background())
	copied := *s
	copied.refresh = func(run func(context.Context) error) {
		s.refresh(func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(life, cancel)()
			return run(ctx)
		})
	}
	return &copied, end
}
