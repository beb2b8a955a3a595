/* How many threads a team goes on with while others take its processors.  Compiled once, without special instructions.
 *
 * All members of a team wait for the slowest at every barrier, so one whose processor is taken for a time slice stops them
 * all.  Members compare what they ran with what has passed; where one was kept waiting, the team lets its last member go
 * at the end of the minibatch, and the system moves whoever is left to the processors that are free.  After a rest all
 * of them are called again: the run leaves its parallel region and enters another.  Results do not depend on any of it.
 */
#ifdef __linux__
#define _GNU_SOURCE /* RUSAGE_THREAD */
#endif
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "team.h"

#define LOOK 300000        /* ns between two looks at the clock of a thread, which asks the system */
#define PATIENCE 400000    /* ns a member may be kept waiting between two looks, */
#define SHARE 8            /* or this part of what has passed, the larger of both */
#define LONGEST_REST 1000000000
#define MOST_PATIENT 16

/* Of the process: what one run has learned serves the next.  Runs side by side may overwrite what others wrote, which
 * costs time alone. */
static struct {
    int size;       /* members until `until` */
    int64_t until, called; /* ns */
    int patience;   /* rests are so many times as long: doubled where one was followed by the next at once */
    int every, calls; /* of rehearsals; how often members were called again */
} crew;

static int64_t now_of(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int frbm_crew_rehearse(int every) {
    __atomic_store_n(&crew.every, every, __ATOMIC_RELAXED);
    __atomic_store_n(&crew.size, 0, __ATOMIC_RELAXED); /* what was before is forgotten */
    return __atomic_exchange_n(&crew.calls, 0, __ATOMIC_RELAXED);
}

int frbm_crew_call(frbm_team *team, int wanted) {
    const int size = __atomic_load_n(&crew.size, __ATOMIC_RELAXED);
    memset(team, 0, sizeof *team);
    team->reduced = size && size < wanted && now_of(CLOCK_MONOTONIC) < __atomic_load_n(&crew.until, __ATOMIC_RELAXED);
    return team->reduced ? size : wanted;
}

/* How often another thread was given the processor of this one, which a wait for a disk or a lock is not */
static long preemptions(void) {
#ifdef RUSAGE_THREAD
    struct rusage usage;
    if (!getrusage(RUSAGE_THREAD, &usage)) return usage.ru_nivcsw;
#endif
    return -1; /* not known */
}

void frbm_crew_join(frbm_clocks *at) {
    *at = (frbm_clocks){now_of(CLOCK_MONOTONIC), now_of(CLOCK_THREAD_CPUTIME_ID), preemptions()};
}

void frbm_crew_look(frbm_team *team, frbm_clocks *at) {
    if (frbm_members(team) == 1 || __atomic_load_n(&crew.every, __ATOMIC_RELAXED)) return;
    const int64_t wall = now_of(CLOCK_MONOTONIC);
    if (wall - at->wall < LOOK) return;
    const frbm_clocks before = *at;
    frbm_crew_join(at);
    const int64_t passed = at->wall - before.wall, lost = passed - (at->cpu - before.cpu);
    const int taken = at->preemptions != before.preemptions || at->preemptions < 0;
    if (taken && lost > PATIENCE && lost > passed / SHARE) __atomic_store_n(&team->lost, lost, __ATOMIC_RELAXED);
}

/* The rest after `lost`: long against it where many go on without one, and longer the sooner the next loss came */
static void rest(int n_left, int64_t lost, int64_t now) {
    const int again = now - __atomic_load_n(&crew.called, __ATOMIC_RELAXED) < 8 * lost;
    int patience = again ? 2 * __atomic_load_n(&crew.patience, __ATOMIC_RELAXED) : 1;
    if (patience > MOST_PATIENT) patience = MOST_PATIENT;
    int64_t time = 2 * (n_left + 1) * lost * (patience ? patience : 1);
    if (time > LONGEST_REST) time = LONGEST_REST;
    __atomic_store_n(&crew.patience, patience, __ATOMIC_RELAXED);
    __atomic_store_n(&crew.size, n_left, __ATOMIC_RELAXED);
    __atomic_store_n(&crew.until, now + time, __ATOMIC_RELAXED);
}

void frbm_crew_settle(frbm_team *team) {
    const int every = __atomic_load_n(&crew.every, __ATOMIC_RELAXED);
    if (every) team->lost = ++team->minibatches % every == 0; /* a nanosecond */
    const int left = frbm_members(team) - 1;
    if (team->lost && left > 0) {
        __atomic_store_n(&team->n_threads, left, __ATOMIC_RELAXED);
        team->reduced = 1;
        rest(left, team->lost, now_of(CLOCK_MONOTONIC));
    } else if (team->reduced) {
        const int64_t now = now_of(CLOCK_MONOTONIC);
        if (now >= __atomic_load_n(&crew.until, __ATOMIC_RELAXED)) {
            team->regroup = 1;
            __atomic_fetch_add(&crew.calls, 1, __ATOMIC_RELAXED);
            __atomic_store_n(&crew.called, now, __ATOMIC_RELAXED);
        }
    }
    team->lost = 0;
}
