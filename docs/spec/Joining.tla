-------------------------------- MODULE Joining --------------------------------
(* How one that is behind joins the live log again within a tenure: a laggard, *)
(* and a parked key. One shard, the subscriber D with its lanes, and the others*)
(* as one reader E of the log. D gets records from its live cursor or from      *)
(* catch-up, and never knows from which: shown is that each lane gets its       *)
(* records in order, none twice and none left out; that what the live cursor    *)
(* is to give is in the log; that E goes on whatever D does; and that D, when   *)
(* its attempts end, gets everything. Positions.tla has Join and Unpark as one  *)
(* step each: their guards are asserted here (Refines).                          *)
EXTENDS Integers, Sequences, FiniteSets
(* Invariants: InOrder InLog Refines *)

CONSTANTS Window, Bug

Records == <<"a", "b", "a", "b", "a">>
Keys == {"a", "b"}
N == Len(Records)
Min(S) == CHOOSE x \in S : \A y \in S : x <= y
Max(S) == CHOOSE x \in S : \A y \in S : x >= y
NextOf(k, n) == Min({i \in (n + 1)..N : Records[i] = k} \union {N + 1})   \* behind n
LastOf(k, n) == Max({i \in 1..n : Records[i] = k} \union {0})              \* up to n

VARIABLES
    head, tail,   \* the log holds the records tail .. head
    e,            \* E has settled up to here
    state,        \* D: "live" | "behind" | "joining"
    x,            \* D's live cursor has passed the records up to here; joining: placed here
    y,            \* D's catch-up has passed the records up to here, but for parked keys
    handed,       \* [Keys -> last record that the lane was given]
    settled,      \* [Keys -> last record that the lane settled]
    flying,       \* keys with an attempt in flight
    parked,       \* keys that catch-up serves apart
    backed,       \* [Keys -> 0, or: the live cursor holds back the key's records behind this one]
    ok            \* no lane got a record twice or out of order
vars == <<head, tail, e, state, x, y, handed, settled, flying, parked, backed, ok>>
lanes == <<settled, flying>>

Init ==
    /\ head = 0 /\ tail = 1 /\ e = 0
    /\ state = "live" /\ x = 0 /\ y = 0
    /\ handed = [k \in Keys |-> 0] /\ settled = [k \in Keys |-> 0]
    /\ flying = {} /\ parked = {} /\ backed = [k \in Keys |-> 0]
    /\ ok = TRUE

(* D's own position is before this. What is held back counts: else the position *)
(* would go back when the key is unparked. *)
HeldBack == IF Bug = "heldBackUncounted" THEN {} ELSE {NextOf(k, backed[k]) : k \in {q \in Keys : backed[q] # 0}}
Unsettled == Min({NextOf(k, settled[k]) : k \in Keys \ parked} \union HeldBack \union {N + 1})

(* D needs the log from here on. *)
Needs == CASE state = "behind" -> N + 1
           [] state = "joining" -> IF Bug = "tailNotHeld" THEN N + 1 ELSE x + 1
           [] OTHER -> Min({x + 1, Unsettled})

Read == /\ head < N /\ head + 1 - tail < Window /\ head' = head + 1
        /\ UNCHANGED <<tail, e, state, x, y, handed, lanes, parked, backed, ok>>
Free == /\ tail <= head /\ e >= tail /\ Needs > tail /\ tail' = tail + 1
        /\ UNCHANGED <<head, e, state, x, y, handed, lanes, parked, backed, ok>>
Others == /\ e < head /\ e' = e + 1
          /\ UNCHANGED <<head, tail, state, x, y, handed, lanes, parked, backed, ok>>

Hand(k, n) == /\ handed' = [handed EXCEPT ![k] = n]
              /\ ok' = (ok /\ n = NextOf(k, handed[k]))

Live ==                       \* the live cursor passes a record
    LET n == x + 1 k == Records[n] IN
    /\ state = "live" /\ x < head /\ x' = n
    /\ IF k \in parked THEN UNCHANGED <<handed, ok>>          \* catch-up's, or held back
       ELSE Hand(k, n)
    /\ UNCHANGED <<head, tail, e, state, y, lanes, parked, backed>>

CatchUp ==                    \* for all but the parked keys; what is settled ahead is dropped
    LET n == y + 1 k == Records[n] IN
    /\ state # "live" /\ y < head
    /\ state = "joining" /\ Bug # "catchUpPastHead" => y < x
    /\ y' = n
    /\ IF k \in parked \/ n <= handed[k] THEN UNCHANGED <<handed, ok>> ELSE Hand(k, n)
    /\ UNCHANGED <<head, tail, e, state, x, lanes, parked, backed>>

CatchUpKey(k) ==              \* for a parked key, not beyond where the live cursor is
    LET n == NextOf(k, handed[k])
        end == IF state = "behind" \/ Bug = "keyPastCursor" THEN head ELSE IF backed[k] # 0 THEN backed[k] ELSE x
    IN /\ k \in parked /\ n <= end
       /\ Hand(k, n)
       /\ UNCHANGED <<head, tail, e, state, x, y, lanes, parked, backed>>

Start(k) == /\ k \notin flying /\ settled[k] < handed[k] /\ flying' = flying \union {k}
            /\ UNCHANGED <<head, tail, e, state, x, y, handed, settled, parked, backed, ok>>
Settle(k) == /\ k \in flying /\ flying' = flying \ {k}
             /\ settled' = [settled EXCEPT ![k] = NextOf(k, @)]
             /\ UNCHANGED <<head, tail, e, state, x, y, handed, parked, backed, ok>>

(* A lane keeps what is in flight, and gives the rest back. *)
Kept(k) == IF k \in flying THEN NextOf(k, settled[k]) ELSE settled[k]

Leave ==                      \* it is in the way of the others
    /\ state # "live" \/ Needs <= head
    /\ state # "behind" /\ Needs = tail /\ head + 1 - tail = Window /\ e >= tail /\ Bug # "neverLeaves"
    /\ state' = "behind"
    /\ handed' = [k \in Keys |-> IF k \in parked THEN handed[k] ELSE Kept(k)]
    /\ y' = Min({NextOf(k, Kept(k)) : k \in Keys \ parked} \union {head + 1}) - 1
    /\ backed' = [k \in Keys |-> 0]
    /\ UNCHANGED <<head, tail, e, x, lanes, parked, ok>>

Place ==                      \* the live cursor is placed at the head, and holds the tail
    /\ state = "behind" /\ state' = "joining" /\ x' = head
    /\ UNCHANGED <<head, tail, e, y, handed, lanes, parked, backed, ok>>
Meet ==                       \* its own position has reached it: its lanes move over
    /\ state = "joining"
    /\ IF Bug = "meetsEarly" THEN Unsettled > x - 1 ELSE y >= x /\ Unsettled > x
    /\ state' = "live"
    /\ UNCHANGED <<head, tail, e, x, y, handed, lanes, parked, backed, ok>>

Park(k) ==                    \* the lane stands at D's position and holds it
    /\ k \notin parked /\ settled[k] < handed[k] /\ NextOf(k, settled[k]) = Unsettled
    /\ parked' = parked \union {k}
    /\ handed' = [handed EXCEPT ![k] = Kept(k)]
    /\ UNCHANGED <<head, tail, e, state, x, y, lanes, backed, ok>>
HoldBack(k) ==                \* from now on the live cursor keeps the key's records
    /\ k \in parked /\ state = "live" /\ backed[k] = 0 /\ x > 0 /\ backed' = [backed EXCEPT ![k] = x]
    /\ UNCHANGED <<head, tail, e, state, x, y, handed, lanes, parked, ok>>
GiveUp(k) ==                  \* too many are held back: they are catch-up's again
    /\ backed[k] # 0 /\ backed' = [backed EXCEPT ![k] = 0]
    /\ UNCHANGED <<head, tail, e, state, x, y, handed, lanes, parked, ok>>
RECURSIVE HandBack(_, _)      \* the last of those held back, all in order
HandBack(k, n) == IF NextOf(k, n) <= x THEN HandBack(k, NextOf(k, n)) ELSE n
Unpark(k) ==                  \* catch-up has reached the last that the cursor passed before: the lane gets the rest
    /\ backed[k] # 0 /\ state = "live"
    /\ \/ settled[k] = LastOf(k, backed[k])
       \/ Bug = "unparkedUnsettled" /\ handed[k] = LastOf(k, backed[k])
       \/ Bug = "unparkedEarly"
    /\ handed' = [handed EXCEPT ![k] = HandBack(k, IF Bug = "unparkedEarly" THEN backed[k] ELSE @)]
    /\ ok' = (ok /\ handed[k] = LastOf(k, backed[k]))
    /\ parked' = parked \ {k} /\ backed' = [backed EXCEPT ![k] = 0]
    /\ UNCHANGED <<head, tail, e, state, x, y, lanes>>
Rejoin(k) ==                  \* of a laggard's parked key that is not behind the laggard any more
    /\ k \in parked /\ state # "live" /\ handed[k] >= LastOf(k, y) /\ settled[k] = handed[k]
    /\ parked' = parked \ {k}
    /\ UNCHANGED <<head, tail, e, state, x, y, handed, lanes, backed, ok>>

Attempts(k) == Start(k) \/ Settle(k)
Next == \/ Read \/ Free \/ Others \/ Live \/ CatchUp \/ Leave \/ Place \/ Meet
        \/ \E k \in Keys : CatchUpKey(k) \/ Attempts(k) \/ Park(k) \/ HoldBack(k) \/ GiveUp(k) \/ Unpark(k) \/ Rejoin(k)
Spec == Init /\ [][Next]_vars

InOrder == ok
InLog == /\ state = "live" => x + 1 >= tail /\ Unsettled >= tail
         /\ state = "joining" => x + 1 >= tail

(* The guards of Positions.tla's Join and Unpark, where Meet and Unpark are     *)
(* possible. *)
Refines == /\ state = "joining" /\ y >= x /\ Unsettled > x => Unsettled > head - Window
           /\ \A k \in Keys : ENABLED Unpark(k) =>
                LET first == NextOf(k, settled[k]) IN first > head \/ first >= Unsettled

(* E goes on whatever D does, even if no attempt of D ever ends. *)
Isolated == Spec /\ WF_vars(Read) /\ WF_vars(Free) /\ WF_vars(Others) /\ WF_vars(Leave)
EDone == <>(e = N)
(* And D gets everything, when its attempts end and the engine moves. *)
Fair == /\ Isolated /\ WF_vars(Live) /\ WF_vars(CatchUp)
        /\ \A k \in Keys : WF_vars(CatchUpKey(k)) /\ WF_vars(Attempts(k))
DDone == <>(\A k \in Keys : settled[k] = LastOf(k, N))
================================================================================
