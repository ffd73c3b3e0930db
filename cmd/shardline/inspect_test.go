package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// inspectCommand runs "shardline inspect" and returns its exit code and outputs.
func inspectCommand(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errors bytes.Buffer
	code = run(context.Background(), append([]string{"inspect"}, args...), environment{
		stdin: strings.NewReader(stdin), stdout: &out, stderr: &errors, getenv: func(string) string { return "" },
	})
	return code, out.String(), errors.String()
}

func TestInspect(t *testing.T) {
	folder := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := write("good.xml", `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header><HotelCode>9</HotelCode></s:Header><s:Body>`+
		`<OTA_HotelCacheChangeNotifRQ><CacheChangeInfo HotelCode="007"/><CacheChangeInfo HotelCode="&lt;8&gt;"/></OTA_HotelCacheChangeNotifRQ></s:Body></s:Envelope>`)
	bad := write("bad.xml", "<a>\n  <b HotelCode=1/></a>")
	missing := filepath.Join(folder, "missing.xml")
	const ping = `<OTA_PingRQ/>`

	t.Run("JSON lines", func(t *testing.T) {
		code, stdout, stderr := inspectCommand(ping, "--json", good, "-", bad, missing, folder)
		if code != 1 || stderr != "" {
			t.Errorf("exit %d, stderr %q", code, stderr)
		}
		want := []string{
			`{"file":"` + good + `","type":"OTA_HotelCacheChangeNotifRQ","hotel_codes":["007","<8>"],"found_at":["HDR:HotelCode element","CacheChangeInfo/@HotelCode"],"soap":"1.1","error":null}`,
			`{"file":"-","type":"OTA_PingRQ","hotel_codes":[],"found_at":[],"soap":"","error":null}`,
			`{"file":"` + bad + `","type":"","hotel_codes":[],"found_at":[],"soap":"","error":"2:16: value of attribute HotelCode is not quoted"}`,
			`{"file":"` + missing + `","type":"","hotel_codes":[],"found_at":[],"soap":"","error":"no such file or directory"}`,
			`{"file":"` + folder + `","type":"","hotel_codes":[],"found_at":[],"soap":"","error":"is a directory"}`,
		}
		lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
		if len(lines) != len(want) {
			t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), stdout)
		}
		for i, line := range lines {
			if line != want[i] {
				t.Errorf("got  %s\nwant %s", line, want[i])
			}
			if !json.Valid([]byte(line)) {
				t.Errorf("no JSON: %s", line)
			}
		}
	})

	t.Run("table", func(t *testing.T) {
		code, stdout, _ := inspectCommand("", good, bad)
		lines := strings.Split(stdout, "\n")
		if code != 1 || len(lines) != 4 {
			t.Fatalf("exit %d:\n%s", code, stdout)
		}
		// Columns are aligned, and the reason stands in the last one.
		column := strings.Index(lines[0], "FOUND AT")
		if !strings.HasPrefix(lines[1][column:], "HDR:HotelCode element, CacheChangeInfo/@HotelCode") ||
			!strings.HasPrefix(lines[2][column:], "error: 2:16: value of attribute HotelCode is not quoted") ||
			!strings.Contains(lines[1], "007, <8>") {
			t.Errorf("got\n%s", stdout)
		}
	})

	t.Run("no code is no error", func(t *testing.T) {
		if code, stdout, stderr := inspectCommand(ping, "-"); code != 0 || stderr != "" || !strings.Contains(stdout, "OTA_PingRQ") {
			t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
		}
	})

	t.Run("control characters do not reach the terminal", func(t *testing.T) {
		if _, stdout, _ := inspectCommand(`<Update HotelCode="a&#x9B;&#9;&#x202E;b"/>`, "-"); !strings.Contains(stdout, `"a\u009b\t\u202eb"`) && !strings.Contains(stdout, `"a\u009b \u202eb"`) {
			t.Errorf("got %q", stdout)
		}
	})

	t.Run("no file", func(t *testing.T) {
		if code, stdout, stderr := inspectCommand(""); code != 1 || stdout != "" || !strings.Contains(stderr, "no FILE is named") {
			t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
		}
	})
}
