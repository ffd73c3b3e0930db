package report_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/shardline/shardline/pipeline/oee/report"
)

// browser starts Chromium, or skips the test where there is none. With
// REPORT_SCREENSHOTS=dir the pages that it sees are left there to be looked at.
func browser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium is installed (Debian: apt-get install chromium): what the page looks like is not checked")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // the only page is ours
		chromedp.Flag("hide-scrollbars", true), chromedp.WSURLReadTimeout(time.Minute))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// look is how a page is looked at.
type look struct {
	width, height int64
	dark, print   bool
}

// open shows a report in the browser.
func open(t *testing.T, ctx context.Context, r *report.Report, l look) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.HTML(f); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	scheme, media := "light", "screen"
	if l.dark {
		scheme = "dark"
	}
	if l.print {
		media = "print"
	}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: media,
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
		t.Fatal(err)
	}
	run(t, ctx, chromedp.EmulateViewport(l.width, l.height))
	run(t, ctx, chromedp.Navigate("file://"+path))
}

// run takes a step, and returns what it gives.
func run[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) T {
	t.Helper()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// ask evaluates a script that returns T.
func ask[T any](t *testing.T, ctx context.Context, script string) T {
	t.Helper()
	return run(t, ctx, chromedp.Evaluate[T](script))
}

// keep leaves a picture where REPORT_SCREENSHOTS says.
func keep(t *testing.T, name string, picture []byte) {
	t.Helper()
	if dir := os.Getenv("REPORT_SCREENSHOTS"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name), picture, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// pictured is what the browser draws of an element.
func pictured(t *testing.T, ctx context.Context, selector string) image.Image {
	t.Helper()
	m, err := png.Decode(bytes.NewReader(run(t, ctx, chromedp.Screenshot(chromedp.CSS(selector)))))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func at(m image.Image, x, y float64) color.RGBA {
	b := m.Bounds()
	c, _ := color.RGBAModel.Convert(m.At(b.Min.X+int(x*float64(b.Dx()-1)), b.Min.Y+int(y*float64(b.Dy()-1)))).(color.RGBA)
	return c
}

// colour is a custom property of the page.
func colour(t *testing.T, ctx context.Context, name string) color.RGBA {
	t.Helper()
	text := ask[string](t, ctx, fmt.Sprintf(`getComputedStyle(document.documentElement).getPropertyValue(%q).trim()`, name))
	var c color.RGBA
	if _, err := fmt.Sscanf(text, "#%02x%02x%02x", &c.R, &c.G, &c.B); err != nil {
		t.Fatalf("%s is %q", name, text)
	}
	c.A = 255
	return c
}

// contrast of WCAG 2: 1 to 21.
func contrast(a, b color.RGBA) float64 {
	luminance := func(c color.RGBA) float64 {
		linear := func(v uint8) float64 {
			s := float64(v) / 255
			if s <= 0.04045 {
				return s / 12.92
			}
			return math.Pow((s+0.055)/1.055, 2.4)
		}
		return 0.2126*linear(c.R) + 0.7152*linear(c.G) + 0.0722*linear(c.B)
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// TestBrowser looks at the page as people do.
func TestBrowser(t *testing.T) {
	ctx := browser(t)
	var mu sync.Mutex // guards requests and complaints
	var requests, complaints []string
	if err := chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			requests = append(requests, e.Request.URL)
		case *log.EventEntryAdded:
			complaints = append(complaints, e.Entry.Text)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	r := sample(t)

	t.Run("desk", func(t *testing.T) {
		open(t, ctx, r, look{width: 1280, height: 900})
		keep(t, "light.png", run(t, ctx, chromedp.FullScreenshot(100)))
		barsMatch(t, ctx, r)
		lossesMatch(t, ctx, r)
		timelinesMatch(t, ctx, r)
		colours(t, ctx)
		readable(t, ctx)
		nothingOverflows(t, ctx)
		accessible(t, ctx)
	})
	t.Run("dark", func(t *testing.T) {
		open(t, ctx, r, look{width: 1280, height: 900, dark: true})
		keep(t, "dark.png", run(t, ctx, chromedp.FullScreenshot(100)))
		if back := colour(t, ctx, "--page"); contrast(back, color.RGBA{A: 255}) > 2 {
			t.Errorf("the page is %v in a dark theme", back)
		}
		colours(t, ctx)
		readable(t, ctx)
	})
	for _, width := range []int64{360, 320} {
		t.Run(fmt.Sprintf("phone %d", width), func(t *testing.T) {
			open(t, ctx, r, look{width: width, height: 740})
			keep(t, fmt.Sprintf("phone-%d.png", width), run(t, ctx, chromedp.FullScreenshot(100)))
			nothingOverflows(t, ctx)
			ask[chromedp.Void](t, ctx, `document.querySelectorAll("details").forEach(d => d.open = true)`)
			keep(t, fmt.Sprintf("phone-%d-open.png", width), run(t, ctx, chromedp.FullScreenshot(100)))
			nothingOverflows(t, ctx)
			barsMatch(t, ctx, r)
			readable(t, ctx)
		})
	}
	t.Run("paper", func(t *testing.T) {
		// A4 less its margins is 703 px wide; a dark theme must not get there.
		open(t, ctx, r, look{width: 703, height: 1032, dark: true, print: true})
		if back := colour(t, ctx, "--page"); back != (color.RGBA{255, 255, 255, 255}) {
			t.Errorf("paper is %v", back)
		}
		readable(t, ctx)
		nothingOverflows(t, ctx)
		printed(t, ctx, len(r.Machines))
	})
	t.Run("many", func(t *testing.T) {
		names := many(500)
		p := build(7, names...)
		open(t, ctx, made(t, p, nil), look{width: 360, height: 740})
		nothingOverflows(t, ctx)
	})

	t.Run("crowded", func(t *testing.T) {
		open(t, ctx, crowded(t), look{width: 320, height: 740})
		keep(t, "crowded.png", run(t, ctx, chromedp.FullScreenshot(100)))
		nothingOverflows(t, ctx)
		open(t, ctx, crowded(t), look{width: 1280, height: 740})
		nothingOverflows(t, ctx)
	})

	mu.Lock()
	defer mu.Unlock()
	for _, url := range requests {
		if !strings.HasPrefix(url, "file:///") || !strings.HasSuffix(url, "/report.html") {
			t.Errorf("the page asked for %s", url)
		}
	}
	if len(complaints) > 0 {
		t.Errorf("the browser complains: %q", complaints)
	}
}
