package console

import (
	"bytes"
	"crypto/rand"
	"embed"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"path"
	"sync"
	"time"

	"github.com/device-fanout/fanout/consumers/deadletter"
	"github.com/device-fanout/fanout/consumers/parking"
	"github.com/device-fanout/fanout/internal/door"
	"github.com/device-fanout/fanout/scripts/fanout/cli/internal/terminal"
)

// API is what a console needs of Amazon SQS; [*sqs.Client] has it.
type API interface {
	deadletter.QueueAPI
	deadletter.MoveAPI
	parking.QueueAPI
}

// Service is one service of the environment.
type Service struct {
	Name, About string
	Types       int  // how many event types it hears; 0 means all
	Parks       bool // its group policy is park
	// Store is where its parked devices are recorded. Nil when that is not known; they are then neither shown nor released.
	Store    parking.Store
	Queue    string // name
	QueueURL string
	DLQs     []deadletter.Source
}

// Config says what a console shows, and what it may do.
type Config struct {
	Environment string
	Production  bool   // shown in red
	Where       string // endpoint or region, in words
	Topic       string // name
	Services    []Service
	// Hosts are the Host headers that are taken, such as "127.0.0.1:4568". None takes no request at all.
	Hosts []string
	// Consumers are the addresses of the blocked devices of consumers, as [ParseConsumer] returns them.
	Consumers []string
	// Journal opens the journal of a dead-letter queue. Nil keeps none.
	Journal func(deadletter.Source) (*deadletter.Journal, error)
	// Logger hears of wrong tokens. Nil logs nothing.
	Logger *slog.Logger
	// Folder is where the files of dropped dead letters go. Empty means the current folder.
	Folder string
}

// Console serves the pages. It is safe for concurrent use.
type Console struct {
	api     API
	cfg     Config
	token   string
	secret  []byte // signs sessions and forms
	mux     http.Handler
	pages   *template.Template
	depths  *depths
	blocked *blocked
	logins  door.Attempts
	surveys map[string]*surveys // by URL of the dead-letter queue

	mu   sync.Mutex
	jobs []*job
	wait sync.WaitGroup
}

//go:embed assets
var assets embed.FS

// New makes a console with a token of its own.
func New(api API, cfg Config) *Console {
	c := &Console{api: api, cfg: cfg, token: rand.Text(), secret: []byte(rand.Text()), depths: newDepths(api, cfg.Services), blocked: newBlocked(cfg.Consumers), surveys: map[string]*surveys{}}
	c.pages = template.Must(template.New("").Funcs(template.FuncMap{"ago": ago, "until": until, "clock": clockTime, "pretty": pretty, "spark": spark}).ParseFS(assets, "assets/*.html"))
	for _, s := range cfg.Services {
		for _, from := range s.DLQs {
			c.surveys[from.URL] = &surveys{api: api, from: from}
		}
	}
	c.logins.Logger, c.logins.Server = cfg.Logger, "console"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", c.overview)
	mux.HandleFunc("GET /live", c.live)
	mux.HandleFunc("GET /dlq/{queue}", c.queue)
	mux.HandleFunc("GET /dlq/{queue}/{message}", c.message)
	mux.HandleFunc("GET /plan/{action}/{queue}", c.plan)
	mux.HandleFunc("POST /do/{action}/{queue}", c.act)
	mux.HandleFunc("GET /jobs/{id}", c.job)
	mux.HandleFunc("POST /jobs/{id}/stop", c.stopJob)
	mux.Handle("GET /assets/", http.FileServerFS(assets))
	c.mux = c.guard(mux)
	return c
}

// Token lets a browser in, as the query parameter token.
func (c *Console) Token() string { return c.token }

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.mux.ServeHTTP(w, r) }

// Close interrupts the jobs under way and waits for their end; what they did not move is where it was.
func (c *Console) Close() {
	c.mu.Lock()
	for _, j := range c.jobs {
		j.cancel()
	}
	c.mu.Unlock()
	c.wait.Wait()
}

// source finds a dead-letter queue by its name.
func (c *Console) source(name string) (Service, deadletter.Source, bool) {
	for _, s := range c.cfg.Services {
		for _, from := range s.DLQs {
			if path.Base(from.URL) == name {
				return s, from, true
			}
		}
	}
	return Service{}, deadletter.Source{}, false
}

// page is what every page has.
type page struct {
	Config
	Title string
	CSRF  string
	Now   time.Time
	Jobs  []jobView
	Data  any
}

// show renders a page.
func (c *Console) show(w http.ResponseWriter, status int, name, title string, data any) {
	p := page{Config: c.cfg, Title: title, CSRF: c.csrf(), Now: time.Now(), Jobs: c.jobViews(), Data: data}
	var b bytes.Buffer
	if err := c.pages.ExecuteTemplate(&b, name, p); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, terminal.Clean(b.String())) // what could deceive a reader is not the page's own
}

// fail renders an error as a page.
func (c *Console) fail(w http.ResponseWriter, status int, err error) {
	c.show(w, status, "error.html", "Error", fmt.Sprint(err))
}
