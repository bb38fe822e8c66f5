// The scheduling of a thread that others wait for.
#pragma once

namespace gallocy::os {

// The calling thread should run at once when it is woken, also on a core where a program thread computes: a thread with
// a shorter slice preempts the running one (EEVDF, Linux 6.12; sched(7)), and a better nice value, where the user may
// have one, keeps it eligible. Where the kernel refuses nothing else changes. Threads and processes that it makes get
// neither. One that has another policy than the ordinary one (chrt(1)) keeps that.
void ask_for_prompt_scheduling();

}  // namespace gallocy::os
