package filter_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/shardline/shardline/pipeline/filter"
)

// TestPasses asks filters about a rate notification of two hotels, put with the
// partition key p-1 and keyed by chain, from the source north.
func TestPasses(t *testing.T) {
	m := filter.Message{Key: "chain", PartitionKey: "p-1", Type: "OTA_HotelRatePlanNotifRQ", Hotels: []string{"10023", "10024"}, Source: "north"}
	for _, tt := range []struct {
		filter string
		want   bool
	}{
		{`type == "OTA_HotelRatePlanNotifRQ"`, true},
		{`type == 'OTA_HotelRatePlanNotifRQ'`, true},
		{`type == OTA_HotelRatePlanNotifRQ`, true},
		{`type == ota_hotelrateplannotifrq`, false},
		{`type != OTA_HotelRatePlanNotifRQ`, false},
		{`type in [OTA_HotelAvailNotifRQ, OTA_HotelRatePlanNotifRQ]`, true},
		{`type in ["OTA_HotelAvailNotifRQ"]`, false},
		{`hotel == 10024`, true},  // one of them is enough
		{`hotel != 10024`, false}, // none may be it
		{`hotel in [10025, 10023]`, true},
		{`hotel == ""`, false}, // it names some
		{`!hotel in [10025, 10026]`, true},
		{`key == chain && partition_key == p-1 && source == north`, true},
		{`key == p-1`, false},
		{`type =~ "OTA_.*NotifRQ"`, true},
		{`type =~ "OTA_"`, false},     // the whole of it
		{`type =~ "OTA_|.*RQ"`, true}, // also of an alternative
		{`hotel =~ "1002[4-9]"`, true},
		{`hotel !~ "1002[4-9]"`, false},
		{`source == south || key == chain`, true},
		{`source == south || key == chain && hotel == 1`, false}, // && binds closer
		{`(source == south || key == chain) && hotel == 10023`, true},
		{`!(source == south) && !!(key == chain)`, true},
		{"\ttype == \"OTA_HotelRatePlanNotifRQ\" &&\n hotel == 10023 ", true},
	} {
		f, err := filter.Parse(tt.filter)
		if err != nil {
			t.Errorf("%s: %v", tt.filter, err)
			continue
		}
		if got := f.Passes(&m); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.filter, got, tt.want)
		}
		if f.String() != tt.filter {
			t.Errorf("it says %s", f)
		}
	}
}

// TestNoHotel: a message that names none has the empty text.
func TestNoHotel(t *testing.T) {
	for text, want := range map[string]bool{`hotel == ""`: true, `hotel != ""`: false, `hotel != 1`: true, `hotel == 1`: false, `hotel =~ ".*"`: true, `type == ""`: true, `key == "a\"b\\"`: false} {
		f, err := filter.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Passes(&filter.Message{Key: "k"}); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
	f, err := filter.Parse(`key == "a\"b\\"`)
	if err != nil || !f.Passes(&filter.Message{Key: `a"b\`}) {
		t.Errorf("escaped: %v", err)
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct{ filter, want string }{
		{``, `column 1: the end where hotel, key, partition_key, source, type, ! or ( is expected`},
		{`hotels == 1`, `column 1: "hotels" where hotel, key, partition_key, source, type, ! or ( is expected`},
		{`"hotel" == 1`, `column 1: "\"hotel\"" where hotel`},
		{`hotel = 1`, `column 7: '=' has no meaning here; a value with it stands in quotes`},
		{`hotel 1`, `column 7: "1" where ==, !=, =~, !~ or in is expected`},
		{`hotel ==`, `column 9: the end where a value is expected`},
		{`hotel == 1 2`, `column 12: "2" where &&, || or the end is expected`},
		{`hotel == 1 and key == 2`, `column 12: "and" where &&, || or the end is expected`},
		{`hotel == 1 &&`, `column 14: the end where hotel`},
		{`hotel in 1`, `column 10: "1" where [ is expected`},
		{`hotel in []`, `column 11: "]" where a value is expected`},
		{`hotel in [1, 2`, `column 15: the end where ] is expected`},
		{`(hotel == 1`, `column 12: the end where ) is expected`},
		{`type == "x`, `column 9: the quote is not closed`},
		{`type == "Ä" ß`, `column 13: 'ß' has no meaning here`},
		{`type =~ "("`, `column 9: not a regular expression (RE2): `},
		{strings.Repeat("!", 200) + "hotel == 1", `column 101: more than 100 conditions within each other`},
		{strings.Repeat("(", 200), `column 101: more than 100 conditions within each other`},
		{"key == " + strings.Repeat("x", 70_000), `column 1: longer than 65536 bytes`},
		{"key == \"\xff\"", `column 1: no UTF-8`},
	} {
		_, err := filter.Parse(tt.filter)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%.40s: %v, want %s", tt.filter, err, tt.want)
		}
	}
}

func TestSources(t *testing.T) {
	f, err := filter.Parse(`(source in [b, a] || !(source != c)) && source =~ "d" && key == e`)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(f.Sources(), " "); got != "a b c" {
		t.Errorf("%s, want a b c", got)
	}
}

// TestNoAllocation: a filter is asked for every record of every destination.
func TestNoAllocation(t *testing.T) {
	f, err := filter.Parse(`hotel in [1, 2, 3] && !(type =~ "OTA_.*ResNotifRQ" || source == south)`)
	if err != nil {
		t.Fatal(err)
	}
	hotels := []string{"9", "3"}
	if n := testing.AllocsPerRun(100, func() {
		if m := (filter.Message{Type: "OTA_HotelAvailNotifRQ", Hotels: hotels, Source: "north"}); !f.Passes(&m) {
			t.Error("it does not pass")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzParse: whatever the text, it is a filter that can be asked, or an error with
// a place in it.
func FuzzParse(f *testing.F) {
	for _, text := range []string{`hotel in ["a", 'b'] && !(type =~ "x.*" || key != 1)`, `((`, `type == "\"`, `!`, `source !~ '[a'`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := filter.Parse(text)
		if err == nil {
			p.Passes(&filter.Message{Key: "k", Hotels: []string{"1"}})
			return
		}
		bad, ok := err.(*filter.Error)
		if !ok || bad.Column < 1 || bad.Column > len(text)+1 {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// BenchmarkPasses asks about one of 1,000 hotels, and a pattern.
func BenchmarkPasses(b *testing.B) {
	var hotels []string
	for i := range 1000 {
		hotels = append(hotels, strconv.Itoa(i))
	}
	for name, text := range map[string]string{"hotels": "hotel in [" + strings.Join(hotels, ",") + "]", "pattern": `type =~ "OTA_Hotel(Avail|RatePlan)NotifRQ"`} {
		f, err := filter.Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			m := filter.Message{Type: "OTA_HotelAvailNotifRQ", Hotels: hotels[700:701]}
			for range b.N {
				if !f.Passes(&m) {
					b.Fatal("it does not pass")
				}
			}
		})
	}
}
