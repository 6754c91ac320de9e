package main

import (
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/migrations"
)

// The doctor sees a table without partitions ahead, and rows in the default one.
func TestDoctorLooksAtPartitions(t *testing.T) {
	now := time.Now()
	for want, states := range map[string][]migrations.PartitionState{
		"":                               {{Parent: "event", ReadyUntil: now.Add(partitionsSoon + time.Minute)}},
		"event has partitions until":     {{Parent: "event", ReadyUntil: now.Add(time.Hour)}},
		"7 rows or more of event":        {{Parent: "event", ReadyUntil: now.Add(24 * time.Hour), Strays: 7}},
		"sample has partitions until":    {{Parent: "event", ReadyUntil: now.Add(24 * time.Hour)}, {Parent: "sample", ReadyUntil: now}},
		"no table is kept by partitions": nil,
	} {
		detail, err := checkPartitions(states, now)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) || err == nil && detail == "" {
			t.Errorf("%v: %q, %v", states, detail, err)
		}
	}
}
