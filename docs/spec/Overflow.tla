------------------------------- MODULE Overflow -------------------------------
(* How behind is saved when it is too large for the lease item: the rest stands*)
(* in items of another table, under a name that is never used again, which the *)
(* lease item tells. Written before the save that names it, deleted after the  *)
(* one that does not. Writers crash, lose the lease without knowing it, and do *)
(* not learn what became of a write; a write may arrive late.                  *)
(*                                                                             *)
(* Shown: what is read is what the last save that landed meant, as if behind   *)
(* were written as a whole (Positions.tla takes it so); and what is named       *)
(* exists, so that no lease becomes unreadable.                                *)
EXTENDS Integers, FiniteSets, TLC
(* Invariants: Means Exists *)
(* Symmetry: Alike *)
(* View: Matters *)

CONSTANTS
    Workers,
    Names,        \* how many overflows may be written
    Tenures,      \* how many times the lease is taken
    Writes,       \* how many saves may land
    Cleaned,      \* whether somebody removes leftovers meanwhile
    Bug           \* "none", or the name of a deliberate defect

Subs == {"D", "E"}            \* each one's part of an overflow is an item of its own
Behind == {b \in [Subs -> 0..2] : b["E"] <= 1}      \* 0: not behind
Nobody == [d \in Subs |-> 0]
Gone == -1
InItem == 1                   \* entries that the lease item holds
Alike == Permutations(Workers)
Size(b) == Cardinality({d \in Subs : b[d] # 0})

VARIABLES
    item,         \* the lease: tenure, counter, entries, the name of its overflow (0: none)
    table,        \* [names -> [Subs -> part, or Gone]]
    used,         \* names used so far
    worker,       \* [Workers -> memory]
    late,         \* a write that has not arrived, although its writer gave it up
    watch,        \* leases check --clean, between its two looks
    meant         \* what the last save that landed meant
vars == <<item, table, used, worker, late, watch, meant>>

NoWrite == [tenure |-> 0, count |-> 0, entries |-> Nobody, ref |-> 0, means |-> Nobody]
Fresh == [tenure |-> 0, count |-> 0, step |-> "idle", current |-> 0, junk |-> {}, write |-> NoWrite]

Init ==
    /\ item = [tenure |-> 0, count |-> 0, entries |-> Nobody, ref |-> 0]
    /\ table = [r \in 1..Names |-> [d \in Subs |-> Gone]]
    /\ used = 0
    /\ worker = [w \in Workers |-> Fresh]
    /\ late = NoWrite
    /\ watch = [on |-> FALSE, tenure |-> 0, orphans |-> {}]
    /\ meant = Nobody

Read(d) ==                    \* an entry in the item stands over the overflow's
    LET part == IF item.ref = 0 \/ table[item.ref][d] = Gone THEN 0 ELSE table[item.ref][d]
        leftovers == {table[r][d] : r \in 1..Names} \ {0, Gone}
    IN IF Bug = "overflowOverItem" /\ part # 0 THEN part
       ELSE IF item.entries[d] # 0 THEN item.entries[d]
       ELSE IF Bug = "leftoversRead" /\ leftovers # {} THEN CHOOSE x \in leftovers : TRUE
       ELSE part

(* A late write that would be refused is no more. *)
StillLate == IF Bug = "unconditional" THEN late ELSE NoWrite

Take(w) ==                    \* the names of an earlier tenure may be gone
    /\ item.tenure < Tenures
    /\ item' = [item EXCEPT !.tenure = @ + 1, !.count = @ + 1]
    /\ worker' = [worker EXCEPT ![w].tenure = item.tenure + 1, ![w].count = item.count + 1, ![w].step = "idle", ![w].write = NoWrite,
                                ![w].current = IF Bug = "namedAcrossTenures" THEN @ ELSE 0]
    /\ late' = StillLate
    /\ UNCHANGED <<table, used, watch, meant>>

Crash(w) ==
    /\ worker[w] # Fresh
    /\ worker' = [worker EXCEPT ![w] = Fresh]
    /\ UNCHANGED <<item, table, used, late, watch, meant>>

Begin(w) ==                   \* decides where everything is to stand
    LET m == worker[w] IN
    /\ m.step = "idle" /\ m.tenure # 0
    /\ \E b \in Behind :
        LET last == IF m.current = 0 THEN Nobody ELSE table[m.current]
            moved == [d \in Subs |-> IF b[d] = last[d] THEN 0 ELSE b[d]]
            all == m.current # 0 /\ (Bug = "namedForOthers" \/ \A d \in Subs : last[d] # 0 => b[d] # 0)
            to(entries, ref) == [tenure |-> m.tenure, count |-> m.count, entries |-> entries, ref |-> ref, means |-> b]
        IN IF Size(b) <= InItem /\ ~(Bug = "namedForOthers" /\ m.current # 0)
           THEN /\ worker' = [worker EXCEPT ![w].write = to(b, 0), ![w].step = "send"]
                /\ UNCHANGED used
           ELSE IF all /\ Size(moved) <= InItem
           THEN /\ worker' = [worker EXCEPT ![w].write = to(moved, m.current), ![w].step = "send"]
                /\ UNCHANGED used
           ELSE LET ref == IF Bug = "oneName" THEN 1 ELSE used + 1 IN
                /\ ref <= Names
                /\ used' = ref
                /\ worker' = [worker EXCEPT ![w].write = to(Nobody, ref),
                                            ![w].step = IF Bug = "savedFirst" THEN "send" ELSE "put",
                                            ![w].current = ref, ![w].junk = @ \union {ref}]
    /\ UNCHANGED <<item, table, late, watch, meant>>

Put(w) ==                     \* one item after the other
    LET m == worker[w]
        left == {d \in Subs : table[m.write.ref][d] # m.write.means[d]}
    IN /\ m.step = "put"
       /\ IF left = {} THEN /\ worker' = [worker EXCEPT ![w].step = IF Bug = "savedFirst" THEN "idle" ELSE "send"]
                            /\ UNCHANGED table
          ELSE \E d \in left : /\ table' = [table EXCEPT ![m.write.ref][d] = m.write.means[d]]
                               /\ UNCHANGED worker
       /\ UNCHANGED <<item, used, late, watch, meant>>

Land(x) == /\ item' = [tenure |-> item.tenure, count |-> item.count + 1, entries |-> x.entries, ref |-> x.ref]
           /\ meant' = x.means
Accepted(x) == (x.tenure = item.tenure /\ x.count = item.count) \/ Bug = "unconditional"

Send(w) ==                    \* and learns what became of it, or not
    LET m == worker[w] x == m.write IN
    /\ m.step = "send" /\ item.count - item.tenure < Writes
    /\ \/ /\ Accepted(x) /\ Land(x)
          /\ worker' = [worker EXCEPT ![w].step = IF Bug = "savedFirst" /\ x.ref # 0 THEN "put" ELSE "sweep", ![w].count = @ + 1,
                                      ![w].write = IF Bug = "savedFirst" THEN @ ELSE NoWrite,
                                      ![w].junk = (@ \union {item.ref}) \ {0, x.ref},
                                      ![w].current = IF @ = x.ref THEN @ ELSE 0]
          /\ late' = StillLate
       \/ /\ Accepted(x) /\ Land(x)
          /\ worker' = [worker EXCEPT ![w].step = "ask", ![w].write = NoWrite] /\ late' = StillLate
       \/ /\ Accepted(x) /\ late' = x
          /\ worker' = [worker EXCEPT ![w].step = "ask", ![w].write = NoWrite] /\ UNCHANGED <<item, meant>>
       \/ /\ ~Accepted(x) /\ worker' = [worker EXCEPT ![w].step = "idle", ![w].tenure = 0, ![w].write = NoWrite]
          /\ UNCHANGED <<item, meant, late>>
    /\ UNCHANGED <<table, used, watch>>

Ask(w) ==                     \* a consistent read: is it my tenure, and where is the counter?
    /\ worker[w].step = "ask"
    /\ worker' = [worker EXCEPT ![w].step = "idle", ![w].count = item.count,
                                ![w].tenure = IF @ = item.tenure THEN @ ELSE 0]
    /\ UNCHANGED <<item, table, used, late, watch, meant>>

Arrive ==
    /\ late # NoWrite /\ late' = NoWrite
    /\ IF Accepted(late) THEN Land(late) ELSE UNCHANGED <<item, meant>>
    /\ UNCHANGED <<table, used, worker, watch>>

Sweep(w) ==                   \* one item after the other; or it fails, and is tried after the next save
    LET m == worker[w]
        left == {<<r, d>> \in m.junk \X Subs : table[r][d] # Gone}
    IN /\ m.step = "sweep" \/ (Bug = "deletedFirst" /\ m.step = "send" /\ item.ref \notin {0, m.write.ref})
       /\ \/ /\ m.step = "sweep"
             /\ worker' = [worker EXCEPT ![w].step = "idle", ![w].junk = IF left = {} THEN {} ELSE @]
             /\ UNCHANGED table
          \/ /\ \E x \in left : table' = [table EXCEPT ![x[1]][x[2]] = Gone]
             /\ m.step = "sweep" /\ UNCHANGED worker
          \/ /\ m.step = "send" /\ table' = [table EXCEPT ![item.ref] = [d \in Subs |-> Gone]] /\ UNCHANGED worker
       /\ UNCHANGED <<item, used, late, watch, meant>>

Orphans == {r \in 1..Names : r # item.ref /\ \E d \in Subs : table[r][d] # Gone}
Watch ==                      \* leases check --clean looks twice, a fail-over time apart
    /\ ~watch.on
    /\ watch' = [on |-> TRUE, tenure |-> item.tenure, orphans |-> Orphans]
    /\ UNCHANGED <<item, table, used, worker, late, meant>>
Clean ==                      \* whoever has the lease as before may be about to name an orphan
    /\ watch.on /\ watch' = [on |-> FALSE, tenure |-> 0, orphans |-> {}]
    /\ LET old == IF watch.tenure = item.tenure /\ Bug # "cleanedUnderOwner" THEN {} ELSE watch.orphans \intersect Orphans
       IN table' = [r \in 1..Names |-> IF r \in old THEN [d \in Subs |-> Gone] ELSE table[r]]
    /\ UNCHANGED <<item, used, worker, late, meant>>

Next == \/ \E w \in Workers : Take(w) \/ Crash(w) \/ Begin(w) \/ Put(w) \/ Send(w) \/ Ask(w) \/ Sweep(w)
        \/ Arrive \/ (Cleaned /\ (Watch \/ Clean))
Spec == Init /\ [][Next]_vars

(* What a write says that will be refused does not matter. *)
Refused(m) == m.step = "send" /\ m.tenure # item.tenure /\ Bug # "unconditional"
Matters == <<item, table, used, late, watch, meant,
             [w \in Workers |-> IF Refused(worker[w]) THEN [worker[w] EXCEPT !.write = NoWrite] ELSE worker[w]]>>

Means == \A d \in Subs : Read(d) = meant[d]
Exists == item.ref # 0 => \A d \in Subs : table[item.ref][d] # Gone
===============================================================================
