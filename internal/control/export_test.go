package control

import (
	"reflect"
	"strings"
)

// Fields are the names of all fields that requests and answers have.
func Fields() []string {
	var names []string
	for _, t := range []any{orderBody{}, Result{}, Shard{}, Problem{}, Destinations{}, Destination{}, HeldKey{}, Place{}, Local{}} {
		for f := range reflect.TypeOf(t).NumField() {
			name, _, _ := strings.Cut(reflect.TypeOf(t).Field(f).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}
