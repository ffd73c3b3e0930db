package report_test

import (
	"bytes"
	"context"
	"fmt"
	"image/color"
	"math"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/shardline/shardline/pipeline/oee"
	"github.com/shardline/shardline/pipeline/oee/report"
)

// barsMatch holds the bars that are drawn against the results.
func barsMatch(t *testing.T, ctx context.Context, r *report.Report) {
	t.Helper()
	type bar struct {
		Section, Card, Figure, Text string
		Track, Fill                 float64 // widths in pixels; Fill -1: none is drawn
	}
	bars := ask[[]bar](t, ctx, `[...document.querySelectorAll("section")].flatMap(s => [...s.querySelectorAll(".card")].flatMap(c => [...c.querySelectorAll(".figure")].map(row => {
		const track = row.querySelector(".track").getBoundingClientRect(), fill = row.querySelector(".fill");
		return {Section: s.querySelector("h2").firstChild.textContent.trim(), Card: c.querySelector("h3").textContent, Figure: row.dataset.figure, Text: row.querySelector(".number").textContent,
			Track: track.width, Fill: fill ? fill.getBoundingClientRect().width : -1}})))`)
	groups := map[string]report.Group{"All machines": r.Plant}
	for _, m := range r.Machines {
		groups[m.Name] = m.Group
	}
	for _, l := range r.Lines {
		groups["Line "+l.Name] = l.Group
	}
	if want := len(groups) * 3 * 4; len(bars) != want { // early, late, whole date; A, P, Q, OEE
		t.Errorf("%d bars, want %d", len(bars), want)
	}
	for _, b := range bars {
		g, ok := groups[b.Section]
		if !ok {
			t.Errorf("section %q", b.Section)
			continue
		}
		x := g.Whole
		for _, of := range g.Results {
			if of.Window.Name == b.Card {
				x = of
			}
		}
		value, defined := map[string]func() (float64, bool){"availability": x.Availability, "performance": x.Performance, "quality": x.Quality, "oee": x.OEE}[b.Figure]()
		if !defined {
			if b.Fill != -1 || !strings.HasPrefix(b.Text, "–") {
				t.Errorf("%s, %s, %s is undefined, drawn %v px and %q", b.Section, b.Card, b.Figure, b.Fill, b.Text)
			}
			continue
		}
		share := value
		if value > 1 {
			share = min(value, 1.5) / max(min(value, 1.5), 1.1)
		}
		if math.Abs(b.Fill-share*b.Track) > 0.5 || b.Track < 40 {
			t.Errorf("%s, %s, %s is %.4f: drawn %.1f of %.1f px, want %.1f", b.Section, b.Card, b.Figure, value, b.Fill, b.Track, share*b.Track)
		}
		if want := fmt.Sprintf("%.1f", 100*value); !strings.HasPrefix(b.Text, want) {
			t.Errorf("%s, %s, %s is %.4f: written %q", b.Section, b.Card, b.Figure, value, b.Text)
		}
	}
}

// lossesMatch holds the waterfall of every machine against its sums: a loss
// hangs between what was left before it and after it.
func lossesMatch(t *testing.T, ctx context.Context, r *report.Report) {
	t.Helper()
	type step struct {
		Section, Key string
		From, To     float64 // in parts of the track
	}
	steps := ask[[]step](t, ctx, `[...document.querySelectorAll("section.machine")].flatMap(s => [...s.querySelectorAll("[data-step]")].map(row => {
		const track = row.querySelector(".track").getBoundingClientRect(), fill = row.querySelector(".fill").getBoundingClientRect();
		return {Section: s.querySelector("h2").firstChild.textContent.trim(), Key: row.dataset.step, From: (fill.left - track.left) / track.width, To: (fill.right - track.left) / track.width}}))`)
	drawn := map[string][2]float64{}
	for _, s := range steps {
		drawn[s.Section+" "+s.Key] = [2]float64{s.From, s.To}
	}
	for _, m := range r.Machines {
		s := m.Whole.Sums
		full := float64(max(s.Planned, s.IdealTotal))
		want := map[string][2]time.Duration{"planned": {0, s.Planned}, "run": {0, s.Run}, "net": {0, s.IdealTotal}, "productive": {0, s.IdealGood}}
		if s.Stopped > 0 {
			want["stopped"] = [2]time.Duration{s.Planned - s.Stopped, s.Planned}
		}
		if s.Unknown > 0 {
			want["unknown"] = [2]time.Duration{s.Run, s.Run + s.Unknown}
		}
		if s.Run != s.IdealTotal {
			want["speed"] = [2]time.Duration{min(s.Run, s.IdealTotal), max(s.Run, s.IdealTotal)}
		}
		for key, w := range want {
			got, ok := drawn[m.Name+" "+key]
			if !ok || math.Abs(got[0]-float64(w[0])/full) > 0.005 || math.Abs(got[1]-float64(w[1])/full) > 0.005 {
				t.Errorf("%s, %s: drawn %.3f, want %.3f to %.3f", m.Name, key, got, float64(w[0])/full, float64(w[1])/full)
			}
		}
	}
}

var drawnAs = map[oee.Class]string{oee.Running: "running", oee.Idle: "idle", oee.Stopped: "stopped", oee.Changeover: "changeover", oee.PlannedStop: "planned", oee.Unknown: "nodata"}

// timelinesMatch holds the drawn time lines against the intervals.
func timelinesMatch(t *testing.T, ctx context.Context, r *report.Report) {
	t.Helper()
	type strip struct {
		Section string
		Widths  map[string]float64 // by class, in parts of the whole
		Heights map[string]float64
	}
	strips := ask[[]strip](t, ctx, `[...document.querySelectorAll("section.machine")].map(s => {
		const svg = s.querySelector("svg.strip"), whole = svg.getBoundingClientRect().width, widths = {}, heights = {};
		svg.querySelectorAll("rect:not(.ground)").forEach(x => { const b = x.getBoundingClientRect(); widths[x.className.baseVal] = (widths[x.className.baseVal] || 0) + b.width / whole; heights[x.className.baseVal] = b.height });
		return {Section: s.querySelector("h2").firstChild.textContent.trim(), Widths: widths, Heights: heights}})`)
	of := map[string]strip{}
	for _, s := range strips {
		of[s.Section] = s
	}
	for _, m := range r.Machines {
		want := map[string]float64{}
		for _, i := range m.Timeline {
			want[drawnAs[i.Class]] += float64(i.End.Sub(i.Start)) / float64(r.End.Sub(r.Start))
			if !i.Planned {
				want["unplanned"] += float64(i.End.Sub(i.Start)) / float64(r.End.Sub(r.Start))
			}
		}
		got := of[m.Name]
		for class, share := range want {
			if math.Abs(got.Widths[class]-share) > 0.002 {
				t.Errorf("%s: %s takes %.4f of the time line, want %.4f", m.Name, class, got.Widths[class], share)
			}
		}
		if len(got.Widths) != len(want) {
			t.Errorf("%s: drawn %v, want %v", m.Name, got.Widths, want)
		}
		heights := map[float64]string{}
		for class, h := range got.Heights {
			if class == "nodata" { // hatched
				continue
			}
			if other, taken := heights[math.Round(h)]; taken {
				t.Errorf("%s and %s are of one height: only colour tells them", class, other)
			}
			heights[math.Round(h)] = class
		}
	}
}

// colours looks at the pixels: no data is like no state, bands lie where the
// targets are.
func colours(t *testing.T, ctx context.Context) {
	t.Helper()
	states := map[string]color.RGBA{}
	for _, name := range []string{"--running", "--idle", "--stopped", "--changeover", "--planned", "--nodata", "--nodata-back"} {
		c := colour(t, ctx, name)
		for other, o := range states {
			if c == o {
				t.Errorf("%s and %s are both %v", name, other, c)
			}
		}
		states[name] = c
	}
	// The last machine was silent all day, until three hundredths before the end.
	strip := pictured(t, ctx, "section.machine:last-of-type svg.strip")
	hatch, back := 0, 0
	for x := 0.05; x < 0.9; x += 0.001 {
		switch c := at(strip, x, 0.45); c {
		case states["--nodata-back"]:
			back++
		case states["--running"], states["--idle"], states["--stopped"], states["--changeover"], states["--planned"]:
			t.Fatalf("a silent machine has the colour of a state at %.3f", x)
		default:
			if contrast(c, states["--nodata-back"]) > 1.5 { // a hatch, or its soft edge
				hatch++
			}
		}
	}
	if hatch < 50 || back < 50 {
		t.Errorf("no data is not hatched: %d and %d pixels of its colours", hatch, back)
	}
	// Its OEE is 0 %, so that the bands of its tile's track are bare.
	track := pictured(t, ctx, ".tile:last-child .track")
	for x, name := range map[float64]string{0.1: "--zone-bad", 0.62: "--zone-bad", 0.68: "--zone-warn", 0.82: "--zone-warn", 0.88: "--zone-good", 0.98: "--zone-good"} {
		if got, want := at(track, x, 0.5), colour(t, ctx, name); got != want {
			t.Errorf("the track is %v at %.2f, want %v (%s)", got, x, want, name)
		}
	}
	// What is drawn stands out from what it is drawn on.
	for _, pair := range [][2]string{{"--bar", "--track"}, {"--good", "--zone-bad"}, {"--good", "--zone-good"}, {"--warn", "--zone-warn"}, {"--warn", "--zone-bad"},
		{"--bad", "--zone-bad"}, {"--loss", "--track"}, {"--gain", "--track"}, {"--running", "--page"}, {"--stopped", "--page"}, {"--changeover", "--page"}, {"--planned", "--page"}, {"--nodata", "--nodata-back"}} {
		if c := contrast(colour(t, ctx, pair[0]), colour(t, ctx, pair[1])); c < 3 {
			t.Errorf("%s on %s has a contrast of %.2f, want 3", pair[0], pair[1], c)
		}
	}
}

// readable computes the contrast of every text with what lies behind it.
func readable(t *testing.T, ctx context.Context) {
	t.Helper()
	type text struct {
		Text, Front, Back string
		Size              float64
	}
	texts := ask[[]text](t, ctx, `(() => {
		const out = new Map(), walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		while (walker.nextNode()) {
			const node = walker.currentNode, e = node.parentElement;
			if (!node.textContent.trim() || ["STYLE", "SCRIPT", "title", "desc"].includes(e.tagName)) continue;
			const range = document.createRange(); range.selectNodeContents(node);
			if (!range.getClientRects().length) continue; // not shown
			const style = getComputedStyle(e), svg = e.namespaceURI.endsWith("svg");
			let behind = e, back;
			do { back = getComputedStyle(behind).backgroundColor; behind = behind.parentElement } while (behind && back === "rgba(0, 0, 0, 0)");
			const one = {Text: node.textContent.trim().slice(0, 40), Front: svg ? style.fill : style.color, Back: back, Size: parseFloat(style.fontSize)};
			out.set(one.Front + one.Back + (one.Size < 9), one);
		}
		return [...out.values()]})()`)
	if len(texts) < 5 {
		t.Fatalf("only %d kinds of text", len(texts))
	}
	worst := math.Inf(1)
	for _, x := range texts {
		var front, back color.RGBA
		for text, c := range map[string]*color.RGBA{x.Front: &front, x.Back: &back} {
			if _, err := fmt.Sscanf(text, "rgb(%d, %d, %d)", &c.R, &c.G, &c.B); err != nil {
				t.Fatalf("%q: colour %q", x.Text, text)
			}
		}
		c := contrast(front, back)
		worst = min(worst, c)
		if c < 4.5 {
			t.Errorf("%q: %s on %s has a contrast of %.2f, want 4.5", x.Text, x.Front, x.Back, c)
		}
		if x.Size < 8 {
			t.Errorf("%q is set in %.1f px", x.Text, x.Size)
		}
	}
	t.Logf("the lowest contrast of a text is %.2f", worst)
}

// nothingOverflows says that no scrolling sideways is needed, and nothing cut.
func nothingOverflows(t *testing.T, ctx context.Context) {
	t.Helper()
	for _, what := range ask[[]string](t, ctx, `(() => {
		const width = document.documentElement.clientWidth, out = [];
		const name = e => e.tagName + "." + (e.className.baseVal ?? e.className) + " " + e.textContent.trim().slice(0, 30);
		if (document.scrollingElement.scrollWidth > width) out.push("the page is " + document.scrollingElement.scrollWidth + " px wide");
		for (const e of document.body.querySelectorAll("*:not(.fill)")) {
			const box = e.getBoundingClientRect();
			if (!box.width || e.closest(".defs")) continue;
			if (box.right > width + .5 || box.left < -.5) out.push(name(e) + " reaches from " + box.left + " to " + box.right);
			if (e.closest("svg") === null && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline" && !e.matches(".track")) out.push(name(e) + " is cut: " + e.scrollWidth + " in " + e.clientWidth);
		}
		return out.slice(0, 10)})()`) {
		t.Error(what)
	}
	// Labels of a time line do not run into one another.
	for _, what := range ask[[]string](t, ctx, `[...document.querySelectorAll("svg.strip")].slice(0, 3).flatMap(s => {
		const boxes = [...s.querySelectorAll("text")].map(e => ({t: e.textContent, b: e.getBoundingClientRect()})).filter(x => x.b.width), out = [];
		boxes.forEach((x, i) => boxes.slice(i + 1).forEach(y => { if (x.b.left < y.b.right && y.b.left < x.b.right && x.b.top < y.b.bottom && y.b.top < x.b.bottom) out.push(x.t + " runs into " + y.t) }));
		return out})`) {
		t.Error(what)
	}
}

// accessible checks what a screen reader needs.
func accessible(t *testing.T, ctx context.Context) {
	t.Helper()
	for _, what := range ask[[]string](t, ctx, `(() => {
		const out = [];
		if (document.documentElement.lang !== "en") out.push("no language");
		document.querySelectorAll("svg").forEach(s => {
			if (s.getAttribute("aria-hidden") === "true") return;
			const text = (s.getAttribute("aria-labelledby") || "").split(" ").map(id => document.getElementById(id)?.textContent || "");
			if (s.getAttribute("role") !== "img" || text.length < 2 || text.some(x => x.length < 5)) out.push("a picture without a text: " + text);
		});
		document.querySelectorAll("th").forEach(h => { if (!h.scope) out.push("a head without a scope: " + h.textContent) });
		document.querySelectorAll(".band").forEach(b => { if (!/^[▲◆▼–] \S/.test(b.textContent)) out.push("a band without a sign and a word: " + b.textContent) });
		document.querySelectorAll(".mark").forEach(b => { if (!/^[◌●↻✓] \S/.test(b.textContent)) out.push("a mark without a sign and a word: " + b.textContent) });
		document.querySelectorAll("svg.strip").forEach(s => { if (!s.parentElement.querySelector("table")) out.push("a time line without a table") });
		document.querySelectorAll("a[href]").forEach(a => { if (!document.querySelector(a.getAttribute("href"))) out.push("a link that leads nowhere: " + a.getAttribute("href")) });
		const ids = [...document.querySelectorAll("[id]")].map(e => e.id);
		if (new Set(ids).size !== ids.length) out.push("an id twice");
		let level = 0;
		document.querySelectorAll("h1, h2, h3").forEach(h => { const n = +h.tagName[1]; if (n > level + 1) out.push("heading levels are skipped at " + h.textContent); level = n });
		return out})()`) {
		t.Error(what)
	}
}

// printed prints the page, and looks for charts that a page's end cuts.
func printed(t *testing.T, ctx context.Context, machines int) {
	t.Helper()
	for _, what := range ask[[]string](t, ctx, `[...document.querySelectorAll(".card, .tile, figure, .losses, .stops, .inputs")].filter(e => getComputedStyle(e).breakInside !== "avoid" || e.getBoundingClientRect().height > 1032).map(e => e.className).slice(0, 5)`) {
		t.Errorf("a page's end may cut %q", what)
	}
	if n := ask[int](t, ctx, `[...document.querySelectorAll(".inputs table")].filter(e => !e.checkVisibility()).length`); n > 0 {
		t.Errorf("%d tables of inputs are folded on paper", n)
	}
	pdf := run(t, ctx, chromedp.PrintToPDF(chromedp.PDFPreferCSSPageSize()))
	keep(t, "print.pdf", pdf)
	path, err := exec.LookPath("pdftotext")
	if err != nil {
		t.Log("pdftotext is not installed (Debian: poppler-utils): what lies on which page is not checked")
		return
	}
	command := exec.CommandContext(ctx, path, "-layout", "-", "-")
	command.Stdin = bytes.NewReader(pdf)
	text, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	pages := slices.DeleteFunc(strings.Split(string(text), "\f"), func(p string) bool { return strings.TrimSpace(p) == "" })
	strips := 0
	for i, p := range pages {
		begun, ended := strings.Count(p, "From planned to fully productive time"), strings.Count(p, "Fully productive time")
		if begun != ended {
			t.Errorf("page %d begins %d waterfalls and ends %d:\n%s", i+1, begun, ended, p)
		}
		if strings.Contains(p, "Time line") {
			strips++
			if !strings.Contains(p, "22:00") { // the last of its hours
				t.Errorf("page %d cuts a time line:\n%s", i+1, p)
			}
		}
	}
	if strips != machines {
		t.Errorf("%d time lines on paper, want %d", strips, machines)
	}
	t.Logf("%d pages", len(pages))
}
