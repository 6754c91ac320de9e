package migrations

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// PartitionStep is what KeepPartitions did, or could not do, about one table.
type PartitionStep struct {
	Parent    string
	Partition string // "": it had none in mind yet
	Done      string // "made" or "dropped"; "": it could not
	Problem   string // why it could not; "": it could
}

// partitionSteps bounds the steps of one KeepPartitions.
const partitionSteps = 1000

// KeepPartitions makes the partitions that the tables of the registry `partitioned`
// need soon, and drops those that nobody is promised any more. Each step waits for
// its lock for half a second at most; one that does not get it is in the answer with
// its Problem, and is due again at the next call. Any number of processes may call it.
func KeepPartitions(ctx context.Context, pool *pgxpool.Pool) (steps []PartitionStep, err error) {
	for range partitionSteps {
		rows, err := pool.Query(ctx, `select parent, coalesce(partition, ''), coalesce(done, ''), coalesce(problem, '') from keep_partitions()`)
		if err != nil {
			return steps, fmt.Errorf("couldn't keep the partitions: %w", err)
		}
		taken, err := pgx.CollectRows(rows, pgx.RowToStructByPos[PartitionStep])
		if err != nil {
			return steps, fmt.Errorf("couldn't keep the partitions: %w", err)
		}
		done := false
		for _, step := range taken {
			done = done || step.Done != ""
		}
		if !done { // what is due cannot be had now
			return append(steps, taken...), nil
		}
		for _, step := range taken {
			if step.Done != "" {
				steps = append(steps, step)
			}
		}
	}
	return steps, nil
}

// PartitionState is how a partitioned table stands.
type PartitionState struct {
	Parent     string
	ReadyUntil time.Time // there are partitions for rows until then
	Strays     int64     // rows in the default partition, of at most 10,000 counted
}

// PartitionStates looks at every partitioned table, in the order of their names.
func PartitionStates(ctx context.Context, pool *pgxpool.Pool) ([]PartitionState, error) {
	rows, err := pool.Query(ctx, `select parent, ready_until, strays from partition_state()`)
	if err != nil {
		return nil, fmt.Errorf("couldn't look at the partitions: %w", err)
	}
	states, err := pgx.CollectRows(rows, pgx.RowToStructByPos[PartitionState])
	if err != nil {
		return nil, fmt.Errorf("couldn't look at the partitions: %w", err)
	}
	return states, nil
}
