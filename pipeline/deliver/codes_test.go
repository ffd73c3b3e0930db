package deliver_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardline/shardline/pipeline"
	"github.com/shardline/shardline/pipeline/deliver"
	"github.com/shardline/shardline/pipeline/opentravel"
)

const otaError = `<R xmlns="http://www.opentravel.org/OTA/2003/05"><Errors><Error Type="13" Code="450" ShortText="x"/></Errors></R>`

// A destination's own codes go over the table of statuses and over that of
// OpenTravel codes; a body's verdict goes over a status as before.
func TestOwnCodes(t *testing.T) {
	var status atomic.Int32
	var body atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(status.Load()))
		io.WriteString(w, body.Load().(string)) //nolint:errcheck // the client sees it
	}))
	defer server.Close()
	statuses := map[int]deliver.Class{404: deliver.Refused, 409: deliver.Retry, 422: deliver.Hold, 503: deliver.Refused, 504: deliver.Retry, 500: deliver.Hold}
	for _, c := range []struct {
		status   int
		body     string
		response deliver.Response
		own      bool
		want     deliver.Reason
	}{
		{404, "", deliver.ResponseStatus, false, deliver.ReasonNotFound},
		{404, "", deliver.ResponseStatus, true, deliver.ReasonRejected},
		{409, "", deliver.ResponseStatus, false, deliver.ReasonRejected},
		{409, "", deliver.ResponseStatus, true, deliver.ReasonTryLater},
		{422, "", deliver.ResponseStatus, true, deliver.ReasonStatusHold},
		{503, "", deliver.ResponseStatus, true, deliver.ReasonRejected},
		{504, "", deliver.ResponseStatus, true, deliver.ReasonServerError},
		{502, "", deliver.ResponseStatus, true, deliver.ReasonServerError},
		{200, "", deliver.ResponseStatus, true, deliver.ReasonDelivered},
		{200, otaError, deliver.ResponseOpenTravel, false, deliver.ReasonOTAUnclear},
		{200, otaError, deliver.ResponseOpenTravel, true, deliver.ReasonOTAPermanent},
		{500, otaError, deliver.ResponseOpenTravel, true, deliver.ReasonOTAPermanent},
		{500, "no verdict", deliver.ResponseOpenTravel, true, deliver.ReasonStatusHold},
	} {
		config := deliver.Config{Name: "channel", URL: server.URL, Response: c.response}
		if c.own {
			config.Statuses = statuses
			config.Classes = opentravel.Classes{Codes: map[string]opentravel.Class{"450": opentravel.Permanent}}
		}
		h, err := deliver.NewHTTP(config)
		if err != nil {
			t.Fatal(err)
		}
		status.Store(int32(c.status))
		body.Store(c.body)
		a := h.Send(context.Background(), &deliver.Message{Shard: &shardInfo, Record: &pipeline.Record{}, Attempt: 1, Deadline: time.Now().Add(time.Minute)})
		if a.Reason != c.want {
			t.Errorf("%d %q, own codes %v: %s, want %s", c.status, c.body, c.own, a.Reason, c.want)
		}
		h.Close() //nolint:errcheck // it has no error
	}
}

// Partial failures are logged with the delivery: the first at once, then one a
// minute, each at debug, with what the receiver says of single records.
func TestWarningsAreLogged(t *testing.T) {
	said := opentravel.ReadAnswer([]byte(`<R xmlns="http://www.opentravel.org/OTA/2003/05"><Success/><Warnings>
		<Warning RecordID="7" Type="3" Code="321" ShortText="no rate&#10;plan">x</Warning>`+strings.Repeat(`<Warning Code="1"/>`, 20)+`</Warnings></R>`), false)
	if said.Class != opentravel.Delivered || said.Warnings != 21 || len(said.Notes) != 5 || said.Notes[0] != "RecordID 7, Type 3, Code 321, ShortText no rate plan" {
		t.Fatalf("answer %+v", said)
	}
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		r := &receiver{answer: func(context.Context, attempt) deliver.Answer {
			return deliver.Answer{Reason: deliver.ReasonDelivered, Warnings: said.Warnings, Notes: said.Notes}
		}}
		s := begin(t, deliver.Config{Transport: r, Logger: zap.New(core)})
		for range 100 {
			s.put("a")
			time.Sleep(time.Second)
		}
		lines := logs.FilterMessageSnippet("with warnings")
		if warned := lines.FilterLevelExact(zapcore.WarnLevel).All(); lines.Len() != 100 || len(warned) != 2 {
			t.Fatalf("%d lines, %d of them warn; want 100 and 2 in 100 s", lines.Len(), len(warned))
		} else if f := warned[1].ContextMap(); f["answers"] != int64(60) || f["warnings"] != int64(21) || f["sequence_number"] != "61" ||
			!reflect.DeepEqual(f["notes"].([]any)[0], said.Notes[0]) {
			t.Errorf("line %v", f)
		}
	})
}
