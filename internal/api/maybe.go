package api

import (
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
)

// maybe is an object or null. huma would describe a pointer to one as an object that
// is always there.
type maybe[T any] struct{ value *T }

// MarshalJSON writes the object, or null.
func (m maybe[T]) MarshalJSON() ([]byte, error) { return json.Marshal(m.value) }

// Schema says that it may be null.
func (maybe[T]) Schema(r huma.Registry) *huma.Schema {
	s := &huma.Schema{OneOf: []*huma.Schema{r.Schema(reflect.TypeFor[T](), true, ""), {Type: "null"}}}
	s.PrecomputeMessages()
	return s
}
