package consumers_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"go.uber.org/zap"

	"github.com/shardline/shardline/consumers"
)

func TestConsumerIsRegisteredOnce(t *testing.T) {
	for name, test := range map[string]struct {
		change    func(f *fakeFanOut)
		registers int
	}{
		"new":                                   {func(*fakeFanOut) {}, 1},
		"there already":                         {func(f *fakeFanOut) { f.generation = 1 }, 0},
		"there already, still CREATING":         {func(f *fakeFanOut) { f.generation, f.creating = 1, 4 }, 0},
		"another worker registered it just now": {func(f *fakeFanOut) { f.refusals = []error{&types.ResourceInUseException{}} }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeFanOut(t, 2)
				test.change(f)
				r := newFanOutTest(t, f, horizon)
				got, problems := r.until(t, 2)
				expectRecords(t, got, 0, 2)
				if len(problems) > 0 || r.polled() || len(f.registered) != test.registers {
					t.Errorf("errors %v, polled %v, registered at %v", problems, r.polled(), f.registered)
				}
			})
		})
	}
}

// Without a consumer the source is read by polling, which is said once; when
// there is one it goes on by enhanced fan-out at the same place.
func TestFallsBackToPollingAndReturns(t *testing.T) {
	for name, refusal := range map[string]error{
		"20 consumers": &types.LimitExceededException{Message: aws.String("20 consumers")},
		"denied":       serviceError("AccessDeniedException", "not authorized to perform: kinesis:RegisterStreamConsumer"),
		"internal":     serviceError("InternalFailure", ""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakeFanOut(t, 10)
				for range 4 {
					f.refusals = append(f.refusals, refusal)
				}
				f.limit = 3
				r := newFanOutTest(t, f, horizon)
				got, problems := r.until(t, 10)
				expectRecords(t, got, 0, 10)
				if len(problems) > 0 || !r.polled() || len(r.subscriptions()) > 0 {
					t.Errorf("errors %v, polled %v, subscriptions %v", problems, r.polled(), r.subscriptions())
				}
				if on := metric(t, r.reg, "shardline_consumers_fan_out"); on != 0 {
					t.Errorf("fan_out is %v while it polls", on)
				}
				for len(r.subscriptions()) == 0 {
					if _, err := step(t, r); err != nil {
						t.Fatal(err)
					}
				}
				f.put(0, 2)
				got, problems = r.until(t, 2)
				expectRecords(t, got, 10, 2)
				if on := metric(t, r.reg, "shardline_consumers_fan_out"); on != 1 || len(problems) > 0 {
					t.Errorf("fan_out is %v, errors %v", on, problems)
				}
				if said := r.logs.FilterLevelExact(zap.WarnLevel).All(); len(said) != 1 || !strings.Contains(said[0].Message, "polling") {
					t.Errorf("warnings %v, want one", said)
				}
				// A second or so, two, four: half of each pause is random.
				for i, least := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second} {
					if pause := f.registered[i+1].Sub(f.registered[i]); pause < least || pause > 2*least {
						t.Errorf("attempt %d came after %v, want %v to %v", i+1, pause, least, 2*least)
					}
				}
			})
		})
	}
}

// A role that may register but not subscribe is no reason to stop.
func TestPollsWhileSubscribingIsDenied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeFanOut(t, 6)
		denied := fault{err: serviceError("AccessDeniedException", "not authorized to perform: kinesis:SubscribeToShard")}
		f.faults["SubscribeToShard"] = []fault{denied, denied, denied}
		r := newFanOutTest(t, f, horizon)
		got, problems := r.until(t, 6)
		expectRecords(t, got, 0, 6)
		for len(r.subscriptions()) < 4 {
			if _, err := step(t, r); err != nil {
				problems = append(problems, err)
			}
		}
		f.put(0, 1)
		got, _ = r.until(t, 1)
		expectRecords(t, got, 6, 1)
		if len(problems) > 0 {
			t.Errorf("errors %v: polling has none", problems)
		}
		if said := r.logs.FilterLevelExact(zap.WarnLevel).All(); len(said) != 1 {
			t.Errorf("warnings %v, want one", said)
		}
	})
}

func TestConsumerThatWasDeregisteredIsRegisteredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFanOutTest(t, newFakeFanOut(t, 3), horizon)
		got, _ := f.until(t, 3)
		f.deregister()
		f.eventFaults = []eventFault{{err: &types.ResourceNotFoundException{Message: aws.String("Consumer not found")}}}
		if _, err := step(t, f); err == nil {
			t.Error("no error for the consumer")
		}
		f.put(0, 2)
		rest, _ := f.until(t, 2)
		for len(f.subscriptions()) < 2 {
			_, _ = step(t, f)
		}
		f.put(0, 2)
		more, _ := f.until(t, 2)
		expectRecords(t, append(append(got, rest...), more...), 0, 7)
		if len(f.registered) != 2 {
			t.Errorf("registered at %v, want twice", f.registered)
		}
	})
}

func TestConsumerNeedsAClientOfFanOut(t *testing.T) {
	if _, err := consumers.NewSource(consumers.Config{Name: "hotels-a", StreamARN: streamARN, Client: newFakeStream(0), Consumer: "fanout"}); err == nil {
		t.Error("no error")
	}
}

// All subscriptions share one HTTP/2 connection: whether it lives is asked
// before the silence of a subscription ends it.
func TestDeadConnectionsAreFound(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	base, _, err := consumers.NewBase(t.Context(), consumers.BaseConfig{Region: region})
	if err != nil {
		t.Fatal(err)
	}
	transport := consumers.TransportOf(base)
	if c := transport.HTTP2; !transport.ForceAttemptHTTP2 || c == nil || c.SendPingTimeout <= 0 || c.PingTimeout <= 0 || c.SendPingTimeout+c.PingTimeout >= time.Minute {
		t.Errorf("HTTP/2 settings %+v", c)
	}
}
