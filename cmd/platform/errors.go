package main

import (
	"encoding/json"
	"net/http"

	"github.com/hibari/hibari/internal/api"
)

// fail answers with the problem document of err.
func (p *platform) fail(w http.ResponseWriter, r *http.Request, err error) {
	api.Fail(w, r, p.log, err)
}

// reply answers 200 with v as JSON.
func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // an error here is the caller's connection
}
