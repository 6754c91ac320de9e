package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/migrations"
)

// partitionsEvery is how often partitions are made and dropped. They are made days
// ahead, so that many failures in a row harm nobody.
const partitionsEvery = time.Hour

// partitionsSoon is how much time of partitions ahead the doctor wants: by then
// somebody has to have seen that they are not made.
const partitionsSoon = 2 * time.Hour

// partitions looks after the partitions of the tables that are kept for a time.
type partitions struct {
	// Static.
	pool *pgxpool.Pool
	log  *slog.Logger

	mu     sync.Mutex
	states []migrations.PartitionState // Guarded by mu: as of the last look
}

// Run keeps the partitions every hour until ctx ends.
func (p *partitions) Run(ctx context.Context) {
	tick := time.NewTicker(partitionsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.keep(ctx)
		}
	}
}

// keep makes and drops what is due, as far as that can be had. What fails is in the
// log, and due again the next time: rows have the default partition meanwhile.
func (p *partitions) keep(ctx context.Context) {
	steps, err := migrations.KeepPartitions(ctx, p.pool)
	for _, step := range steps {
		if step.Problem != "" {
			p.log.Warn("partition not kept; it is tried again in an hour", "table", step.Parent, "partition", step.Partition, "problem", step.Problem)
		} else {
			p.log.Info("partition "+step.Done, "partition", step.Partition)
		}
	}
	var states []migrations.PartitionState
	if err == nil {
		states, err = migrations.PartitionStates(ctx, p.pool)
	}
	if err != nil {
		if ctx.Err() == nil {
			p.log.Warn("partitions not looked after; it is tried again in an hour", "error", err)
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.states = states
}

// known returns the states as of the last look; nil: there was none.
func (p *partitions) known() []migrations.PartitionState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.states
}

// checkPartitions finds tables without partitions ahead, and rows that found none.
func checkPartitions(states []migrations.PartitionState, now time.Time) (string, error) {
	if len(states) == 0 {
		return "", errors.New("no table is kept by partitions; migrate the database anew")
	}
	for _, s := range states {
		switch ahead := s.ReadyUntil.Sub(now); {
		case ahead < partitionsSoon:
			return "", fmt.Errorf("%s has partitions until %s only; a running platform makes them, its log says why it could not", s.Parent, s.ReadyUntil.UTC().Format(time.DateTime))
		case s.Strays > 0:
			return "", fmt.Errorf("%d rows or more of %s found no partition; a running platform moves them within the hour, its log says why it could not", s.Strays, s.Parent)
		}
	}
	return fmt.Sprintf("%d tables have partitions ahead, and no row that found none", len(states)), nil
}
