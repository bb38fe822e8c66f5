// What the threads of the synchronisation simulator do, and the checks that say whether the objects kept their promise.
// Each add_… puts threads into a world; the checks call SyncWorld::fail.
#pragma once

#include "sync_world.h"

namespace gallocy::sim {

// Several mutexes, locked, tried, given up, unlocked. Exclusion; the next holder after a death inside is told, and
// nobody is told without a death.
void add_mutex_threads(SyncWorld& world);
// One mutex, one thread at its home: between its request and its turn, the token visits every other node at most once.
void add_fairness_threads(SyncWorld& world);
// A shared mutex: a writer is alone.
void add_rw_threads(SyncWorld& world);
// A bounded buffer with one mutex and two condition variables: nothing lost, nobody sleeps for ever.
void add_buffer_threads(SyncWorld& world);
// Never more permits out than there are.
void add_semaphore_threads(SyncWorld& world);
// The same threads in every phase, or whoever comes.
void add_barrier_threads(SyncWorld& world);
void add_latch_threads(SyncWorld& world);
// Runs once to success, never on two threads at a time.
void add_once_threads(SyncWorld& world);
// The barrier of all nodes, and after deaths that of the survivors.
void add_meet_threads(SyncWorld& world);

}  // namespace gallocy::sim
