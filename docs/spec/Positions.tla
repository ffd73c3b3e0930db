------------------------------ MODULE Positions ------------------------------
(* What Shardline saves, and what follows from it: one lease item per shard    *)
(* with checkpoint, roster and behind; gates between parents and children;     *)
(* rosters; a command (replay or removal) over a lineage.                       *)
(*                                                                             *)
(* A tenure's memory is lost at any step: Take begins a new one from the saved *)
(* items alone. A lease has one owner, and only the owner saves (ghosts: at    *)
(* the end). The saved form is read and written as a whole: Overflow.tla shows *)
(* that it may be, although part of it stands in another table. How a laggard  *)
(* and a parked key join a live cursor again within one tenure is in           *)
(* Joining.tla; here both are one step.                                         *)
(*                                                                             *)
(* Positions are record numbers of a shard. An entry, and first, name the first*)
(* unsettled record (the code: the last settled one). 0 is "no entry", N + 1   *)
(* is SHARD_END.                                                                *)
EXTENDS Integers, Sequences, FiniteSets
(* Invariants: P1 P2 NoHole InLog Continued Gone *)
(* Properties: CheckpointNeverBack OnlyDisappear *)

CONSTANTS
    Topology,     \* "line" | "one" | "split" | "short" | "merge" | "chain" | "long"
    Founders,     \* the roster of the first shards at the start
    Configs,      \* configurations (sets of subscribers) that workers run with
    Slow,         \* subscribers that may lag, have keys parked, and settle keys apart
    Parkable,     \* keys that may be parked
    Window,       \* records that a shard log holds
    Initial,      \* "latest" | "oldest": where a new subscriber begins
    AnyC,         \* save any checkpoint that the form allows, or the smallest cursor
    Command,      \* "none" | "replay" | "remove": once, at any moment
    Subject,      \* whom the command is about
    ReplayFrom,   \* replay: from this position of the first shards
    Zombies,      \* whether an owner that lost its lease may go on for a while
    Calms,        \* whether owners cease to change
    Stale,        \* whether gates are looked at in readings that may be old
    Bug           \* "none", or the name of a deliberate defect

Keys == {"a", "b"}
Subs == Founders \union UNION Configs

Records == CASE Topology = "line"  -> [p |-> <<"a", "b", "a">>]
             [] Topology = "one"   -> [p |-> <<"a", "a", "a">>]
             [] Topology = "split" -> [p |-> <<"a", "b">>, l |-> <<"b", "a">>]      \* the other child is alike
             [] Topology = "short" -> [p |-> <<"a", "b">>, l |-> <<"a">>]
             [] Topology = "merge" -> [p |-> <<"a">>, q |-> <<"b">>, m |-> <<"a", "b">>]
             [] Topology = "chain" -> [p |-> <<"a", "b">>, e |-> <<>>, g |-> <<"a">>]
             [] Topology = "long"  -> [p |-> <<"a", "b">>, e |-> <<"b">>, g |-> <<"a", "b">>]
Parents == CASE Topology \in {"line", "one"}    -> [p |-> {}]
             [] Topology \in {"split", "short"} -> [p |-> {}, l |-> {"p"}]
             [] Topology = "merge" -> [p |-> {}, q |-> {}, m |-> {"p", "q"}]
             [] OTHER              -> [p |-> {}, e |-> {"p"}, g |-> {"e"}]

Shards == DOMAIN Records
Roots == {s \in Shards : Parents[s] = {}}
Children(s) == {c \in Shards : s \in Parents[c]}
Above(s) == Parents[s] \union UNION {Parents[q] : q \in Parents[s]}   \* three generations at most
N(s) == Len(Records[s])
End(s) == N(s) + 1

Min(S) == CHOOSE x \in S : \A y \in S : x <= y
Max(S) == CHOOSE x \in S : \A y \in S : x >= y
NextOf(s, k, n) == Min({i \in n..N(s) : Records[s][i] = k} \union {End(s)})
Count(s, k, n) == Cardinality({i \in 1..N(s) : i <= n /\ Records[s][i] = k})
RECURSIVE Sum(_, _)
Sum(S, k) == IF S = {} THEN 0 ELSE LET s == CHOOSE x \in S : TRUE IN Count(s, k, N(s)) + Sum(S \ {s}, k)
Total == [k \in Keys |-> Sum(Shards, k)]
Upto == [s \in Shards |-> [k \in Keys |-> [n \in 0..N(s) |-> Sum(Above(s), k) + Count(s, k, n)]]]
Index(s, n) == Upto[s][Records[s][n]][n]      \* of a record among its key's, in the whole lineage

VARIABLES
    life,         \* [Shards -> "none" | "here" | "gone"]: of the lease item
    item,         \* [Shards -> saved form]
    old,          \* [Shards -> what an old reading still says]
    mem,          \* [Shards -> the owner's memory]
    ghost,        \* an owner that does not know yet that it lost its lease
    calm,         \* owners do not change any more (for liveness)
    phase,        \* of the command: 0 before, 1 pause, 2 set positions, 3 resumed
    done,         \* truth: [Subs -> [Keys -> records settled, without a gap]]
    last,         \* truth: [Subs -> [Keys -> index of the last attempt; -1: none yet]]
    ever,         \* truth: [Shards -> subscribers that its checkpoint was said to cover]
    p1            \* truth: nobody saw a gap
vars == <<life, item, old, mem, ghost, calm, phase, done, last, ever, p1>>
truth == <<done, last, ever, p1>>

Zero == [d \in Subs |-> [k \in Keys |-> 0]]
Blank == [c |-> 0, roster |-> {}, sub |-> [d \in Subs |-> 0], key |-> Zero, ack |-> FALSE, cmd |-> FALSE]
Idle == [own |-> {}, known |-> {}, head |-> 0, first |-> Zero, live |-> {}, parked |-> {},
         held |-> {}, shut |-> {}, paused |-> FALSE, flight |-> {}]
NoGhost == [shard |-> "none", m |-> Idle]

Init ==
    /\ life = [s \in Shards |-> IF s \in Roots THEN "here" ELSE "none"]
    /\ item = [s \in Shards |-> IF s \in Roots THEN [Blank EXCEPT !.roster = Founders] ELSE Blank]
    /\ old = item
    /\ mem = [s \in Shards |-> Idle]
    /\ ghost = NoGhost
    /\ calm = FALSE
    /\ phase = 0
    /\ done = Zero
    /\ last = [d \in Subs |-> [k \in Keys |-> IF d \in Founders THEN 0 ELSE -1]]
    /\ ever = [s \in Shards |-> IF s \in Roots THEN Founders ELSE {}]
    /\ p1 = TRUE

------------------------------------------------------------------------------
(* The saved form, read and written. *)

Recover(s, it, known, d, k) ==      \* a key's first unsettled record, as the item says
    NextOf(s, k, IF it.key[d][k] # 0 THEN it.key[d][k]
                 ELSE IF it.sub[d] # 0 THEN it.sub[d]
                 ELSE IF d \notin known /\ Initial = "oldest" THEN 1
                 ELSE it.c + 1)

Cursor(s, m, d) ==                  \* a subscriber's own position, without its parked keys
    Min({m.first[d][k] : k \in {x \in Keys : <<d, x>> \notin m.parked}} \union {End(s)})

Names(m) == m.known \union (IF Command = "remove" /\ m.paused /\ Bug # "removedReturns" THEN m.own \ {Subject} ELSE m.own)

Form(s, m, it, c) ==                \* computed anew at every save
    LET entry(f) == IF f <= Min({c, N(s)}) THEN f ELSE 0
        hold(f) == IF Bug = "heldNotSaved" THEN entry(f) ELSE f
        lost(d) == Bug = "absentAtNewC" /\ d \notin m.own
    IN [it EXCEPT
        !.c = c,
        !.roster = IF Bug = "rosterIsConfig" THEN m.own ELSE Names(m),
        !.sub = [d \in Subs |->
            IF d \notin Names(m) \/ lost(d) THEN 0
            ELSE IF d \in m.held THEN hold(Cursor(s, m, d))
            ELSE entry(Cursor(s, m, d))],
        !.key = [d \in Subs |-> [k \in Keys |->
            IF d \notin Names(m) \/ lost(d) \/ <<d, k>> \notin m.parked THEN 0
            ELSE IF <<d, k>> \in m.shut THEN hold(m.first[d][k])
            ELSE IF m.first[d][k] >= Cursor(s, m, d) \/ Bug = "parkedNotSaved" THEN 0
            ELSE IF d \in m.held THEN hold(m.first[d][k])
            ELSE entry(m.first[d][k])]]]

NobodyBehind(it) == it.sub = Blank.sub /\ it.key = Zero
Finished(s) == life[s] = "gone" \/ (life[s] = "here" /\ item[s].c = End(s))

EverUp(s) == ever[s] \union UNION {ever[q] : q \in Above(s)}

Write(items) == item' = items /\ (old' = items \/ (Stale /\ old' = old))

Store(s, it) ==                     \* writes an item; whom it lists for the first time is excused before
    LET new == it.roster \ EverUp(s)
        before(k) == Max({0} \union {Upto[q][k][N(q)] : q \in {x \in Above(s) : Initial = "latest" \/ life[x] = "gone"}}
                             \union (IF Initial = "latest" THEN {Upto[s][k][Min({item[s].c, N(s)})]} ELSE {}))
        listed == IF item[s].c = End(s) /\ Initial = "latest" THEN {}      \* covers nothing for it
                  ELSE IF phase \in {1, 2} /\ Command = "remove" THEN it.roster \ {Subject} ELSE it.roster
    IN /\ Write([item EXCEPT ![s] = it])
       /\ done' = [d \in Subs |-> [k \in Keys |-> IF d \in new THEN Max({done[d][k], before(k)}) ELSE done[d][k]]]
       /\ ever' = [ever EXCEPT ![s] = @ \union listed]
       /\ UNCHANGED <<last, p1>>

------------------------------------------------------------------------------
(* Tenures and gates. *)

Parent(s, Is(_)) == IF Bug = "oneParent" /\ Parents[s] # {} THEN \E q \in Parents[s] : Is(q)
                    ELSE \A q \in Parents[s] : Is(q)

(* A gate is read in one reading r of the items, which may be old: what it says *)
(* of a subscriber's own position stays true. Of a key it says something only   *)
(* when the subscriber is through: until then the key has no entry of its own.  *)
Through(r, q, d) == r[q].c = End(q) /\ r[q].sub[d] = 0 /\ (d \in r[q].roster \/ Bug = "gateWithoutRoster")
GateOpen(r, s, d, paused) ==
    \/ Bug = "noGate"
    \/ /\ Parent(s, LAMBDA q : life[q] = "gone" \/ Through(r, q, d))
       /\ ~(paused /\ d = Subject /\ Parents[s] # {} /\ Bug # "pauseKeepsGates")
KeyOpen(r, s, d, k) ==
    \/ Bug \in {"noGate", "noKeyGate"}
    \/ Parent(s, LAMBDA q : life[q] = "gone" \/ (r[q].key[d][k] = 0 /\ (Through(r, q, d) \/ Bug = "keyGateAlone")))

Plan(s, W, paused) ==               \* how a tenure begins
    LET it == item[s]
        all == IF it.roster # {} \/ Bug = "rosterOfCreator" THEN it.roster
               ELSE UNION {item[q].roster : q \in Parents[s]}
        known == IF paused /\ Command = "remove" /\ phase = 2 THEN all \ {Subject} ELSE all
        held == {d \in Subs : ~GateOpen(item, s, d, paused)}
        shut == {x \in (Subs \ held) \X Keys : ~KeyOpen(item, s, x[1], x[2])}
    IN [own |-> W, known |-> known, head |-> Min({it.c, N(s)}),
        first |-> [d \in Subs |-> [k \in Keys |-> Recover(s, it, known, d, k)]],
        live |-> {d \in W \ held : it.sub[d] = 0 /\ (d \in known \/ Initial = "latest") /\ ~(paused /\ d = Subject)},
        parked |-> {x \in Subs \X Keys : it.key[x[1]][x[2]] # 0} \union shut,
        held |-> held, shut |-> shut, paused |-> paused, flight |-> {}]

Wanted(s, W) ==
    \/ item[s].c < End(s)
    \/ \E d \in W : item[s].sub[d] # 0 \/ d \notin item[s].roster \/ \E k \in Keys : item[s].key[d][k] # 0
    \/ phase \in {1, 2} /\ ~(item[s].ack /\ item[s].cmd) /\ Bug # "commandNotWanted"

Take(s, W) ==                       \* from nobody, or from an owner that crashed, stopped or lost it
    /\ life[s] = "here" /\ Wanted(s, W) /\ (calm => mem[s].own = {})
    /\ Parent(s, Finished)
    /\ mem' = [mem EXCEPT ![s] = Plan(s, W, phase \in {1, 2} /\ Bug # "takenBlind")]
    /\ ghost' = IF Zombies /\ mem[s].own # {} THEN [shard |-> s, m |-> mem[s]] ELSE ghost
    /\ UNCHANGED <<life, item, old, calm, phase, truth>>

OpenGate(s, d) ==                    \* the keys that a parent has parked stay parked here
    /\ d \in mem[s].held
    /\ \E r \in {item, old} :
        LET shut == {x \in {d} \X Keys : ~KeyOpen(r, s, d, x[2])} IN
        /\ GateOpen(r, s, d, mem[s].paused)
        /\ mem' = [mem EXCEPT ![s].held = @ \ {d}, ![s].shut = @ \union shut, ![s].parked = @ \union shut]
    /\ UNCHANGED <<life, item, old, ghost, calm, phase, truth>>

OpenKeyGate(s, d, k) ==                 \* it is parked until Unpark
    /\ <<d, k>> \in mem[s].shut /\ d \notin mem[s].held
    /\ \E r \in {item, old} : KeyOpen(r, s, d, k)
    /\ mem' = [mem EXCEPT ![s].shut = @ \ {<<d, k>>}]
    /\ UNCHANGED <<life, item, old, ghost, calm, phase, truth>>

------------------------------------------------------------------------------
(* The log, live and behind. *)

Read(s) ==
    LET m == mem[s] IN
    /\ m.live # {} /\ m.head < N(s)
    /\ \A d \in m.live : Cursor(s, m, d) > m.head + 1 - Window
    /\ mem' = [mem EXCEPT ![s].head = @ + 1]
    /\ UNCHANGED <<life, item, old, ghost, calm, phase, truth>>

CanAttempt(s, m, d, k) ==
    LET n == m.first[d][k] IN
    /\ d \in m.own \ m.held /\ <<d, k>> \notin m.shut /\ n \in 1..N(s)
    /\ d \in m.live /\ <<d, k>> \notin m.parked => n <= m.head        \* others by catch-up
    /\ d \in Slow \/ \A x \in Keys : n <= m.first[d][x]
    /\ d \in item[s].roster \/ Bug = "attemptBeforeListed"
    /\ ~(d = Subject /\ m.paused)
    /\ <<d, k>> \notin m.flight

Attempt(s, d, k, n) ==
    /\ p1' = (p1 /\ Index(s, n) <= done[d][k] + 1 /\ (last[d][k] = -1 \/ Index(s, n) <= last[d][k] + 1))
    /\ last' = [last EXCEPT ![d][k] = Index(s, n)]
SettleAt(s, d, k, n) == done' = [done EXCEPT ![d][k] = Max({@, Index(s, n)})]

Deliver(s, d, k) ==                 \* an attempt and its outcome at once
    LET n == mem[s].first[d][k] IN
    /\ d # Subject /\ CanAttempt(s, mem[s], d, k)
    /\ Attempt(s, d, k, n) /\ SettleAt(s, d, k, n)
    /\ mem' = [mem EXCEPT ![s].first[d][k] = NextOf(s, k, n + 1)]
    /\ UNCHANGED <<life, item, old, ghost, calm, phase, ever>>

Start(s, d, k) ==                   \* the command's subject: an attempt ...
    /\ d = Subject /\ CanAttempt(s, mem[s], d, k)
    /\ Attempt(s, d, k, mem[s].first[d][k])
    /\ mem' = [mem EXCEPT ![s].flight = @ \union {<<d, k>>}]
    /\ UNCHANGED <<life, item, old, ghost, calm, phase, done, ever>>

Settle(s) ==                        \* ... and its outcome
    \E x \in mem[s].flight :
        LET n == mem[s].first[x[1]][x[2]] IN
        /\ IF n <= N(s) THEN SettleAt(s, x[1], x[2], n) ELSE UNCHANGED done
        /\ mem' = [mem EXCEPT ![s].first[x[1]][x[2]] = NextOf(s, x[2], n + 1), ![s].flight = @ \ {x}]
        /\ UNCHANGED <<life, item, old, ghost, calm, phase, last, ever, p1>>

InTheWay(s, d) ==                   \* others wait for it, at the window's tail or at the shard's end
    LET m == mem[s] IN
    \/ m.head < N(s) /\ Cursor(s, m, d) <= m.head + 1 - Window
    \/ m.head = N(s) /\ Children(s) # {} /\ Cursor(s, m, d) <= N(s)

Leave(s, d) ==
    /\ d \in Slow \intersect mem[s].live /\ InTheWay(s, d) /\ Bug # "nobodyLeaves"
    /\ mem' = [mem EXCEPT ![s].live = @ \ {d}]
    /\ UNCHANGED <<life, item, old, ghost, calm, phase, truth>>

Join(s, d) ==                       \* the end of Joining.tla's Join: the log holds all that it lacks
    LET m == mem[s] IN
    /\ d \in m.own \ (m.live \union m.held) /\ ~(d = Subject /\ m.paused)
    /\ Cursor(s, m, d) > m.head - Window
    /\ d \in item[s].roster
    /\ mem' = [mem EXCEPT ![s].live = @ \union {d}]
    /\ UNCHANGED <<life, item, old, ghost, calm, phase, truth>>

Park(s, d, k) ==
    LET m == mem[s] IN
    /\ k \in Parkable /\ d \in (Slow \intersect m.own) \ m.held /\ <<d, k>> \notin m.parked \union m.flight
    /\ m.first[d][k] <= N(s) /\ m.first[d][k] = Cursor(s, m, d)
    /\ d \in m.live => m.first[d][k] <= m.head
    /\ mem' = [mem EXCEPT ![s].parked = @ \union {<<d, k>>}]
    /\ UNCHANGED <<life, item, old, ghost, calm, phase, truth>>

Unpark(s, d, k) ==                  \* the subscriber's cursor does not go back
    LET m == mem[s] IN
    /\ d \in m.own \ m.held /\ <<d, k>> \in m.parked \ m.shut
    /\ m.first[d][k] > m.head \/ m.first[d][k] >= Cursor(s, m, d) \/ Bug = "unparkAnywhere"
    /\ mem' = [mem EXCEPT ![s].parked = @ \ {<<d, k>>}]
    /\ UNCHANGED <<life, item, old, ghost, calm, phase, truth>>

------------------------------------------------------------------------------
(* Saving, and the end of a shard. *)

AtEnd(s, m) == m.live # {} /\ m.head = N(s) /\ Children(s) # {} /\ \A d \in m.live : Cursor(s, m, d) = End(s)
Stands(c) == life[c] # "none" \/ Bug = "childrenLater"

SaveAs(s, m, c) ==
    LET it == Form(s, m, item[s], c) IN
    /\ it # item[s]
    /\ Store(s, it)
    /\ UNCHANGED <<life, mem, ghost, calm, phase>>

SaveOf(s, m) ==
    LET now == item[s].c IN
    IF AtEnd(s, m) /\ \A c \in Children(s) : Stands(c) THEN SaveAs(s, m, End(s))
    ELSE IF m.live = {} THEN SaveAs(s, m, now)
    ELSE IF AnyC THEN \E c \in now..Max({now, m.head}) : SaveAs(s, m, c)
    ELSE SaveAs(s, m, Max({now, Min({m.head} \union {Cursor(s, m, d) - 1 : d \in m.live})}))
Save(s) == mem[s].own # {} /\ SaveOf(s, mem[s])

CreateChildren(s, m) ==
    LET new == {c \in Children(s) : life[c] = "none"} IN
    /\ AtEnd(s, m) /\ new # {}
    /\ life' = [x \in Shards |-> IF x \in new THEN "here" ELSE life[x]]
    /\ Write([x \in Shards |-> IF x \notin new THEN item[x]
               ELSE [Blank EXCEPT !.roster = IF Bug = "rosterOfCreator" THEN Names(m) ELSE {},
                                  !.ack = item[s].ack, !.cmd = item[s].cmd]])
    /\ UNCHANGED <<mem, ghost, calm, phase, truth>>

Delete(s) ==                        \* of a finished lease, oldest first; whom its roster lacks gets nothing of it
    /\ life[s] = "here" /\ item[s].c = End(s)
    /\ NobodyBehind(item[s]) \/ Bug = "deletedBehind"
    /\ Children(s) # {} /\ \A c \in Children(s) : life[c] = "gone" \/ (life[c] = "here" /\ item[c].c > 0)
    /\ \A q \in Parents[s] : life[q] = "gone"
    /\ life' = [life EXCEPT ![s] = "gone"]
    /\ Write([item EXCEPT ![s] = Blank])
    /\ mem' = [mem EXCEPT ![s] = Idle]
    /\ done' = [d \in Subs |-> [k \in Keys |-> IF d \in item[s].roster THEN done[d][k]
                                              ELSE Max({done[d][k], Upto[s][k][N(s)]})]]
    /\ UNCHANGED <<ghost, calm, phase, last, ever, p1>>

------------------------------------------------------------------------------
(* A command over the lineage: replay or removal of one subscriber, once.       *)

Here == {s \in Shards : life[s] = "here"}
From(s) == IF s \in Roots THEN ReplayFrom ELSE 1

Drop(d) == ever' = [s \in Shards |-> ever[s] \ {d}]

Pause ==                            \* one that is to be removed has no rights any more
    /\ phase = 0 /\ Command # "none" /\ phase' = 1
    /\ IF Command = "remove" THEN Drop(Subject) ELSE UNCHANGED ever
    /\ UNCHANGED <<life, item, old, mem, ghost, calm, done, last, p1>>

SeePause(s) ==                      \* a pause shuts the subject's gates
    /\ phase \in {1, 2} /\ mem[s].own # {} /\ ~mem[s].paused /\ Bug # "takenBlind"
    /\ mem' = [mem EXCEPT ![s].paused = TRUE, ![s].live = @ \ {Subject},
                          ![s].held = IF Parents[s] # {} /\ Bug # "pauseKeepsGates" THEN @ \union {Subject} ELSE @]
    /\ UNCHANGED <<life, item, old, ghost, calm, phase, truth>>

Acknowledge(s) ==                   \* nothing of the subject is in flight
    /\ phase \in {1, 2} /\ ~item[s].ack
    /\ mem[s].paused \/ (Bug = "takenBlind" /\ mem[s].own # {})
    /\ mem[s].flight = {} \/ Bug = "acknowledgedInFlight"
    /\ Write([item EXCEPT ![s].ack = TRUE])
    /\ UNCHANGED <<life, mem, ghost, calm, phase, truth>>

Untaken(s) == Parents[s] # {} /\ item[s].roster = {} /\ mem[s].own = {} /\ Bug # "untakenNotQuiet"

SetPositions ==
    /\ phase = 1 /\ (\A s \in Here : item[s].ack \/ Untaken(s)) /\ phase' = 2
    /\ UNCHANGED <<life, item, old, mem, ghost, calm, truth>>

Set(s, m) ==                        \* replay: one position, no parked keys; removal: the name is forgotten
    LET at == IF Bug = "replayedForward" THEN From(s) ELSE Min({From(s)} \union {m.first[Subject][k] : k \in Keys})
        mine == IF Bug = "parkedLeftBehind" THEN {} ELSE {Subject} \X Keys
        first == [k \in Keys |-> IF <<Subject, k>> \in m.parked \ mine THEN m.first[Subject][k] ELSE NextOf(s, k, at)]
    IN [m EXCEPT !.first[Subject] = IF Command = "replay" THEN first ELSE @,
                 !.known = IF Command = "remove" THEN @ \ {Subject} ELSE @,
                 !.parked = @ \ mine, !.shut = @ \ mine, !.live = @ \ {Subject}]

Apply(s) ==                         \* once per item
    LET n == Set(s, mem[s]) IN
    /\ phase = 2 \/ (phase = 1 /\ Bug = "removedOneByOne")
    /\ mem[s].own # {} /\ ~item[s].cmd
    /\ mem[s].paused \/ Bug = "takenBlind"
    /\ mem' = [mem EXCEPT ![s] = n]
    /\ Store(s, [Form(s, n, item[s], item[s].c) EXCEPT !.cmd = TRUE])
    /\ UNCHANGED <<life, ghost, calm, phase>>

NeedsAgain(s) == /\ Command = "replay" /\ life[s] = "gone"
                 /\ From(s) <= N(s) \/ \E q \in Above(s) : From(q) <= N(q)   \* empty ones too
Recreate(s) ==                      \* with everybody: who is missing in a roster counts as new
    /\ phase = 2 /\ NeedsAgain(s)
    /\ life' = [life EXCEPT ![s] = "here"]
    /\ Write([item EXCEPT ![s] = [Blank EXCEPT !.c = End(s), !.sub[Subject] = From(s), !.ack = TRUE, !.cmd = TRUE,
                                   !.roster = IF Bug = "recreatedAlone" THEN {Subject}
                                              ELSE {Subject} \union UNION {item[x].roster : x \in Here}]])
    /\ UNCHANGED <<mem, ghost, calm, phase, truth>>

Resume ==
    /\ phase = 2 /\ (\A s \in Here : item[s].cmd \/ Untaken(s)) /\ ~(\E s \in Shards : NeedsAgain(s))
    /\ phase' = 3
    /\ old' = IF Bug = "oldReading" THEN old ELSE item     \* gates are read in readings from now on
    /\ IF Command = "replay"
       THEN LET before(k) == Max({Upto[s][k][Min({ReplayFrom - 1, N(s)})] : s \in Roots})
            IN /\ done' = [done EXCEPT ![Subject] = [k \in Keys |-> Min({@[k], before(k)})]]
               /\ last' = [last EXCEPT ![Subject] = [k \in Keys |-> Min({@[k], before(k)})]]
               /\ UNCHANGED ever
       ELSE /\ last' = [last EXCEPT ![Subject] = [k \in Keys |-> -1]]
            /\ Drop(Subject) /\ UNCHANGED done
    /\ UNCHANGED <<life, item, mem, ghost, calm, p1>>

SeeResume(s) ==                     \* the subject begins anew, from the item; gates are read anew
    LET m == mem[s]
        p == Plan(s, m.own, FALSE)
        mine == {Subject} \X Keys
        of(was, new, whose) == (was \ whose) \union (new \intersect whose)
    IN /\ phase = 3 /\ m.paused
       /\ mem' = [mem EXCEPT ![s].paused = FALSE,
                             ![s].first[Subject] = p.first[Subject],
                             ![s].held = of(@, p.held, {Subject}),
                             ![s].parked = of(@, p.parked, mine), ![s].shut = of(@, p.shut, mine)]
       /\ UNCHANGED <<life, item, old, ghost, calm, phase, truth>>

CommandStep == \/ Pause \/ SetPositions \/ Resume
               \/ \E s \in Shards : SeePause(s) \/ Acknowledge(s) \/ Apply(s) \/ Recreate(s) \/ SeeResume(s)

------------------------------------------------------------------------------
(* Ghosts. Their saves are refused, since the tenure is another's, and they     *)
(* start no attempt; but what they create needs no lease.                       *)

GhostStep ==
    LET s == ghost.shard m == ghost.m IN
    /\ s # "none"
    /\ \/ ghost' = NoGhost /\ UNCHANGED <<life, item, old, mem, calm, phase, truth>>
       \/ life[s] = "here" /\ CreateChildren(s, m)
       \/ /\ Bug = "ghostSaves" /\ life[s] = "here"
          /\ SaveAs(s, m, Min({m.head} \union {Cursor(s, m, d) - 1 : d \in m.live}))
       \/ /\ Bug = "ghostAttempts"
          /\ \E d \in Subs, k \in Keys :
              /\ CanAttempt(s, m, d, k)
              /\ Attempt(s, d, k, m.first[d][k]) /\ SettleAt(s, d, k, m.first[d][k])
              /\ ghost' = [ghost EXCEPT !.m.first[d][k] = NextOf(s, k, m.first[d][k] + 1)]
          /\ UNCHANGED <<life, item, old, mem, calm, phase, ever>>

------------------------------------------------------------------------------
Calm == ~calm /\ calm' = TRUE /\ UNCHANGED <<life, item, old, mem, ghost, phase, truth>>

Next ==
    \/ \E s \in Shards :
        \/ \E W \in Configs : Take(s, W)
        \/ Read(s) \/ Save(s) \/ CreateChildren(s, mem[s]) \/ Delete(s) \/ Settle(s)
        \/ \E d \in Subs : \/ Leave(s, d) \/ Join(s, d) \/ OpenGate(s, d)
                           \/ \E k \in Keys : \/ Deliver(s, d, k) \/ Start(s, d, k)
                                              \/ Park(s, d, k) \/ Unpark(s, d, k) \/ OpenKeyGate(s, d, k)
    \/ CommandStep
    \/ Zombies /\ GhostStep
    \/ Calms /\ Calm

Spec == Init /\ [][Next]_vars

(* P1: a first attempt is of the record behind the last one settled; and every  *)
(* attempt is of the record behind the one attempted last, of that one, or of an *)
(* earlier one: so a step back is followed by everything after it.               *)
P1 == p1

(* P2: what a worker would believe that takes an item now, is settled.           *)
Claimed(s, d, n) ==
    \/ life[s] = "gone"
    \/ life[s] = "here" /\ Recover(s, item[s], item[s].roster, d, Records[s][n]) > n
P2 == \A s \in Shards : \A d \in EverUp(s) : \A n \in 1..N(s) :
        Claimed(s, d, n) => Index(s, n) <= done[d][Records[s][n]]

(* Where a removal is done, the name is nowhere; when it is over, the name is new. *)
Gone == Command = "remove" /\ phase = 2 => \A s \in Here : item[s].cmd => Subject \notin item[s].roster \union mem[s].known

(* What a live subscriber lacks is in the log. *)
InLog == \A s \in Shards : \A d \in mem[s].live : Cursor(s, mem[s], d) > mem[s].head - Window

(* A finished shard is continued. *)
Continued == \A s \in Shards : Finished(s) => \A c \in Children(s) : life[c] # "none"

(* Whoever is given a record again is given all that come after it: a key's      *)
(* records of which an item says that they are settled are the first ones.       *)
Following == {x \in (Shards \X (1..4)) \X (Shards \X (1..4)) :
            /\ x[1][2] <= N(x[1][1]) /\ x[2][2] <= N(x[2][1])
            /\ Records[x[1][1]][x[1][2]] = Records[x[2][1]][x[2][2]]
            /\ Index(x[2][1], x[2][2]) = Index(x[1][1], x[1][2]) + 1}
NoHole == \A x \in Following : \A d \in EverUp(x[1][1]) :
            \/ d = Subject /\ phase \in {1, 2}
            \/ (Claimed(x[2][1], d, x[2][2]) => Claimed(x[1][1], d, x[1][2]))

CheckpointNeverBack == [][\A s \in Here : life'[s] = "here" => item'[s].c >= item[s].c]_vars

(* On a finished shard nobody falls back: gates that opened stay open. *)
OnlyDisappear == [][\A s \in Here : life'[s] = "here" /\ item[s].c = End(s) /\ phase \in {0, 3} =>
    \A d \in item[s].roster : \A k \in Keys :
        Recover(s, item'[s], item'[s].roster, d, k) >= Recover(s, item[s], item[s].roster, d, k)]_vars

------------------------------------------------------------------------------
(* Liveness, once owners do not change any more. P4: E settles everything       *)
(* whatever becomes of D, who need not take a single record. And when D's       *)
(* attempts end, D catches up. What D may be in the way of is strongly fair: one *)
(* that leaves the log stays away for a moment.                                  *)
Work(s) ==
    /\ WF_vars(calm /\ \E W \in Configs : Take(s, W)) /\ SF_vars(Read(s)) /\ SF_vars(Save(s)) /\ SF_vars(CreateChildren(s, mem[s]))
    /\ \A d \in Subs : /\ WF_vars(Leave(s, d)) /\ WF_vars(OpenGate(s, d))
                       /\ \A k \in Keys : WF_vars(OpenKeyGate(s, d, k))
Delivers(d) == \A s \in Shards : \A k \in Keys : SF_vars(Deliver(s, d, k))
Isolated == Spec /\ WF_vars(Calm) /\ (\A s \in Shards : Work(s)) /\ Delivers("E")
Fair == Isolated /\ Delivers("D")
AllDone(d) == <>(done[d] = Total)
EDone == AllDone("E")
DDone == AllDone("D")
Commanded == /\ Spec /\ WF_vars(Calm) /\ WF_vars(SetPositions) /\ WF_vars(Resume)
             /\ \A s \in Shards : /\ Work(s) /\ WF_vars(SeePause(s)) /\ WF_vars(Acknowledge(s)) /\ WF_vars(Apply(s))
                                  /\ WF_vars(Recreate(s)) /\ WF_vars(SeeResume(s)) /\ WF_vars(Settle(s))
CommandEnds == (phase = 1) ~> (phase = 3)
==============================================================================
