package checkpoint

import "testing"

func TestHolderOfALease(t *testing.T) {
	tenure := tenureOf("w1", "0123abcd", "00112233445566aa")
	if got := processOf(tenure); got != "0123abcd" {
		t.Errorf("process %q", got)
	}
	if got := processOf("t-1"); got != "" {
		t.Errorf("process of a tenure that is none: %q", got)
	}
	for _, c := range []struct {
		lease     Lease
		worker    string
		shardline bool
	}{
		{Lease{}, "", false},
		{Lease{Tenure: tenure}, "", false}, // its owner was removed by somebody else
		{Lease{Owner: "w1", Tenure: tenure}, "w1", true},
		{Lease{Owner: "w2", HandingOver: "w1", Tenure: tenure}, "w1", true},
		{Lease{Owner: "w1"}, "w1", false},                                     // given to w1 and not taken yet, or KCL's
		{Lease{Owner: "kcl", Tenure: tenure}, "kcl", false},                   // KCL took it from w1
		{Lease{Owner: "kcl", HandingOver: "k2", Tenure: tenure}, "k2", false}, // and hands it over
	} {
		if worker, shardline := c.lease.Holder(); worker != c.worker || shardline != c.shardline {
			t.Errorf("%+v: held by %q, of Shardline: %v", c.lease, worker, shardline)
		}
	}
}
