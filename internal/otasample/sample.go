// Package otasample makes OpenTravel messages for the demo, tests and
// benchmarks: availability, rates and reservations, some in SOAP envelopes, some
// with a prefix, in the sizes that notifications have in the field.
//
// Promise: the same seed and the same calls give the same bytes. Every message
// of a generator has its own EchoToken, and a SequenceNmbr that grows with every
// message of the generator, so that a receiver can tell each one. Nothing in
// them is a real hotel, guest or card.
package otasample

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"time"
)

// Generator makes messages. It is not safe for concurrent use.
type Generator struct {
	random *rand.Rand
	token  []byte // the seed's part of every EchoToken
	count  uint64
}

// New makes a generator whose messages follow from the seed alone.
func New(seed uint64) *Generator {
	token := append(strconv.AppendUint([]byte("s"), seed, 36), '-')
	return &Generator{
		random: rand.New(rand.NewPCG(seed, 0x07a5a3b1e)),
		token:  token,
	}
}

// Next is the generator's next message, about the given hotel.
func (g *Generator) Next(hotel string) []byte {
	g.count++
	size := g.drawSize()
	m := message{
		body:   make([]byte, 0, size+size/8+512),
		random: g.random,
		target: size,
		stamp:  stampZero.Add(time.Duration(g.count) * time.Second),
	}
	// Of 20 messages 9 are availability, 7 rates, 4 reservations; every fifth
	// is in an envelope and every fourth has a prefix.
	kind := g.random.IntN(20)
	envelope := g.random.IntN(10)
	if g.random.IntN(4) == 0 {
		m.prefix = "ota:"
	}
	if g.random.IntN(5) > 0 {
		m.add("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")
	}
	name, write := "HotelResNotif", (*message).reservation
	switch {
	case kind < 9:
		name, write = "HotelAvailNotif", (*message).availability
	case kind < 16:
		name, write = "HotelRateAmountNotif", (*message).rates
	}
	closing := m.openEnvelope(envelope, name)
	write(&m, g, hotel)
	m.add(closing)
	return m.body
}

// stampZero is the TimeStamp before the first message.
var stampZero = time.Date(2025, time.March, 1, 6, 0, 0, 0, time.UTC)

// EchoToken is the token of a message that a Generator made, or empty. It does
// not parse: a receiver calls it for every message.
func EchoToken(body []byte) string {
	value, _ := attributeOf(body, ` EchoToken="`)
	return value
}

// Sequence is the SequenceNmbr of a message that a Generator made, from 1, or 0.
func Sequence(body []byte) uint64 {
	value, _ := attributeOf(body, ` SequenceNmbr="`)
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func attributeOf(body []byte, before string) (string, bool) {
	_, rest, ok := bytes.Cut(body, []byte(before))
	if !ok {
		return "", false
	}
	value, _, ok := bytes.Cut(rest, []byte(`"`))
	return string(value), ok
}

// sizes are quantiles of the wanted sizes in bytes: the share of messages that
// are smaller. As in the field: median under 2 kB, 90th percentile under 9 kB,
// 99th 30 kB, some 50 kB; the mean is 4 kB.
var sizes = []struct {
	share float64
	bytes float64
}{
	{0, 500}, {0.10, 800}, {0.25, 1200}, {0.50, 1900}, {0.75, 4200},
	{0.90, 8700}, {0.97, 16500}, {0.99, 30000}, {1, 50000},
}

func (g *Generator) drawSize() int {
	at := g.random.Float64()
	for i := 1; i < len(sizes); i++ {
		if at <= sizes[i].share {
			low, high := sizes[i-1], sizes[i]
			return int(low.bytes + (high.bytes-low.bytes)*(at-low.share)/(high.share-low.share))
		}
	}
	return int(sizes[len(sizes)-1].bytes)
}
