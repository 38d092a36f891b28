package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// fakeAPI is the payment service: it charges once per Idempotency-Key and can be asked for what it did under one.
type fakeAPI struct {
	mu    sync.Mutex
	w     io.Writer
	byKey map[string]receipt
}

func newFakeAPI(w io.Writer) http.Handler {
	api := &fakeAPI{w: w, byKey: map[string]receipt{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /charges", api.charge)
	mux.HandleFunc("GET /charges", api.find)
	return mux
}

func (f *fakeAPI) charge(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := r.Header.Get("Idempotency-Key")
	made, known := f.byKey[key]
	if !known {
		var in charge
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		made = receipt{ID: fmt.Sprintf("ch_%d", len(f.byKey)+1)}
		f.byKey[key] = made
		fmt.Fprintf(f.w, "  API: charged %s %d cents\n", in.Customer, in.Cents)
	}
	_ = json.NewEncoder(w).Encode(made)
}

func (f *fakeAPI) find(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := f.byKey[r.FormValue("idempotency_key")]
	fmt.Fprintf(f.w, "  API: asked, and found %q\n", found.ID)
	_ = json.NewEncoder(w).Encode(found)
}
