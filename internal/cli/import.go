package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/connect"
	"github.com/ledger-once/ledger/fingerprint"
	"github.com/ledger-once/ledger/internal/ancestor"
	"github.com/ledger-once/ledger/internal/open"
)

const importHelp = "Carries the calls over that the Python ledger-once recorded in its SQLite file, so that what was done\n" +
	"stays done: each is fingerprinted again from its stored tool, arguments and workflow. The file is\n" +
	"only read. End its Python workers first: what they do afterwards is not carried over.\n\n" +
	"There a tool is named module.function. Name it as it is called here: --tool-map, for each tool, or\n" +
	"--short-names for all others. Arguments have to be called here as they were there, defaults included.\n\n" +
	"  there     here\n" +
	"  success   succeeded, with its result and its counts\n" +
	"  failed    in doubt: the next call runs, as it did there, unless its tool's policy blocks doubt\n" +
	"  running   left out; with --running in doubt and blocked, until ledger resolve settles it\n\n" +
	"Left out, and listed with the reason, is what can not be carried over: calls that had a key, which\n" +
	"the file does not have; calls without arguments that can be read; calls that were running. Nor can\n" +
	"it know of a guard here with a FingerprintKey, or of fields that a policy ignores or takes exactly:\n" +
	"calls of such tools have other fingerprints, and would run again.\n\n" +
	"It counts first, says what would be done, and asks; without a terminal and without --yes it refuses.\n" +
	"A call that is recorded here already stays as it is, so importing again changes nothing. Ctrl-C\n" +
	"ends it between two calls and says how far it got; run it again for the rest. A SQLite file that is\n" +
	"not there yet is created. The exit code is 4 if calls were left out: see to those.\n\n"

// An importing is what the flags of import ask for.
type importing struct {
	target
	f           format
	tools       []string
	short       bool
	running     bool
	yes, dryRun bool
}

func (a *app) importCommand() *cobra.Command {
	var o importing
	cmd := &cobra.Command{
		Use:   "import ANCESTOR.db [FILE|URL]",
		Short: "Carry the calls of a Python ledger-once file over",
		Long:  importHelp + strings.Replace(storeHelp, " No command creates a store.", "", 1),
		Example: "  ledger import old.db new.db --dry-run\n" +
			"  ledger import old.db new.db --tool-map tools.send_email=send_email --short-names\n" +
			"  ledger import old.db --store etcd://127.0.0.1:2379/ledger --short-names --yes",
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			named := ""
			if len(args) > 1 {
				named = args[1]
			}
			return a.importFile(cmd.Context(), &o, args[0], named)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.tools, "tool-map", nil, "`OLD=NEW`: a tool's name there and here; may be given several times")
	f.BoolVar(&o.short, "short-names", false, "tools that --tool-map does not name lose their module: tools.send_email is send_email")
	f.BoolVar(&o.running, "running", false, "calls that were running are recorded as in doubt, and blocked")
	f.BoolVar(&o.dryRun, "dry-run", false, "count and list only, write nothing")
	yesFlag(cmd, &o.yes)
	o.f.flag(cmd)
	o.target.flags(cmd)
	return cmd
}

// names returns how tools are named here, by the flags, and the names there that were given.
func (o *importing) names() (func(string) string, map[string]string, error) {
	mapped := map[string]string{}
	for _, pair := range o.tools {
		old, name, ok := strings.Cut(pair, "=")
		if !ok || old == "" || name == "" {
			return nil, nil, fmt.Errorf("--tool-map: %q is not OLD=NEW", pair)
		}
		if was, twice := mapped[old]; twice && was != name {
			return nil, nil, fmt.Errorf("--tool-map: %s is both %s and %s", old, was, name)
		}
		mapped[old] = name
	}
	return func(old string) string {
		if name, ok := mapped[old]; ok {
			return name
		}
		if o.short {
			return old[strings.LastIndexByte(old, '.')+1:]
		}
		return old
	}, mapped, nil
}

func (a *app) importFile(ctx context.Context, o *importing, from, named string) error {
	to, err := o.target.url(named, a.environ)
	if err != nil {
		return usage(err)
	}
	names, mapped, err := o.names()
	if err != nil {
		return usage(err)
	}
	if path, ok, err := connect.Path(to); err == nil && ok && sameFile(from, path) {
		return usage(fmt.Errorf("%s would be imported into itself; name the new ledger: ledger import %s new.db", from, from))
	}
	hasher, err := fingerprint.New(fingerprint.Rules{}, nil)
	if err != nil {
		return err
	}
	file, err := ancestor.Open(ctx, from)
	if err != nil {
		return &failure{exitStore, err}
	}
	defer file.Close()
	im := &importer{app: a, file: file, hasher: hasher, o: ancestor.Options{Tool: names, Running: o.running}, mapped: mapped}

	counted, err := im.count(ctx, o, to)
	if err != nil {
		return err
	}
	switch {
	case o.dryRun:
		return im.end(counted, o.f, "would be carried over")
	case counted.fresh.Load() == 0:
		return im.end(counted, o.f, "carried over")
	}
	if err := a.confirm(ctx, o.yes, fmt.Sprintf("Carry %s over to %s?", calls(int(counted.fresh.Load())), clean(to))); err != nil {
		return err
	}
	store, closer, err := open.Store(ctx, to)
	if err != nil {
		return &failure{exitStore, err}
	}
	done, err := im.write(ctx, store, counted.fresh.Load())
	if cerr := closer.Close(); err == nil && cerr != nil {
		err = coded(cerr)
	}
	if err != nil {
		return err
	}
	return im.end(done, o.f, "carried over")
}

// write carries the calls over to store. It says how far it got where it returns an error.
func (im *importer) write(ctx context.Context, store ledger.Store, total int64) (*walked, error) {
	done, err := im.walk(ctx, func(c ancestor.Carried) (bool, error) {
		// One that was begun is ended: its outcome is to be known.
		return ancestor.Put(context.WithoutCancel(ctx), store, c)
	}, nil, fmt.Sprintf("looked at %%d calls of the file, for %d to carry over…", total))
	if err != nil {
		fmt.Fprintf(im.err, "ledger: %s of %d carried over; import again for the rest\n", calls(int(done.fresh.Load())), total)
	}
	return done, coded(err)
}

// count counts and lists what importing to the store at url would do.
func (im *importer) count(ctx context.Context, o *importing, url string) (*walked, error) {
	at, closer, err := im.openStore(ctx, &target{}, url, toLook)
	fresh := func(ancestor.Carried) (bool, error) { return true, nil }
	switch {
	case errors.Is(err, ledger.ErrNotFound): // it will be created
	case err != nil:
		return nil, err
	default:
		defer closer.Close()
		fresh = func(c ancestor.Carried) (bool, error) {
			r, err := at.Get(ctx, c.Record.ID)
			if isNotFound(err) {
				return true, nil
			}
			return err == nil && !ancestor.Stands(&r), err
		}
	}
	list := im.listLeftOut(o.f)
	counted, err := im.walk(ctx, fresh, list.add, "looked at %d calls…")
	if err != nil {
		return nil, coded(err)
	}
	if err := list.end(); err != nil {
		return nil, coded(err)
	}
	for _, old := range counted.unmet(im.mapped) {
		fmt.Fprintf(im.err, "ledger: --tool-map: no call in the file is of the tool %s\n", clean(old))
	}
	if o.f == asTable {
		return counted, coded(im.printTools(counted))
	}
	return counted, nil
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
