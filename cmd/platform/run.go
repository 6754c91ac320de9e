package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/stats"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
	"github.com/hibari/hibari/ui"
)

// How long a stop may take, what of it is for doing it in order, and how much
// of that the HTTP server has. Docker kills after 10 s.
const (
	stopAtMost    = 9 * time.Second
	stopLimit     = 7 * time.Second
	httpStopLimit = 3 * time.Second
	// streamStopLimit is how long after the beginning of a stop event streams may be open.
	streamStopLimit = 4 * time.Second
)

// platform is the running whole: the parts in the order data flows.
type platform struct {
	config  *config
	log     *slog.Logger
	dir     *dataDir
	db      *database
	kept    *partitions
	tenants *tenant.Store
	hooks   *webhooks.Webhooks
	ledger  *billing.Ledger
	plans   *billing.Plans
	spend   *billing.Spend
	credit  *invoice.Credit
	// invoices closes months and keeps what becomes of them.
	invoices *invoice.Invoices
	node     *cluster.Node
	book     *billing.Book
	spool    *billing.Spool
	stats    *stats.Store
	port     *transport.Endpoint
	media    *sfu.SFU
	door     *signaling.Door
	api      *api.API
	console  *ui.Console
	// requests are the seats of members' and servers' requests.
	requests *tenant.Seats
	// exports are the seats of files on their way.
	exports *tenant.Seats
	// paces bound the actions of tenants' servers.
	paces   *tenant.Paces
	server  *http.Server
	clients *boundedListener
	running sync.WaitGroup // the background loops
	halt    context.CancelFunc
	broken  chan error // buffered: why the HTTP server ended by itself
}

// serve runs the platform until ctx ends.
func serve(ctx context.Context, args []string, io stdio) error {
	c, err := readConfig(flag.NewFlagSet("serve", flag.ContinueOnError), args, os.Getenv, io)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(io.err, &slog.HandlerOptions{Level: c.logLevel}))
	p := &platform{config: c, log: log, broken: make(chan error, 1)}
	if err := p.start(ctx); err != nil {
		p.stop()
		if ctx.Err() != nil {
			return nil // interrupted while starting
		}
		return err
	}
	fmt.Fprintf(io.out, "Hibari is ready: %s\n", c.publicURL)
	select {
	case <-ctx.Done():
		log.Info("stopping")
		return p.stop()
	case err := <-p.broken:
		return errors.Join(err, p.stop())
	case <-p.node.Lost():
		return errors.Join(errors.New("another process runs on this node's data folder; one of them has to have its own"), p.stop())
	}
}

// start builds the parts in the order data flows and lets each know only what
// it needs. On error the caller still calls stop.
func (p *platform) start(ctx context.Context) error {
	if err := p.openStores(ctx); err != nil {
		return err
	}
	if err := p.openMedia(ctx); err != nil {
		return err
	}
	p.door = signaling.New(signaling.Config{
		Verifier:   p.tenants,
		Authorizer: p.hooks,
		Bans:       p.tenants,
		Ledger:     drainedLedger{p.book, p.node},
		Media:      p.media,
		Statistics: p.stats,
		Version:    version,
		Log:        p.log,
		PublicURL:  p.config.publicURL,
	})
	p.tenants.OnBan(p.door.EndBanned)
	p.node.UseHands(hands{p})
	p.paces = tenant.NewPaces(actionsPerSecond, actionBurst)
	p.requests = tenant.NewSeats("requests", requestsAtOnce, requestsWaiting, requestPatience)
	p.exports = tenant.NewSeats("exports", exportsAtOnce, 0, 0)
	p.node.HandleReturn(p.book.Stir)
	p.book.HandleEnd(func(id tenant.ID, connectionID, reason string) {
		if !p.media.Disconnect(id, connectionID, reason) {
			p.door.Disconnect(id, connectionID, reason)
		}
	})
	p.api = api.New(api.Config{
		Tenants:   p.tenants,
		Ledger:    p.ledger,
		Spend:     p.spend,
		Plans:     p.plans,
		Invoices:  p.invoices,
		Credit:    p.credit,
		Hooks:     p.hooks,
		Node:      p.node,
		Stats:     p.stats,
		Seats:     p.requests,
		Exports:   p.exports,
		DB:        p.db.Pool,
		PublicURL: p.config.publicURL.String(),
		Version:   version,
		Log:       p.log,
	})
	p.console = ui.New(ui.Config{
		Requests:   p.requests,
		Exports:    p.exports,
		Tenants:    p.tenants,
		Ledger:     p.ledger,
		Spend:      p.spend,
		Invoices:   p.invoices,
		Credit:     p.credit,
		Hooks:      p.hooks,
		Node:       p.node,
		Stats:      p.stats,
		DB:         p.db.Pool,
		PublicURL:  p.config.publicURL.String(),
		SignupOpen: p.config.signupOpen,
		Secure:     p.config.publicURL.Scheme == "https",
		Log:        p.log,
	})
	p.runLoops()
	return p.listen()
}

// openStores opens what is kept: the data directory, the database and the
// three stores on it.
func (p *platform) openStores(ctx context.Context) (err error) {
	if p.dir, err = openDataDir(p.config.dataDir); err != nil {
		return err
	}
	if err := p.dir.claim(); err != nil {
		return err
	}
	key := p.config.masterKey
	if key == nil {
		if key, err = p.dir.masterKey(); err != nil {
			return err
		}
	}
	if p.db, err = openDatabase(ctx, p.config, p.log); err != nil {
		return err
	}
	p.kept = &partitions{pool: p.db.Pool, log: p.log}
	p.kept.keep(ctx)
	if p.tenants, err = tenant.NewStore(p.db.Pool, key, p.log); err != nil {
		return err
	}
	p.tenants.UsePost(p.config.post(p.log))
	if !p.tenants.CanMail() {
		p.log.Warn("no mail is sent: passwords can't be reset and addresses aren't checked; set HIBARI_SMTP_URL")
	}
	if err := p.tenants.Refresh(ctx); err != nil {
		return err
	}
	hooks := p.config.hooks(p.log)
	hooks.Notifier = p.tenants
	if hooks.Instance, err = p.dir.instance(); err != nil {
		return err
	}
	p.hooks = webhooks.New(p.db.Pool, p.tenants, hooks)
	p.ledger = billing.NewLedger(p.db.Pool, p.hooks.Queue, p.log)
	p.ledger.OnChange(p.hooks.Wake)
	p.plans = billing.NewPlans(p.db.Pool)
	p.spend = billing.NewSpend(billing.SpendConfig{
		Pool: p.db.Pool, Ledger: p.ledger, Plans: p.plans, Mail: p.tenants, End: p.endAll,
		PublicURL: p.config.publicURL.String(), Log: p.log,
	})
	p.credit = invoice.NewCredit(p.db.Pool, p.log)
	p.invoices = invoice.New(invoice.Config{
		Pool: p.db.Pool, Ledger: p.ledger, Plans: p.plans, Credit: p.credit, Mail: p.tenants,
		PublicURL: strings.TrimSuffix(p.config.publicURL.String(), "/"), Log: p.log,
	})
	p.stats = stats.New(p.db.Pool, p.log)
	return nil
}

// openMedia opens the media port and registers this run as a node.
func (p *platform) openMedia(ctx context.Context) error {
	instance, err := p.dir.instance()
	if err != nil {
		return err
	}
	p.port, err = transport.Listen(transport.Config{
		Addr: p.config.mediaAddr,
		IPs:  offeredIPs(p.config),
		Log:  p.log,
	})
	if err != nil {
		return fmt.Errorf("HIBARI_MEDIA_ADDR: %w", err)
	}
	logWire(p.config, p.log)
	if p.spool, err = billing.OpenSpool(p.dir.spool(), p.log); err != nil {
		return err
	}
	if _, err := p.ledger.Recover(ctx, p.spool); err != nil { // before its node is ended
		return err
	}
	p.media = sfu.New(sfu.Config{Transport: p.port, Log: p.log, Ended: p.stats.Ended})
	p.node, err = cluster.Start(ctx, p.db.Pool, cluster.Config{
		Name: nodeName(), Instance: instance, Reaper: p.ledger, PublicURL: p.config.publicURL.String(), Log: p.log,
	})
	if err != nil {
		return err
	}
	if p.book, err = billing.NewBook(p.ledger, p.node, p.log); err != nil {
		return err
	}
	p.book.Keep(p.spool)
	return nil
}

// endAll ends all live connections of a tenant, on every node.
func (p *platform) endAll(ctx context.Context, scope tenant.Scope, why tenant.Parting) error {
	_, _, err := p.node.DisconnectAll(ctx, scope, tenant.Choice{}, why)
	return err
}

// nodeName is what this machine calls itself.
func nodeName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// runLoops starts the background loops; stop ends them.
func (p *platform) runLoops() {
	ctx, cancel := context.WithCancel(context.Background())
	p.halt = cancel
	for _, loop := range []func(context.Context){p.db.Run, p.kept.Run, p.tenants.Run, p.hooks.Run, p.api.Run, p.ledger.Run, p.ledger.RunLicences, p.ledger.RunRollups, p.spend.Run, p.node.Run, p.book.Run, p.meter, p.moveStreams} {
		p.running.Go(func() { loop(ctx) })
	}
	p.running.Go(func() { p.tenants.RunMail(ctx) })
	p.running.Go(func() { p.credit.RunExpiry(ctx) })
	p.running.Go(func() { p.invoices.Run(ctx) })
	p.running.Go(func() { p.stats.Run(ctx, p.media, p.book.LedgerID) })
}

// listen opens the HTTP address, so that a taken port fails the start, and
// serves on it.
func (p *platform) listen() error {
	listener, err := net.Listen("tcp", p.config.httpAddr)
	if err != nil {
		return fmt.Errorf("HIBARI_HTTP_ADDR: %w", err)
	}
	if p.clients, err = newBoundedListener(listener); err != nil {
		listener.Close()
		return err
	}
	p.server = &http.Server{
		Handler:           p.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	if p.config.tlsCert != "" {
		certificate, err := newCertificate(p.config.tlsCert, p.config.tlsKey, p.log)
		if err != nil {
			listener.Close()
			return err
		}
		p.server.TLSConfig = certificate.tlsConfig()
	}
	p.running.Go(func() {
		serve := p.server.Serve
		if p.server.TLSConfig != nil {
			serve = func(l net.Listener) error { return p.server.ServeTLS(l, "", "") }
		}
		if err := serve(p.clients); !errors.Is(err, http.ErrServerClosed) {
			p.broken <- fmt.Errorf("the HTTP server ended: %w", err)
		}
	})
	return nil
}

// stop ends whatever start began, in the order that loses nothing: stop
// taking, end the connections, write what they cost, stop the loops, close
// the database. With a database that hangs there may be no order in which to
// stop: then the process just ends, and the ledger is closed as after a crash.
func (p *platform) stop() error {
	defer time.AfterFunc(stopAtMost, func() {
		p.log.Error("couldn't stop in good order in time; the next start, or another node, ends what is left in the ledger")
		os.Exit(1)
	}).Stop()
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	var errs []error
	gone, forget := context.WithTimeout(ctx, streamStopLimit)
	defer forget()
	if p.hooks != nil {
		p.hooks.StopStreams()
	}
	if p.door != nil {
		p.door.Drain()
	}
	if p.media != nil {
		p.media.Close(tenant.EndShutdown)
	}
	if p.door != nil {
		p.door.Close(tenant.EndShutdown)
		errs = append(errs, p.door.Wait(ctx))
	}
	if p.book != nil {
		errs = append(errs, p.book.Flush(ctx))
	}
	if p.console != nil {
		p.console.Close()
	}
	if p.hooks != nil && p.hooks.GoneStreams(gone) != nil {
		p.log.Warn("event streams were cut: their clients resume by their last seq")
	}
	if p.server != nil {
		web, cancel := context.WithTimeout(ctx, httpStopLimit)
		if p.server.Shutdown(web) != nil {
			p.server.Close()
		}
		cancel()
	}
	if p.halt != nil {
		p.halt()
		p.running.Wait()
	}
	if p.node != nil {
		errs = append(errs, p.node.Stop(ctx))
	}
	if p.book != nil {
		p.book.Stop()
	}
	if p.spool != nil {
		errs = append(errs, p.spool.Close())
	}
	if p.port != nil {
		errs = append(errs, p.port.Close())
	}
	if p.db != nil {
		errs = append(errs, p.db.Close())
	}
	if p.dir != nil {
		p.dir.release()
	}
	return errors.Join(errs...)
}

// offeredIPs returns the addresses clients are told to send media to: the
// configured ones, the one that the media port is bound to, or the host's own,
// with loopback when the HTTP server is for this machine only.
func offeredIPs(c *config) []netip.Addr {
	if len(c.mediaIPs) > 0 {
		return c.mediaIPs
	}
	if bound, err := netip.ParseAddrPort(c.mediaAddr); err == nil && !bound.Addr().IsUnspecified() {
		return []netip.Addr{bound.Addr()}
	}
	var ips []netip.Addr
	addrs, _ := net.InterfaceAddrs() // none found: loopback below
	for _, a := range addrs {
		ipnet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(ipnet.IP)
		if ip = ip.Unmap(); ok && ip.IsGlobalUnicast() {
			ips = append(ips, ip)
		}
	}
	host, _, _ := net.SplitHostPort(c.httpAddr)
	if isLoopback(host) || len(ips) == 0 {
		ips = append(ips, netip.MustParseAddr("127.0.0.1"))
	}
	return ips
}
