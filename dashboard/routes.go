package dashboard

import (
	"bytes"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"path"
)

//go:embed assets
var embedded embed.FS

// kinds are the assets that there can be.
var kinds = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
	".txt": "text/plain; charset=utf-8", ".html": "text/html; charset=utf-8",
}

const loginPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ledger: token</title>
<link rel="icon" href="assets/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="assets/login.css">
<script type="module" src="assets/login.js"></script>
</head>
<body>
<main>
<h1>Ledger</h1>
<form id="login">
<label for="token">Token of this dashboard</label>
<input id="token" type="password" autocomplete="current-password" required autofocus>
<button type="submit">Open</button>
<p id="error" role="alert"></p>
</form>
</main>
</body>
</html>
`

func (d *Dashboard) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", d.index)
	mux.HandleFunc("GET /assets/{name}", d.asset)
	mux.HandleFunc("GET /api/overview", d.overview)
	mux.HandleFunc("GET /api/calls", d.calls)
	mux.HandleFunc("GET /api/call", d.call)
	mux.HandleFunc("GET /api/rate", d.rate)
	mux.HandleFunc("GET /api/events", d.events)
	mux.HandleFunc("GET /api/clear", d.countWorkflow)
	mux.HandleFunc("POST /api/login", d.login)
	mux.HandleFunc("POST /api/resolve", d.change(d.resolve))
	mux.HandleFunc("POST /api/retry", d.change(d.retry))
	mux.HandleFunc("POST /api/clear", d.change(d.clear))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "there is nothing here; the page is at /")
	})
	return d.guarded(mux)
}

func (d *Dashboard) index(w http.ResponseWriter, _ *http.Request) {
	t, err := template.ParseFS(embedded, "assets/index.html")
	if err != nil {
		refuse(w, http.StatusInternalServerError, "the page can not be made: "+err.Error()) // unreachable: a test parses it
		return
	}
	var b bytes.Buffer
	err = t.Execute(&b, struct {
		Name, Version, By string
		ReadOnly          bool
	}{d.o.Name, d.o.Version, d.o.By, d.o.ReadOnly})
	if err != nil {
		refuse(w, http.StatusInternalServerError, "the page can not be made: "+err.Error())
		return
	}
	page(w, b.String())
}

func page(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", kinds[".html"])
	_, _ = w.Write([]byte(text))
}

func (d *Dashboard) asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	kind := kinds[path.Ext(name)]
	text, err := fs.ReadFile(embedded, "assets/"+name)
	if err != nil || kind == "" || path.Ext(name) == ".html" {
		refuse(w, http.StatusNotFound, "there is no such file")
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "no-cache") // it changes with the program
	_, _ = w.Write(text)
}
