package dashboard_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/dashboard"
)

// get asks the handler, as a browser on this machine does.
func get(h http.Handler, path string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, "http://localhost"+path, nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

// Below a path of a server that a program has already.
func ExampleNew() {
	d, err := dashboard.New(ledger.NewMemory(), &dashboard.Options{Name: "orders", ReadOnly: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("/ledger/", http.StripPrefix("/ledger", d))
	fmt.Println(get(mux, "/ledger/").Status)

	_, err = dashboard.New(ledger.NewMemory(), &dashboard.Options{Token: "short"})
	fmt.Println(errors.Is(err, ledger.ErrInvalid))
	// Output:
	// 200 OK
	// true
}

// It serves a store in one line: http.ListenAndServe("localhost:8080", dashboard.Handler(store, nil))
func ExampleHandler() {
	page := get(dashboard.Handler(ledger.NewMemory(), nil), "/")
	fmt.Println(page.Status, strings.HasPrefix(page.Header.Get("Content-Type"), "text/html"))
	// Output: 200 OK true
}

// Another page can not ask in the browser's name.
func ExampleDashboard_ServeHTTP() {
	d, err := dashboard.New(ledger.NewMemory(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	d.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://evil.example.com/", nil))
	fmt.Println(w.Code)
	// Output: 421
}

// For as long as the program serves.
func ExampleDashboard_Run() {
	d, err := dashboard.New(ledger.NewMemory(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	stop()
	fmt.Println(<-ended)
	// Output: <nil>
}
