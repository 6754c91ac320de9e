package billing

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// spoolMost is how many bytes of steps a spool keeps. What a book may owe at most is
// some 20 MB; the rest is what connections from before the outage do meanwhile.
const spoolMost = 64 << 20

// Spool is a file with the steps that a Book owes the database, so that they outlive
// the process: what a client was told is in it before the client is told. It is empty
// whenever nothing is owed. Its methods may be called from any goroutine; those of a
// nil one do nothing.
//
// Written is what the kernel has: a process that is killed loses nothing. Sync, which
// Book.Run calls, is for a machine that loses power.
type Spool struct {
	// Static
	log *slog.Logger

	writing sync.Mutex // held while the file is written; taken before mu
	file    *os.File   // Guarded by writing
	broken  bool       // Guarded by writing: the last write failed, which is in the log
	dirty   bool       // Guarded by writing: written and not synced

	mu sync.Mutex
	// Guarded by mu
	pending []byte // to be appended
	empty   bool   // the file is to be emptied before
	size    int    // of the file, with what is pending
	lost    int64  // steps that found no room, or could not be written
}

// owed is one step as the spool's file has it: a line of JSON.
type owed struct {
	Step       string          `json:"step"` // opened, connected, ended, or alive: the process was
	At         time.Time       `json:"at"`   // when it happened, by the machine's clock
	Up         time.Duration   `json:"up"`   // and by its monotonic one, since the process began
	Tenant     tenant.ID       `json:"tenant,omitempty"`
	Connection string          `json:"connection,omitempty"` // the ledger's id
	Node       string          `json:"node,omitempty"`       // opened
	Session    string          `json:"session,omitempty"`    // opened
	Opening    *tenant.Opening `json:"opening,omitempty"`    // opened
	Ending     *tenant.Ending  `json:"ending,omitempty"`     // ended
}

// processBegan is when this process began, nearly: what Up counts from.
var processBegan = time.Now()

// OpenSpool opens the file, or makes it, readable by its owner alone. The caller
// closes the spool.
func OpenSpool(path string, log *slog.Logger) (*Spool, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the file of what the ledger is owed: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("couldn't look at the file of what the ledger is owed: %w", err)
	}
	return &Spool{log: log, file: file, size: int(info.Size())}, nil
}

// Close closes the file; what it has stays.
func (s *Spool) Close() error {
	if s == nil {
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.file.Close()
}

// add takes a step, which flush writes. It does not block.
func (s *Spool) add(step owed) {
	if s == nil {
		return
	}
	line, err := json.Marshal(step)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil || s.size+len(line) >= spoolMost {
		s.lost++
		return
	}
	s.pending = append(append(s.pending, line...), '\n')
	s.size += len(line) + 1
}

// clear says that nothing is owed any more.
func (s *Spool) clear() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size > 0 {
		s.pending, s.empty, s.size = nil, true, 0
	}
}

// flush returns when all that was added before is written, or has failed.
func (s *Spool) flush() {
	if s == nil || !s.used() {
		return
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	pending, empty := s.pending, s.empty
	s.pending, s.empty = nil, false
	s.mu.Unlock()
	var err error
	if empty {
		err = s.file.Truncate(0)
		s.dirty = true
	}
	if s.broken { // perhaps in the middle of a line
		pending = append([]byte{'\n'}, pending...)
	}
	if err == nil && len(pending) > 0 {
		_, err = s.file.Write(pending)
		s.dirty = true
	}
	if err != nil && !s.broken { // once, not at each step
		s.log.Error("couldn't write down what the ledger is owed; should the process die before the database is back, it is lost", "error", err)
	}
	if s.broken = err != nil; s.broken {
		s.mu.Lock()
		s.lost++
		s.mu.Unlock()
	}
}

// used reports whether there is, or may be, anything to write.
func (s *Spool) used() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size > 0 || s.empty
}

// sync has the disk keep what is written.
func (s *Spool) sync() {
	if s == nil {
		return
	}
	s.flush()
	s.writing.Lock()
	defer s.writing.Unlock()
	if !s.dirty {
		return
	}
	s.dirty = false
	if err := s.file.Sync(); err != nil {
		s.log.Error("couldn't sync what the ledger is owed", "error", err)
	}
}

// dropped is how many steps found no room in the file.
func (s *Spool) dropped() int64 {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}
